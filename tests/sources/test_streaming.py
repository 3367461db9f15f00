"""A table in pieces is the table that is read whole."""

import gzip
import json

import pyarrow as pa
import pytest

from mmkit.errors import DataError, UsageError
from mmkit.registry.catalog import installed
from mmkit.sources.reading import read
from mmkit.sources.streaming import Stream, stream_of

TABLE = {
    "n": [None if i % 9 == 4 else i / 2 for i in range(1000)],
    "text": [f"row {i}, with a comma\nand a line" for i in range(1000)],
    "list": [[i, i + 1] for i in range(1000)],
}


def pieces(path, size=64):
    return list(Stream(str(path), {}, size=size).pieces())


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "feather"])
@pytest.mark.parametrize("size", [64, 1000, 4096])
def test_pieces_are_the_whole(written, kind, size):
    table = {name: values for name, values in TABLE.items() if name != "list" or kind not in {"csv", "tsv"}}
    path = written(table, kind)
    whole, found = read(path, {}), pieces(path, size)
    assert [piece.rows for piece in found[:-1]] == [size] * (len(found) - 1)
    assert [piece.start for piece in found] == list(range(0, 1000, size))
    for name, column in whole.columns.items():
        assert [v for piece in found for v in piece.columns[name].to_pylist()] == column.to_pylist()


def test_a_frame_a_mapping_and_a_folder_are_read_in_pieces(written, frame, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    for name in ("a", "b"):
        written({"n": [1, 2, 3]}, "csv", name=f"several/{name}")
    for data, expected in (
        (frame({"n": [1, 2, 3]}), [1, 2, 3]),
        ({"n": [1, 2]}, [1, 2]),
        (folder, ["1", "2", "3"] * 2),
    ):
        stream = stream_of(data, installed())
        found = list(Stream(stream.data, stream.media, size=2).pieces())
        assert [v for piece in found for v in piece.columns["n"].to_pylist()] == expected


def test_a_long_row_of_csv_is_read_where_the_first_blocks_end(tmp_path):
    path = tmp_path / "long.csv"
    rows = [f"{i},{'x' * 100}" for i in range(3000)] + [f"3000,{'y' * 9_000_000}", "3001,z"]
    path.write_text("\n".join(["n,text", *rows]) + "\n")
    found = pieces(path, 1000)
    assert [int(v) for piece in found for v in piece.columns["n"].to_pylist()] == list(range(3002))
    assert len(found[-1].columns["text"][0].as_py()) == 9_000_000


def test_packed_text_and_arrays_of_json_are_read_too(tmp_path):
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(b"n\n1\n2\n"))
    listed = tmp_path / "t.json"
    listed.write_text(json.dumps([{"n": 1}, {"n": "x", "m": 2}]))
    assert pieces(packed)[0].columns["n"].to_pylist() == ["1", "2"]
    assert pieces(listed)[0].columns["n"].to_pylist() == ["1", "x"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "has no row"),
        ("t.csv", b"a,a\n1,2\n", "more than one column 'a'"),
        ("t.csv", b"a\n\xff\xfex\xff\n", "UTF"),
        ("t.csv", b"a,b\n1\n", "cannot be read as csv"),
        ("t.jsonl", b"", "is empty"),
        ("t.jsonl", b'{"a": 1}\n{"a":\n', "is not JSON"),
        ("t.jsonl", b'{"a": 1}\n3\n', "row 2 of .* is a int"),
        ("t.parquet", b"no", "cannot be read as parquet"),
        ("t.arrow", b"no", "cannot be read as arrow"),
        ("t.txt", b"no", "is no table that can be read"),
    ],
)
def test_what_cannot_be_read_is_one_error(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        pieces(path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.csv").write_text("n\n1\n2\n")
    stream = stream_of("~/x.csv", installed(), files="~/")
    assert [piece.columns["n"].to_pylist() for piece in stream.pieces()] == [["1", "2"]]
    assert stream.files == str(tmp_path)


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        pieces(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="--files takes a folder"):
        stream_of(tmp_path / "x.csv", installed(), files=tmp_path / "none")


def test_the_fingerprint_changes_with_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    before = Stream(str(path), {}).fingerprint
    assert Stream(str(path), {}).fingerprint == before
    path.write_text("a\n12\n")
    assert Stream(str(path), {}).fingerprint != before


def test_columns_that_a_piece_of_json_lacks_are_null_in_it(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"b": 2}\n')
    assert pieces(path)[0].columns["a"].to_pylist() == [1, None]
    assert pa.types.is_integer(pieces(path, 1)[0].columns["a"].type)


def test_a_folder_of_files_needs_no_classes(tmp_path):
    for name in ("b.png", "a.png", "note.txt"):
        (tmp_path / name).write_bytes(b"")
    (piece,) = Stream(str(tmp_path), {"image": (".png",)}).pieces()
    assert {name: column.to_pylist() for name, column in piece.columns.items()} == {"image": ["a.png", "b.png"]}
    with pytest.raises(DataError, match="is in no sub-folder"):
        read(str(tmp_path), {"image": (".png",)})
