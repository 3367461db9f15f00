"""Tables read column by column give what they give row by row, bit for bit."""

import numpy as np
import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.table import Table
from mmkit.sources.columns import Lazy, Rows
from mmkit.transforms.table import TableTransform


def rows(count=500, seed=0):
    rng = np.random.default_rng(seed)
    gap = rng.random((6, count)) < 0.1
    numbers = {
        "height": np.where(gap[0], np.nan, rng.normal(3e9, 2, count)),
        "flag": np.where(gap[1], np.nan, rng.integers(0, 2, count)),
        "code": np.where(gap[2], np.nan, rng.integers(0, 9, count)),
        "empty": np.full(count, np.nan),
        "same": np.full(count, 0.1),
    }
    categories = {
        "town": (np.where(gap[3], -1, rng.integers(0, 40, count)), [f"t{i}" for i in range(40)]),
        "yes": (np.where(gap[4], -1, rng.integers(0, 2, count)), ["false", "true"]),
        "case": (np.where(gap[5], -1, rng.integers(0, 2, count)), ["cafe\u0301", "caf\u00e9"]),
    }
    for column in (*numbers.values(),):
        column[:3] = np.nan
    for codes, _ in categories.values():
        codes[:3] = -1  # three rows without any cell
    return Lazy(Rows(numbers, categories), np.arange(count))


def decoded(lazy):
    return [Table().decode(row) for row in lazy]


@pytest.mark.parametrize(
    "options", [{}, {"categorical": ("code", "flag")}, {"ignore": ("town", "height")}, {"min_count": 12}]
)
def test_the_tensors_are_the_same(options):
    train, other = rows(), rows(300, seed=1)
    by_row, by_column = TableTransform(**options), TableTransform(**options)
    by_row.fit(decoded(train))
    by_column.fit(train)
    assert by_column.state() == by_row.state()
    for given in (train, other, other.subset(np.arange(150)), other.subset([2, 0])):
        expected, found = by_row(decoded(given)), by_column(given)
        assert found.keys() == expected.keys()
        for leaf in expected:
            assert found[leaf].dtype == expected[leaf].dtype
            assert torch.equal(found[leaf], expected[leaf]), leaf


def test_mistakes_are_told_as_of_rows():
    with pytest.raises(DataError, match="names column 'twon', which no row has"):
        TableTransform(ignore=("twon",)).fit(rows())
    transform = TableTransform()
    transform.fit(rows())
    numbers = Rows({"wide": np.ones(200)}, {})
    with pytest.raises(DataError, match="the training split had no column 'wide'"):
        transform(Lazy(numbers, np.arange(200)))
    with pytest.raises(DataError, match="no column with a cell"):
        TableTransform().fit(Lazy(Rows({"a": np.full(200, np.nan)}, {}), np.arange(200)))


def test_names_where_numbers_were_are_told_as_of_rows():
    transform = TableTransform()
    transform.fit(Lazy(Rows({"a": np.arange(200.0)}, {}), np.arange(200)))
    names = Lazy(Rows({}, {"a": (np.zeros(200, np.int32), ["x"])}), np.arange(200))
    with pytest.raises(DataError, match="column 'a' is one of numbers; got 'x'"):
        transform(names)


def test_a_large_column_is_not_read_row_by_row(monkeypatch):
    lazy = rows()
    monkeypatch.setattr(Rows, "value", lambda *_: pytest.fail("a row was read"))
    transform = TableTransform()
    transform.fit(lazy)
    transform(lazy)
