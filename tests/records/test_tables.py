"""The files beside the records: the scores of a run, the samples, and the values that could not be used."""

import math

import numpy as np
import pytest
from pyarrow import parquet

from mmkit.contract import Samples
from mmkit.data.content import content_of_split
from mmkit.errors import DataError
from mmkit.records.scores import Scores
from mmkit.records.splits import Row, read_splits, write_splits
from mmkit.records.unread import Unread, add_unread, read_unread


def content(ids, truth, groups=None):
    return content_of_split(Samples(ids, {"x": list(range(len(ids)))}, truth, groups), {"x": "table"})


class TestScores:
    def test_each_stands_at_the_place_of_its_sample(self):
        scores = Scores.of([0.5, 2.0], rows=[3, 1], size=4)
        assert [None if math.isnan(score) else score for score in scores] == [None, 2.0, None, 0.5]
        assert scores.values.dtype == np.float32

    def test_they_are_read_back_when_they_are_asked_for(self, tmp_path):
        scores = Scores.of([0.1, float("nan"), -1e30])
        later = Scores(tmp_path / "scores" / "a.npy")
        scores.write(tmp_path / "scores" / "a.npy")
        assert later == scores
        assert later.values[0] == np.float32(0.1)
        assert len(later) == 3

    def test_others_are_not_equal(self):
        assert Scores.of([0.0, 1.0]) != Scores.of([0.0, 2.0])
        assert Scores.of([0.0]) != Scores.of([0.0, 0.0])
        assert Scores.of([]) != []

    @pytest.mark.parametrize("stored", [np.zeros(3), np.zeros((3, 1), np.float32), np.array([None]), b"torn", b""])
    def test_what_is_no_such_file_is_said(self, tmp_path, stored):
        path = tmp_path / "a.npy"
        path.write_bytes(stored) if isinstance(stored, bytes) else np.save(path, stored)
        with pytest.raises(DataError, match=r"a\.npy holds .*; remove the line of its run in records\.jsonl"):
            _ = Scores(path).values


class TestSplits:
    def test_rows_ids_and_groups(self, tmp_path):
        write_splits(tmp_path, [{"train": content(["a", 7], [0, 1], ["g", None]), "test": content(["\udcff"], [0])}])
        table = parquet.read_table(tmp_path / "splits.parquet").to_pylist()
        assert [(row["row"], row["id"], row["split"], row["group"]) for row in table] == [
            (0, "a", "train", "g"),
            (1, "7", "train", None),
            (0, "\\udcff", "test", None),
        ]

    def test_without_groups_there_is_no_such_column(self, tmp_path):
        write_splits(tmp_path, [{"train": content(["a"], [0])}])
        assert parquet.read_schema(tmp_path / "splits.parquet").names == ["row", "id", "split", "content"]

    def test_of_the_same_data_it_stays_and_of_others_it_is_written_anew(self, tmp_path):
        path = tmp_path / "splits.parquet"
        write_splits(tmp_path, [{"train": content(["a", "b"], [0, 1])}])
        first = path.stat().st_ino
        write_splits(tmp_path, [{"train": content(["a", "b"], [0, 1])}])
        assert path.stat().st_ino == first
        before = read_splits(tmp_path)["train"]
        write_splits(tmp_path, [{"train": content(["a", "b"], [0, 0])}])
        after = read_splits(tmp_path)["train"]
        assert before["a"] == after["a"] == Row(0, before["a"].content)
        assert before["b"] != after["b"]

    @pytest.mark.parametrize("damage", [b"", b"PAR1", b"torn"])
    def test_a_damaged_table_is_written_anew(self, tmp_path, damage):
        (tmp_path / "splits.parquet").write_bytes(damage)
        assert read_splits(tmp_path) == {}
        write_splits(tmp_path, [{"train": content(["a"], [0])}])
        assert list(read_splits(tmp_path)["train"]) == ["a"]


class TestUnread:
    def test_each_value_stands_once(self, tmp_path):
        one, other = Unread(1, "a", "truth", "test", "why"), Unread(2, "b", "input x", "train", "no \udc80")
        assert read_unread(tmp_path) == []
        add_unread(tmp_path, [one, other])
        add_unread(tmp_path, [other, one._replace(row=3)])
        assert read_unread(tmp_path) == [one, other._replace(reason="no \\udc80"), one._replace(row=3)]
        assert read_unread(tmp_path)[0].line == "sample a, truth: why"

    def test_a_damaged_table_is_begun_anew(self, tmp_path):
        (tmp_path / "unread.parquet").write_bytes(b"torn")
        add_unread(tmp_path, [Unread(1, "a", "truth", "test", "why")])
        assert len(read_unread(tmp_path)) == 1
