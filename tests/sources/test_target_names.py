"""A target is one column or several, and a name may have commas."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import mmkit
from mmkit.errors import UsageError


def test_a_target_may_have_commas_in_its_name(tmp_path):
    rows = np.arange(60)
    named = pa.table({"y, z": ["a", "b"] * 30, "y": rows / 7, "z": rows / 3, "x": np.sin(rows)})
    pq = tmp_path / "named.parquet"
    pa.parquet.write_table(named, pq)
    for target in ("y, z", ["y, z"], '"y, z"'):
        assert mmkit.inspect(pq, target=target).request.target == ("y, z",)
    assert mmkit.inspect(pq, target=["y", "z"]).request.target == ("y", "z")
    assert mmkit.inspect(named.drop_columns("y, z"), target="y, z").request.target == ("y", "z")
    three = named.append_column("a,b", named["z"])
    assert mmkit.inspect(three, target=["a,b", "y"]).request.target == ("a,b", "y")
    with pytest.raises(UsageError, match="has no column w"):
        mmkit.inspect(pq, target="y,w")
