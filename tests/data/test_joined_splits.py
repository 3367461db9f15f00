"""Train and validation joined for a refit: a lazy column stays lazy, and holds the same values."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from mmkit.data import decoding
from mmkit.data.bad_values import RejectedError, without
from mmkit.data.columns import Column
from mmkit.data.splits import splits_of
from mmkit.data.subset import joined
from mmkit.data.whole import whole
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.transforms.table import TableTransform
from mmkit.transforms.text import TextTransform

ROWS = 600


@pytest.fixture
def splits(tmp_path, monkeypatch):
    """Own data whose training split alone is large enough to be lazy."""
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "FEW", 200)
    monkeypatch.setattr(decoding, "EAGER", 20_000)
    draw = np.random.default_rng(0)
    columns = {
        "n": pa.array(draw.normal(size=ROWS), mask=draw.random(ROWS) < 0.1),
        "c": [["red", "blue", None][i % 3] for i in range(ROWS)],
        "text": [f"some words about thing {i} and {draw.integers(90)}" if i % 7 else None for i in range(ROWS)],
        "label": [["yes", "no"][i % 2] for i in range(ROWS)],
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    catalog = installed()
    return splits_of(
        catalog.choose("task", f"own-data:data={tmp_path / 't.parquet'},target=label"), catalog, Settings("cpu")
    )


def columns_of(samples):
    return {name: Column.of(column) for name, column in samples.inputs.items()}


def both(splits):
    return splits("train"), splits("validation")


def test_joined_is_lazy_and_equal(splits):
    train, validation = both(splits)
    together = joined(train, validation)
    columns = columns_of(together)
    assert {name for name, column in columns_of(train).items() if column.lazy is not None} == {"table", "text"}
    assert columns_of(validation)["text"].lazy is None
    assert all(column.lazy is not None for column in columns.values())
    for name, column in columns.items():
        expected = [*train.inputs[name], *validation.inputs[name]]
        assert list(column) == expected
        assert list(column.take([len(train) + 1, 0, len(train)])) == [
            expected[i] for i in (len(train) + 1, 0, len(train))
        ]
        assert column.gaps().tolist() == [value is None for value in expected]
    assert not isinstance(together.ids, list)
    assert list(together.ids) == [*train.ids, *validation.ids]
    assert list(together.truth) == [*train.truth, *validation.truth]
    assert columns["text"].fingerprint != columns_of(train)["text"].fingerprint


@pytest.mark.parametrize(("name", "transform"), [("table", TableTransform), ("text", TextTransform)])
def test_transforms_make_the_same_of_it(splits, name, transform):
    together = joined(*both(splits))
    plain = Column(list(together.inputs[name]))
    ids = [str(one) for one in together.ids]
    one, other = transform(), transform()
    one.fit(together.inputs[name])
    other.fit(plain)
    index = torch.arange(len(together))
    lazy_rows = whole(name, one, together.inputs[name], ids).rows(index)
    assert one.state() == other.state()
    for leaf, rows in whole(name, other, plain, ids).rows(index).items():
        assert torch.equal(lazy_rows[leaf], rows)


def test_dropped_values_stay_dropped(splits):
    train, validation = both(splits)
    place = next(i for i, value in enumerate(train.inputs["text"]) if value is not None)
    rejected = RejectedError("text", {train.ids[place]: "no"})
    fewer = without(train, rejected, "missing")
    column = columns_of(joined(fewer, validation))["text"]
    assert column.lazy is not None
    assert column[place] is None
    assert column.gaps()[place]
    assert list(column) == [*fewer.inputs["text"], *validation.inputs["text"]]


def test_of_two_tables_all_is_in_memory(splits):
    train, validation = both(splits)
    values, text = Column(list(validation.inputs["text"])), columns_of(train)["text"]
    assert text.joined(values).lazy is None
    assert list(text.joined(values)) == [*text, *values]
    first, other = text.lazy, columns_of(train)["table"].lazy
    assert first is not None
    assert other is not None
    assert first.joined(other) is None
