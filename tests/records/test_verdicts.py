"""The verdicts of a folder: the same runs are the same look, other runs one more."""

import numpy as np
import pytest

from mmkit.contract import Samples
from mmkit.data.content import content_of_split
from mmkit.errors import DataError
from mmkit.records.splits import read_groups, write_splits
from mmkit.records.verdicts import Terms, add_verdict, read_verdicts, terms_of


def test_the_same_runs_are_the_same_look_and_others_one_more(tmp_path):
    assert terms_of(tmp_path, ["b", "a"]).look == 1
    add_verdict(tmp_path, Terms(), ["b", "a"], {"finding": "above"})
    assert terms_of(tmp_path, ["a", "b"]).look == 1
    assert terms_of(tmp_path, ["a", "b", "c"]).look == 2
    add_verdict(tmp_path, Terms(look=2, protocol="full", same=2.0), ["a", "b", "c"], {"finding": "unclear"})
    assert terms_of(tmp_path, ["b", "a"]).look == 1
    assert terms_of(tmp_path) == Terms({}, 2.0, "full", 2)
    assert terms_of(tmp_path, ["d"]).look == 3


def test_what_is_there_is_not_written_again(tmp_path):
    for _ in range(3):
        add_verdict(tmp_path, Terms(), ["a"], {"finding": "above"})
    assert len(read_verdicts(tmp_path)) == 1
    add_verdict(tmp_path, Terms(same=2.0), ["a"], {"finding": "equal"})
    assert [one["look"] for one in read_verdicts(tmp_path)] == [1, 1]
    assert terms_of(tmp_path, ["b"]).look == 2


def test_a_line_that_was_half_written_is_mended_and_another_is_refused(tmp_path):
    add_verdict(tmp_path, Terms(), ["a"], {})
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(path.read_bytes() + b'{"look": 2')
    add_verdict(tmp_path, Terms(look=2), ["b"], {})
    assert [one["look"] for one in read_verdicts(tmp_path)] == [1, 2]
    path.write_bytes(b"no verdict\n")
    with pytest.raises(DataError, match=r"verdicts\.jsonl, line 1 is no verdict"):
        read_verdicts(tmp_path)


def content(ids, groups):
    return content_of_split(Samples(ids, {"x": [0] * len(ids)}, [0] * len(ids), groups), {"x": "table"})


def test_groups_are_those_of_test_in_its_order(tmp_path):
    train, test = content(["a"], ["u"]), content(["b", "c", "d", "e"], ["v", None, "v", None])
    write_splits(tmp_path, [{"train": train, "test": test}])
    (labels,) = read_groups(tmp_path).values()
    assert len(labels) == 4
    assert labels[0] == labels[2]
    assert len(np.unique(labels)) == 3  # a sample without a label is a group of its own


def test_several_factors_and_folds_in_the_order_of_all_rows(tmp_path):
    def split(*ids):
        return content(ids, {"speaker": [one.upper() for one in ids], "writer": ["w"] * len(ids)})

    folds = [{"train": split("a", "c"), "test": split("d", "b")}, {"train": split("b", "d"), "test": split("a", "c")}]
    write_splits(tmp_path, folds, ["a", "b", "c", "d"])
    found = read_groups(tmp_path)
    assert found["speaker"].tolist() == [0, 1, 2, 3]
    assert found["writer"].tolist() == [0, 0, 0, 0]


def test_without_groups_there_are_none(tmp_path):
    assert read_groups(tmp_path) == {}
    write_splits(tmp_path, [{"test": content(["a"], None)}])
    assert read_groups(tmp_path) == {}
