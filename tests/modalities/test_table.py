"""What counts as a row of a table."""

import re
from collections import namedtuple

import numpy as np
import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.table import Table


class NAType:
    """As pandas has it: a comparison with it has no truth value."""

    def __ne__(self, other):
        raise TypeError


def test_empty_cells_are_none():
    row = {"a": 1, "b": float("nan"), "c": "", "d": None, "e": np.float32("nan"), "f": NAType(), "g": "  "}
    assert Table().decode(row) == {"a": 1, "b": None, "c": None, "d": None, "e": None, "f": None, "g": None}


@pytest.mark.parametrize("row", [{}, {"a": None}, {"a": float("nan"), "b": ""}])
def test_a_row_without_a_cell_is_missing(row):
    assert Table().decode(row) is None


def test_scalars_of_numpy_and_torch_are_plain():
    row = Table().decode({"a": np.int64(3), "b": np.bool_(True), "c": torch.tensor(2.5), "d": np.str_("x")})  # noqa: FBT003
    assert row == {"a": 3, "b": True, "c": 2.5, "d": "x"}
    assert [type(cell) for cell in row.values()] == [int, bool, float, str]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1, 2], "a table row is a mapping of column to cell; got list"),
        ({3: 1}, "a column's name is a string; got 3"),
        ({"size": float("inf")}, "column 'size' holds inf; a number is finite"),
        ({"size": [1]}, "column 'size' holds a list; a cell is a number, a string, a bool or None"),
    ],
)
def test_what_is_no_row_says_why(raw, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Table().decode(raw)


def test_examples_are_rows_of_the_same_columns():
    generator = torch.Generator().manual_seed(0)
    examples = [Table().example(generator) for _ in range(30)]
    assert [Table().decode(example) for example in examples] == examples
    assert len({tuple(example) for example in examples}) == 1
    assert any(None in example.values() for example in examples)


def test_rows_of_pandas_are_mappings():
    Row = namedtuple("Row", ["a", "b"])
    assert Table().decode(Row(1, "x")) == {"a": 1, "b": "x"}
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    expected = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert [Table().decode(row) for _, row in frame.iterrows()] == expected
    assert [Table().decode(row) for row in frame.itertuples(index=False)] == expected
