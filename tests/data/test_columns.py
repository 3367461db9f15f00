"""A column is known by what it holds, not by which object it is."""

import pickle

import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.columns import Column
from mmkit.data.subset import select
from mmkit.system.hashing import digest


class Opaque:
    """A value that is not told apart by its content."""


def test_it_reads_as_the_sequence_that_it_was_made_of():
    column = Column(["a", None, "c"])
    assert (len(column), column[0], column[-1], column[1:]) == (3, "a", "c", [None, "c"])
    assert list(column) == ["a", None, "c"]
    assert list(reversed(column)) == ["c", None, "a"]
    assert "c" in column
    with pytest.raises(IndexError):
        column[3]


def test_a_column_is_not_wrapped_again():
    column = Column([1, 2])
    assert Column.of(column) is column
    assert list(Column.of((1, 2))) == [1, 2]


def test_the_fingerprint_is_that_of_the_values():
    values = [torch.arange(3), None, torch.arange(4)]
    assert Column(values).fingerprint == digest(values)
    copies = [None if value is None else value.clone() for value in values]
    assert Column(values).fingerprint == Column(copies).fingerprint
    assert Column(values).fingerprint != Column(values[::-1]).fingerprint


def test_it_is_computed_once(monkeypatch):
    calls = []
    monkeypatch.setattr("mmkit.data.columns.digest", lambda content: calls.append(content) or "x")
    column = Column([1])
    assert (column.fingerprint, column.fingerprint, len(calls)) == ("x", "x", 1)


def test_two_columns_of_the_same_content_are_the_same():
    assert Column([1, "a"]).same(Column([1, "a"]))
    assert not Column([1, "a"]).same(Column([1, "b"]))
    assert not Column([1]).same(Column([1, 1]))


def test_of_values_that_cannot_be_told_apart_only_a_column_and_itself_are_the_same():
    opaque = Column([Opaque()])
    assert opaque.same(opaque)
    assert not opaque.same(Column(list(opaque)))
    with pytest.raises(TypeError, match="values of type Opaque cannot be hashed"):
        _ = opaque.fingerprint


def test_a_comparison_of_one_with_itself_hashes_nothing(monkeypatch):
    monkeypatch.setattr("mmkit.data.columns.digest", lambda _: pytest.fail("hashed"))
    column = Column([1])
    assert column.same(column)
    assert not column.same(Column([1, 2]))


def test_values_are_taken_in_the_order_of_the_index():
    column = Column("abcd").take([3, 0, 0])
    assert isinstance(column, Column)
    assert list(column) == ["d", "a", "a"]
    samples = select(Samples(["x", "y"], {"a": Column([1, 2])}, [0, 1]), [1])
    assert list(samples.inputs["a"]) == [2]
    assert Column.of(samples.inputs["a"]).fingerprint == Column([2]).fingerprint


def test_it_can_be_pickled_and_shown():
    column = Column([1, None])
    assert pickle.loads(pickle.dumps(column)).fingerprint == column.fingerprint
    assert repr(column) == "<Column of 2 values>"
