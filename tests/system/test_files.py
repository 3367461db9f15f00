"""A file is written whole or not at all."""

import json

import pytest

from mmkit.system.files import replacing, utf8, write_json


def test_new_contents_are_there_only_when_the_block_has_ended(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("old")
    with replacing(one, other) as (fresh_one, fresh_other):
        fresh_one.write_text("new")
        fresh_other.write_text("first")
        assert (one.read_text(), other.exists()) == ("old", False)
    assert (one.read_text(), other.read_text()) == ("new", "first")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_block_that_raises_changes_nothing_and_leaves_nothing(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("old")

    def write_half():
        with replacing(one, other) as (fresh, _):
            fresh.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert one.read_text() == "old"


def test_a_file_that_was_not_written_is_an_error_and_the_others_stay(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(one, other) as (fresh, _):
        fresh.write_text("new")
    assert (one.read_text(), other.exists()) == ("old", False)


def test_what_an_earlier_process_left_half_written_is_written_over(tmp_path):
    path = tmp_path / "a.json"
    (tmp_path / ".a.json.fresh").write_text("half of a much longer document")
    write_json(path, {"图": [1, None]})
    assert json.loads(path.read_text("utf-8")) == {"图": [1, None]}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("document", [float("nan"), {"a": float("inf")}])
def test_what_is_not_json_is_not_written(tmp_path, document):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", document)
    assert (tmp_path / "a.json").read_text() == "{}"


def test_half_of_a_surrogate_pair_is_written_as_its_escape():
    assert utf8("图\udcff") == "图".encode() + b"\\udcff"
