"""One JSON line a run: appended, never edited, and readable after any end."""

import hashlib
import json
import os
import subprocess
import sys
from subprocess import PIPE

import pytest

from mmkit.errors import DataError, UsageError
from mmkit.records.file import RecordFile, read_records
from mmkit.records.record import Cost, Loading, Record, SampleCounts, Speed
from mmkit.records.scores import Scores
from mmkit.system.files import owned
from mmkit.system.hashing import fingerprint


def record(id_, **rest):
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    names = {"task": "t", "encoders": {}, "fusion": "sum", "head": "mlp", "objectives": [], "seed": 0, "run": {}}
    return Record(**{"id": id_, "status": "ok", **names, **where, **rest})


def test_a_fingerprint_depends_on_the_content_only():
    assert fingerprint({"a": 1, "b": [1.5, None, "图"]}) == fingerprint({"b": [1.5, None, "图"], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


def test_the_last_line_of_an_id_counts(tmp_path):
    records = RecordFile(tmp_path / "deep" / "records.jsonl")
    for one in (record("a", status="failed"), record("b"), record("a", error="später")):
        records.append(one)
    found = RecordFile(tmp_path / "deep" / "records.jsonl").read()
    assert list(found) == ["a", "b"]
    assert list(read_records(tmp_path / "deep" / "records.jsonl", newest_last=True)) == ["b", "a"]
    assert found["a"] == record("a", error="später")


def test_a_record_is_read_back_unchanged(tmp_path):
    one = record(
        "a",
        metrics={"accuracy": 0.5, "auroc_macro": None},
        history=[{"epoch": 1, "loss": 0.25, "accuracy": None}],
        scores=Scores.of([0.0, 1.0]),
        confusion=[[1, 0], [0, 1]],
        samples=SampleCounts(3, 2, 1, {"train": 0, "validation": 1, "test": 0}),
        unread={"train": 1},
        loading=Loading(0.5, 0.1, 2),
        throughput=Speed(10.0, 5.0, {"p50": 1.0, "p99": None}, 64, 32),
        cost=Cost(7, 7, None, ["fft"], 1024),
    )
    RecordFile(tmp_path / "records.jsonl").append(one)
    assert RecordFile(tmp_path / "records.jsonl").read() == {"a": one}


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", "one"), ("metrics", {"accuracy": "good"}), ("status", "fine"), ("cost", {"parameters": None})],
)
def test_a_field_of_the_wrong_type_is_named(tmp_path, field, value):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(record("a").document() | {field: value}) + "\n")
    with pytest.raises(DataError, match=rf"line 1 is no record \({field}"):
        RecordFile(path).read()


def test_a_fingerprint_is_of_canonical_json():
    canonical = '{"a":[1,0.5,null,true],"ä":"图"}'.encode()
    assert fingerprint({"ä": "图", "a": (1, 0.5, None, True)}) == hashlib.sha256(canonical).hexdigest()[:16]


@pytest.mark.parametrize("text", ["\u2028", "\x85\x0b\x0c", "a\nb\r\n", '"\\', "图片", "\udcff.png"])
def test_any_text_is_one_line_and_is_read_back(tmp_path, text):
    records = RecordFile(tmp_path / "records.jsonl")
    records.append(record("a", error=text))
    records.append(record("b"))
    assert records.read()["a"].error == text
    assert len((tmp_path / "records.jsonl").read_bytes().split(b"\n")) == 3
    assert len(fingerprint(text)) == 16


def test_a_record_that_is_no_json_is_not_written(tmp_path):
    records = RecordFile(tmp_path / "records.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        records.append(record("a", seconds=float("inf")))
    assert (tmp_path / "records.jsonl").read_bytes() == b""


def test_a_file_with_an_incomplete_first_line_is_empty(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"schema": 1, "id": "\xc3')  # even within a character
    assert RecordFile(path).read() == {}
    assert path.read_bytes() == b""


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_an_incomplete_last_line_is_removed_and_others_do_not_change(tmp_path, cut):
    path = tmp_path / "records.jsonl"
    RecordFile(path).append(record("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) - cut])
    assert list(RecordFile(path).read()) == ["a"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["not json", "[]", "3", '{"id": "a"}', "{}", ""])
def test_a_line_that_is_no_record_is_named_and_the_file_does_not_change(tmp_path, line):
    path = tmp_path / "records.jsonl"
    content = f"{json.dumps(record('a').document())}\n{line}\n"
    path.write_text(content)
    with pytest.raises(DataError, match=r"records\.jsonl, line 2 is no record"):
        RecordFile(path).read()
    assert path.read_text() == content


def test_records_of_another_schema_are_an_error(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"id": "a", "schema": 1}\n')
    with pytest.raises(DataError, match="line 1 has schema 1; this version of mmkit reads 2"):
        RecordFile(path).read()


def test_a_folder_that_cannot_be_created_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder with --out"):
        RecordFile(tmp_path / "file" / "records.jsonl")


def test_a_read_only_folder_is_a_usage_error(tmp_path):
    for name in (".lock", "records.jsonl"):  # a folder where the file should be: root may write anywhere else
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder with --out"):
        RecordFile(tmp_path / "records.jsonl")
    with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder with --out"), owned(tmp_path):
        pass


def test_a_locked_folder_is_created(tmp_path):
    with owned(tmp_path / "deep" / "er"):
        assert (tmp_path / "deep" / "er").is_dir()


@pytest.mark.skipif(os.name != "posix", reason="the folder is not guarded elsewhere")
def test_a_folder_has_one_writer_at_a_time(tmp_path):
    source = f"""
import pathlib
from mmkit.system.files import owned
with owned(pathlib.Path({str(tmp_path)!r})):
    print("mine", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", source], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(UsageError, match="another process is writing to"), owned(tmp_path):
            pass
        other.communicate("\n")
    with owned(tmp_path):
        pass
