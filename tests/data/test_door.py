"""Columns as users have them: read by position, ids and truth plain."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.decoding import decode_all
from mmkit.data.door import by_position, plain_samples
from mmkit.data.splits import Splits
from mmkit.errors import DataError
from mmkit.modalities.audio import Audio
from mmkit.modalities.image import Image
from mmkit.modalities.series import Series
from mmkit.modalities.table import Table
from mmkit.modalities.text import Text
from mmkit.system.settings import Settings


class Plain:
    """A modality of anything."""

    def decode(self, raw):
        return raw


class Labelled:
    """As a column of pandas: brackets ask for labels, iteration goes by position."""

    ndim = 1
    iloc = None

    def __init__(self, labels, values):
        self.labels, self.values = list(labels), list(values)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, label):
        return self.values[self.labels.index(label)]


def decoded(column, truth=None, ids=None, **options):
    size = len(list(ids)) if ids is not None else 3
    samples = Samples(
        ids if ids is not None else list("pqr"), {"a": column}, [0] * size if truth is None else truth, **options
    )
    return decode_all(samples, {"a": Plain()})[0]


@pytest.mark.parametrize("labels", [[0, 1, 2], [60, 61, 62], [2, 0, 1], list("xyz")])
def test_labelled_columns_are_read_by_position(labels):
    column = Labelled(labels, [10, 20, 30])
    found = decoded(column, column, Labelled(labels, ["u", "v", "w"]), groups=Labelled(labels, ["g", "h", "i"]))
    assert (list(found.inputs["a"]), found.truth) == ([10, 20, 30], [10, 20, 30])
    assert (found.ids, found.groups) == (["u", "v", "w"], ["g", "h", "i"])


def test_columns_of_pandas_are_read_by_position():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [1.0, None, 3.0], "y": ["a", "b", "c"]}, index=[2, 0, 1])
    found = decoded(frame.x, frame.y, frame.index)
    assert (list(found.inputs["a"]), found.truth, found.ids) == ([1.0, None, 3.0], ["a", "b", "c"], [2, 0, 1])
    assert list(decoded(frame[["y"]]).inputs["a"]) == [{"y": "a"}, {"y": "b"}, {"y": "c"}]


def test_a_limit_reads_by_position_as_well():
    class Task:
        def split(self, name):
            del name
            return Samples(
                range(4), {"a": Labelled([3, 2, 1, 0], [10, 20, 30, 40])}, Labelled([3, 2, 1, 0], [7, 7, 7, 8])
            )

    splits = Splits(Task(), {"a": Plain()}, Settings("cpu", limit=2))
    assert (list(splits("train").inputs["a"]), splits("train").truth) == ([10, 40], [7, 8])


@pytest.mark.parametrize("make", [iter, tuple, np.array, torch.tensor, lambda values: (value for value in values)])
def test_any_ordered_collection_is_a_column(make):
    found = decoded(make([10, 20, 30]), make([1, 2, 3]), ["p", "q", "r"])
    assert [int(value) for value in found.inputs["a"]] == [10, 20, 30]
    assert [int(value) for value in found.truth] == [1, 2, 3]


@pytest.mark.parametrize("column", [{0: 1, 1: 2, 2: 3}, {1, 2, 3}, "abc", b"abc", 3, np.array(3)])
def test_what_has_no_order_is_refused(column):
    with pytest.raises(DataError, match="input a: give a list of one value a sample, in one order; got a "):
        decoded(column)


def test_a_column_that_is_read_lazily_stays_so():
    class Lazy:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise AssertionError(index)

    lazy: Any = Lazy()
    assert by_position(lazy, "input a") is lazy


@pytest.mark.parametrize(
    ("ids", "plain"),
    [
        (np.arange(3), [0, 1, 2]),
        (torch.arange(3), [0, 1, 2]),
        (np.array(["a", "b", "c"]), ["a", "b", "c"]),
        ([Path("x/1.png"), Path("x/2.png"), "3"], ["x/1.png", "x/2.png", "3"]),
        (np.array([4.0, 5.0, 6.0]), [4, 5, 6]),
        ([("a", np.int64(1)), ("a", 2), ("b", 1)], [("a", 1), ("a", 2), ("b", 1)]),
    ],
)
def test_ids_become_plain(ids, plain):
    found = plain_samples(Samples(ids, {}, [0, 0, 0])).ids
    assert found == plain
    assert [type(one) for one in found] == [type(one) for one in plain]


@pytest.mark.parametrize("wrong", [None, 1.5, float("nan"), object(), [1]])
def test_what_is_no_id_is_refused(wrong):
    with pytest.raises(DataError, match=r"an id is a string or a whole number; got .*: give str\(id\)"):
        plain_samples(Samples(["a", wrong], {}, [0, 0]))


def test_an_id_that_is_there_twice_in_an_array():
    with pytest.raises(DataError, match="id 7 occurs 2 times"):
        decoded([1, 2, 3], ids=np.array([7, 8, 7]))


class NAType:
    """As `pandas.NA`."""

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


GAPS = [None, float("nan"), np.float32("nan"), np.array(np.nan), torch.tensor(float("nan")), NAType(), np.ma.masked]


@pytest.mark.parametrize("gap", GAPS)
def test_whatever_marks_a_gap_is_a_missing_value(gap):
    assert list(decoded(["x", gap, "z"]).inputs["a"]) == ["x", None, "z"]


def test_masked_elements_are_missing():
    column = np.ma.array([1, 2, 3], mask=[False, True, False])
    found = decoded(column, column)
    assert (list(found.inputs["a"]), found.truth) == ([1, None, 3], [1, None, 3])


def test_a_mark_of_a_gap_is_missing_truth():
    assert plain_samples(Samples(["a", "b"], {}, [NAType(), "x"])).truth == [None, "x"]


@pytest.mark.parametrize("gap", GAPS[1:])
@pytest.mark.parametrize("modality", [Audio, Image, Series, Table, Text])
def test_every_modality_takes_a_gap_for_a_missing_value(modality, gap):
    assert modality().decode(gap) is None
    assert Table().decode({"a": gap, "b": 1}) == {"a": None, "b": 1}


@pytest.mark.parametrize("modality", [Audio, Image])
@pytest.mark.parametrize("empty", ["", Path()])
def test_an_empty_path_is_no_file(modality, empty):
    with pytest.raises(DataError, match="an empty path was given; give None where"):
        modality().decode(empty)
