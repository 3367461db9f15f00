"""Suites are read without a change to them, wherever they lie in a folder."""

import pytest

from mmkit.errors import DataError
from mmkit.records.file import RecordFile
from mmkit.records.reading import groups_of_test, read_suites
from mmkit.records.record import Record


def record(id_):
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    names = {"task": "t", "encoders": {}, "fusion": "sum", "head": "mlp", "objectives": [], "seed": 0, "run": {}}
    return Record(id=id_, status="ok", **names, **where)


def test_a_suite_a_folder_of_suites_and_a_file_are_read_alike(tmp_path):
    for name, ids in (("b/two", "xy"), ("a", "z")):
        for id_ in ids:
            RecordFile(tmp_path / name / "records.jsonl").append(record(id_))
    found = read_suites(tmp_path)
    assert [(one.folder.name, [r.id for r in one.records]) for one in found] == [("a", ["z"]), ("two", ["x", "y"])]
    assert read_suites(tmp_path / "a") == read_suites(tmp_path / "a" / "records.jsonl") == found[:1]


def test_a_line_that_is_just_being_written_is_left_alone(tmp_path):
    file = RecordFile(tmp_path / "records.jsonl")
    file.append(record("x"))
    with file.path.open("ab") as stream:
        stream.write(b'{"schema": 2, "id": "y"')
    before = file.path.read_bytes()
    assert [one.id for one in read_suites(tmp_path)[0].records] == ["x"]
    assert file.path.read_bytes() == before


def test_where_there_is_nothing_to_read_the_error_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="nowhere is not there; expected the folder of a suite"):
        read_suites(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no records.jsonl; expected"):
        read_suites(tmp_path)
    (tmp_path / "records.jsonl").touch()
    with pytest.raises(DataError, match="holds no record yet"):
        read_suites(tmp_path)
    (tmp_path / "records.jsonl").write_text("what\n")
    with pytest.raises(DataError, match="line 1 is no record"):
        read_suites(tmp_path)


def test_groups_are_read_in_the_order_of_the_test_split(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "row": [1, 0, 2, 0], "id": ["b", "a", "d", "c"], "split": ["test", "test", "test", "train"],
        "group": ["y", None, "y", "z"], "group writer": ["1", "2", "3", "4"], "content": [0, 0, 0, 0],
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "splits.parquet")
    found = groups_of_test(tmp_path)
    assert isinstance(found, dict)
    assert set(found) == {"group", "writer"}
    first, *others = found["group"]  # the sample without a label is a group of its own
    assert others[0] == others[1] != first
    assert len(set(found["writer"])) == 3
    parquet.write_table(pa.table({**columns, "fold": [1, 2, 1, 1], "place": [5, 2, 7, 0]}), tmp_path / "splits.parquet")
    of_folds = groups_of_test(tmp_path)
    assert isinstance(of_folds, dict)
    assert [of_folds["group"][0] == one for one in of_folds["group"]] == [True, False, False]
    alone = {name: columns[name] for name in ("row", "id", "split", "content")}
    parquet.write_table(pa.table(alone), tmp_path / "splits.parquet")
    assert groups_of_test(tmp_path) is None
    assert "no splits.parquet" in groups_of_test(tmp_path / "nowhere")
