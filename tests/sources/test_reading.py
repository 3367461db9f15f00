"""Sources of every kind are read, and what cannot be read is one error in a user's words."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.sources.formats import CELL, read_file
from mmkit.sources.memory import KEPT, columns_of, fingerprint, hold
from mmkit.sources.reading import read, stamp

MEDIA = {"image": (".png", ".jpg"), "audio": (".wav",)}
ROWS = {
    "name": ["Zoë", "我爱北京天安门", None],
    "count": [1, None, 3],
    "weight": [0.5, 2.0, None],
}


def lists(source):
    return {name: column if isinstance(column, list) else column.to_pylist() for name, column in source.columns.items()}


def file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "feather"])
def test_formats_with_types_keep_them(written, kind):
    assert lists(read(written(ROWS, kind), {})) == ROWS


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_cells_without_types_are_strings_and_empty_ones_are_missing(written, kind):
    assert lists(read(written(ROWS, kind), {})) == {
        "name": ROWS["name"],
        "count": ["1", None, "3"],
        "weight": ["0.5", "2", None],
    }


def test_leading_zeros_and_words_for_nothing_are_kept(tmp_path):
    path = file(tmp_path, "a.csv", "zip,country,n\n00501,NA,?\n02134,DE,1e3\n")
    assert lists(read(str(path), {})) == {"zip": ["00501", "02134"], "country": ["NA", "DE"], "n": ["?", "1e3"]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b\n"x, ""y""\nz",1\n', {"a": ['x, "y"\nz'], "b": ["1"]}),
        ("a;b\n1,5;x\n", {"a": ["1,5"], "b": ["x"]}),
        ("a|b\n1|x\n", {"a": ["1"], "b": ["x"]}),
        ("a\tb\n1\tx\n", {"a": ["1"], "b": ["x"]}),
        (b"\xef\xbb\xbfa,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a,b\n1,é\n".encode("utf-16"), {"a": ["1"], "b": ["é"]}),
        (b"sep=;\r\na;b\r\n1,5;x\r\n", {"a": ["1,5"], "b": ["x"]}),
        (b"\xef\xbb\xbfSEP=|\na|b;c\n1|2\n", {"a": ["1"], "b;c": ["2"]}),
        (b'"sep=,"\na;b,c\n1,2\n', {"a;b": ["1"], "c": ["2"]}),
        ("sep=;\na;b\n1;é\n".encode("utf-16"), {"a": ["1"], "b": ["é"]}),
        (b"sep=,x\n1,2\n", {"sep=": ["1"], "x": ["2"]}),
        (",a\n0,x\n", {"column_1": ["0"], "a": ["x"]}),
        ('"a,b;c;d",e\n1,2\n', {"a,b;c;d": ["1"], "e": ["2"]}),
    ],
)
def test_csv_as_programs_write_it(tmp_path, content, expected):
    assert lists(read(str(file(tmp_path, "a.csv", content)), {})) == expected


def test_compressed_text_is_read(tmp_path):
    assert lists(read(str(file(tmp_path, "A.CSV.gz", gzip.compress(b"a\n1\n"))), {})) == {"a": ["1"]}


def test_a_row_longer_than_a_block_is_read_and_one_beyond_every_bound_refused(tmp_path, monkeypatch):
    path = file(tmp_path, "a.csv", f"a,b\n{'x' * 5_000_000},1\n")
    assert [len(cell) for cell in lists(read(str(path), {}))["a"]] == [5_000_000]
    monkeypatch.setattr("mmkit.sources.formats._BLOCKS", (1024, 4096))
    with pytest.raises(DataError, match=r"a\.csv cannot be read as csv: straddling"):
        read(str(path), {})
    assert CELL == 64 * 2**20


def test_json_lines_whose_types_change_become_strings(tmp_path):
    path = file(tmp_path, "a.jsonl", '{"a": 1, "b": "2024-01-02"}\n\n{"a": "x", "b": null, "c": NaN}\n{"a": [1]}\n')
    assert lists(read(str(path), {})) == {
        "a": ["1", "x", "[1]"],
        "b": ["2024-01-02", None, None],
        "c": [None, None, None],
    }


def test_dates_within_lists_and_objects_of_json_lines_stay_as_they_are_written(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"days": ["2024-05-01"], "of": {"day": f"2024-05-{day:02}", "n": day}} for day in range(1, 6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    table = read_file(path)
    assert table["days"].to_pylist() == [["2024-05-01"]] * 5
    assert table["of.day"].to_pylist() == [row["of"]["day"] for row in rows]
    assert table["of.n"].to_pylist() == [1, 2, 3, 4, 5]


def test_dates_of_json_lines_stay_as_they_are_written(tmp_path):
    path = file(tmp_path, "a.jsonl", '{"day": "2024-01-02", "n": 1}\n{"day": "2024-01-03", "n": 2}\n')
    assert lists(read(str(path), {})) == {"day": ["2024-01-02", "2024-01-03"], "n": [1, 2]}


def test_fields_of_objects_are_columns_and_what_holds_bytes_stays_whole(tmp_path):
    path = file(tmp_path, "a.json", '[{"at": {"city": {"name": "Ulm"}, "n": 1}}, {"at": null}]')
    assert lists(read(str(path), {})) == {"at.city.name": ["Ulm", None], "at.n": [1, None]}
    table = pa.table({"picture": [{"bytes": b"x", "path": None}], "at": [{"n": 1}]})
    pa.parquet.write_table(table, tmp_path / "b.parquet")
    assert read(str(tmp_path / "b.parquet"), {}).columns.keys() == {"picture", "at.n"}


def test_a_folder_of_one_table_is_one_table(written, tmp_path):
    for place, part in enumerate(["b", "a"]):
        written({"n": [place]}, "parquet", part)
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.csv").write_text("x\n1\n")
    assert lists(read(str(tmp_path), {})) == {"n": [1, 0]}
    written({"m": [0]}, "parquet", "c")
    with pytest.raises(DataError, match=r"do not go together: c\.parquet and a\.parquet do not both have.*'m'"):
        read(str(tmp_path), {})


def pictures(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(path)


def test_the_sub_folder_of_a_picture_is_its_class(tmp_path):
    pictures(tmp_path, ["cat/b.png", "cat/a.png", "dog/deep/c.png"])
    assert lists(read(str(tmp_path), MEDIA)) == {
        "image": ["cat/a.png", "cat/b.png", "dog/deep/c.png"],
        "label": ["cat", "cat", "dog"],
    }


def test_folders_that_are_named_as_splits_are_splits(tmp_path):
    pictures(tmp_path, ["train/cat/a.png", "test/dog/b.png"])
    assert lists(read(str(tmp_path), MEDIA)) == {
        "image": ["test/dog/b.png", "train/cat/a.png"],
        "label": ["dog", "cat"],
        "split": ["test", "train"],
    }


def test_links_out_of_a_folder_are_not_followed_unless_that_is_allowed(tmp_path):
    inside, other = tmp_path / "in", tmp_path / "out"
    pictures(inside, ["cat/a.png"])
    pictures(other, ["secret.png"])
    (inside / "cat" / "link.png").symlink_to(other / "secret.png")
    (inside / "dog").symlink_to(other)
    assert lists(read(str(inside), MEDIA))["image"] == ["cat/a.png"]
    assert lists(read(str(inside), MEDIA, outside=True))["image"] == ["cat/a.png", "cat/link.png"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.png", "cat/b.png"], r"a\.png is in no sub-folder"),
        (["cat/a.png", "cat/b.wav"], "several modalities \\(audio, image\\)"),
        (["train/a.png"], "folders of splits; expected SPLIT/CLASS/FILE"),
        (["cat/a.txt"], "holds no table"),
    ],
)
def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path, names, said):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=said):
        read(str(tmp_path), MEDIA)


def saved(folder, columns, features, files=2):
    """A folder as `datasets.Dataset.save_to_disk` leaves it."""
    folder.mkdir(parents=True)
    table = pa.table(columns)
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = table.replace_schema_metadata(noted)
    names = [f"data-{n:05}-of-{files:05}.arrow" for n in range(files)]
    size = -(-len(table) // files)
    for n, name in enumerate(names):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.slice(n * size, size))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


CLASSES = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "text": {"_type": "Value", "dtype": "string"}}


def test_what_datasets_saved_is_read_with_the_names_of_its_classes(tmp_path):
    saved(tmp_path / "one", {"text": ["a", "b", "c"], "label": pa.array([1, 0, -1])}, CLASSES)
    assert lists(read(str(tmp_path / "one"), {})) == {"text": ["a", "b", "c"], "label": ["dog", "cat", None]}
    for split in ("train", "test"):
        saved(tmp_path / "all" / split, {"text": [split], "label": pa.array([0])}, CLASSES, files=1)
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    both = read(str(tmp_path / "all"), {})
    assert lists(both)["split"] == ["train", "test"]
    assert both.made == {"split"}


def test_what_datasets_saved_cannot_name_files_elsewhere(tmp_path):
    saved(tmp_path / "one", {"text": ["a"], "label": pa.array([1])}, CLASSES, files=1)
    for content in ('{"_data_files": [{"filename": "../x.arrow"}]}', '{"_data_files": []}', "[]", "nonsense"):
        (tmp_path / "one" / "state.json").write_text(content)
        with pytest.raises(DataError):
            read(str(tmp_path / "one"), {})


def test_frames_and_mappings_are_read_as_files_are(frame, written):
    rows = {"name": ["a", None], "count": [1, 2]}
    for data in (frame(rows), rows, pa.table(rows)):
        assert lists(read(hold(data), {})) == lists(read(written(rows, "parquet"), {})) == rows


def test_what_arrow_refuses_stays_as_it_is():
    picture, sound = Image.new("L", (2, 2)), (np.zeros(8, np.float32), 8000)
    data = {
        "picture": [picture, None],
        "sound": [sound, sound],
        "signal": [np.zeros((3, 2)), np.ones((4, 2))],
        "mixed": [1, "x"],
        "number": torch.tensor([1.5, 2.5]),
    }
    columns = columns_of(data)
    assert columns["picture"] == [picture, None]
    assert columns["sound"] == [sound, sound]
    assert isinstance(columns["signal"], list)
    assert columns["mixed"].to_pylist() == ["1", "x"]
    assert columns["number"].to_pylist() == [1.5, 2.5]
    assert fingerprint(columns) == fingerprint(columns_of(data | {"picture": [picture.copy(), None]}))
    assert fingerprint(columns) != fingerprint(columns_of(data | {"picture": [Image.new("L", (2, 2), 9), None]}))


def test_fields_of_mappings_and_rows_of_arrays_are_columns_as_in_files(written, frame):
    table = {"place": [{"city": "x", "at": {"lat": 1.5}}, None], "number": [1, 2]}
    rows = [dict(zip(table, one, strict=True)) for one in zip(*table.values(), strict=True)]
    found = lists(read(written(table, "parquet"), {}))
    assert list(found) == ["place.city", "place.at.lat", "number"]
    for data in (table, rows, frame(table)):
        assert lists(read(hold(data), {})) == found
    picture = Image.new("L", (2, 2))
    assert list(columns_of({"picture": [picture, None], **table})) == ["picture", *found]
    with pytest.raises(DataError, match=r"more than one column 'place.city'"):
        columns_of({**table, "place.city": [1, 2]})
    for kind in ("float64", "float32", "float16", "int8", "bool"):
        numbers = np.arange(6).reshape(3, 2).astype(kind)
        for values in (numbers, torch.tensor(numbers)):
            assert columns_of({"n": values})["n"].to_pylist() == numbers.tolist()


def test_a_fingerprint_hangs_on_values_and_not_on_how_they_are_cut():
    whole = pa.chunked_array([["a", "b", None]])
    assert fingerprint({"a": whole}) == fingerprint({"a": pa.chunked_array([["a"], ["b", None]])})
    assert fingerprint({"a": whole}) != fingerprint({"a": pa.chunked_array([["a", "b", "c"]])})
    assert fingerprint({"a": whole}) != fingerprint({"b": whole})


def test_the_latest_tables_in_memory_are_known_by_their_names():
    names = [hold({"n": [number]}) for number in range(KEPT + 1)]
    with pytest.raises(DataError, match="was given in memory by another process, or long ago"):
        read(names[0], {})
    assert lists(read(names[-1], {})) == {"n": [KEPT]}


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ([1, 2], UsageError, "a list of rows, each a mapping; got a list whose row 0 is a int"),
        ([{"a": 1}, "b"], UsageError, "got a list whose row 1 is a str"),
        ([], UsageError, "got an empty list, which names no column"),
        (3, UsageError, "each a mapping; got a int"),
        ({"a": [1], "b": [1, 2]}, DataError, "columns have different lengths: a 1, b 2"),
        ({"a": "text"}, DataError, "column a is a sequence"),
        ({1: [2]}, DataError, "the name of a column is a string; got 1"),
    ],
)
def test_what_is_no_table_is_refused(data, error, said):
    with pytest.raises(error, match=said):
        hold(data)


BROKEN = {
    "empty.csv": b"",
    "blank.csv": b"\n\n",
    "said.csv": b"sep=;\n",
    "latin.csv": "a,b\n1,é\n".encode("latin-1"),
    "ragged.csv": b"a,b\n1,2,3\n",
    "twice.csv": b"a,a\n1,2\n",
    "head.csv": b"a,b\n",
    "not.csv.gz": b"a,b\n",
    "cut.csv.gz": gzip.compress(os.urandom(4000))[:900],
    "cut.jsonl": b'{"a": 1}\n{"a"',
    "empty.jsonl": b"",
    "bytes.jsonl": b"\x80\x81",
    "array.json": b"[1, 2]",
    "deep.json": b"[" * 100_000,
    "value.jsonl": b'{"a": "x\xff"}\n',
    "name.jsonl": b'{"a\xff": "x"}\n',
    "not.parquet": b"PAR1nonsensePAR1",
    "empty.arrow": b"",
    "not.arrow": b"ARROW1\0\0nonsense",
    "table.xlsx": b"PK",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_one_error_that_names_it(tmp_path, name):
    path = file(tmp_path, name, BROKEN[name])
    with pytest.raises(DataError) as found:
        read(str(path), {})
    assert name in str(found.value)
    assert len(str(found.value)) < 600


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_file_that_is_cut_anywhere_is_refused(written, kind, tmp_path):
    whole = Path(written({"a": ["x" * 50] * 40}, kind)).read_bytes()
    for end in range(0, len(whole), 97):
        path = file(tmp_path, f"cut.{kind}", whole[:end])
        with pytest.raises(DataError):
            read(str(path), {})


def test_an_arrow_file_whose_bytes_are_damaged_is_refused_or_read(written, tmp_path):
    """Offsets that point beyond the end would end the process."""
    whole = Path(written({"a": [f"word {n}" for n in range(200)], "b": [[n] * (n % 3) for n in range(200)]}, "arrow"))
    content = whole.read_bytes()
    refused = 0
    for place in range(400, len(content), 61):
        path = file(tmp_path, "damaged.arrow", content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :])
        try:
            lists(read(str(path), {}))
        except DataError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("cell", "code", "shown"),
    [("Genève", "latin1", "Genève"), ("12 €", "windows-1252", "12 €"), ('"a; Zürich"', "latin1", "a; Zürich")],
)
def test_text_that_is_not_utf_8_is_shown_with_its_place_and_the_command(tmp_path, cell, code, shown):
    path = file(tmp_path, "old one.csv", f"id;city\n1;Köln\n2;Bern\n3;{cell}\n".encode(code).replace(b"\xf6", b"oe"))
    with pytest.raises(DataError) as error:
        read(str(path), {})
    said = str(error.value)
    assert f"old one.csv is not UTF-8: line 4, column city, has {shown!r}; if it is {code}, convert it: " in said
    command = said.partition("convert it: ")[2]
    if shutil.which("iconv"):
        subprocess.run(command, shell=True, check=True)
        assert read(str(tmp_path / "old one.utf8.csv"), {}).columns["city"][2].as_py() == shown


def test_compressed_text_and_lines_of_json_are_shown_with_their_line(tmp_path):
    path = file(tmp_path, "a.csv.gz", gzip.compress("a,b\n1,é\n".encode("latin1")))
    with pytest.raises(DataError, match=r"is not UTF-8: line 2, column b, has 'é'; convert it$"):
        read(str(path), {})
    path = file(tmp_path, "a.jsonl", '{"a": "é"}\n'.encode("latin1"))
    with pytest.raises(DataError, match="is not UTF-8: line 1; if it is latin1, convert it: iconv -f latin1 -t utf-8"):
        read(str(path), {})


def test_only_a_name_that_is_close_is_suggested(tmp_path):
    for name in ("leak.csv", "one.csv", "homes.parquet"):
        file(tmp_path, name, "a\n1\n")
    with pytest.raises(DataError) as error:
        read(str(tmp_path / "nofile.csv"), {})
    assert "did you mean" not in str(error.value)
    with pytest.raises(DataError, match=r"did you mean .*homes\.parquet"):
        read(str(tmp_path / "homs.csv"), {})


def test_names_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    file(tmp_path, "posts.csv", "a\n1\n")
    for name, said in {
        str(tmp_path / "post.csv"): r"did you mean .*posts\.csv\?",
        "a\0.csv": "there is no file or folder 'a.x00",
        "x" * 5000: "there is no file or folder",
        "/dev/null": "no table that can be read",
        str(tmp_path / "pipe.csv"): "no plain file",
        "": "which data",
    }.items():
        with pytest.raises(MmkitError, match=said):
            read(name, {})
    with pytest.raises(DataError, match="no plain file"):
        read_file(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="--files takes a folder"):
        read(str(tmp_path / "posts.csv"), {}, files="nowhere")


def test_what_is_too_large_for_this_machine_is_refused_before_it_is_read(written, monkeypatch):
    text, mapped = written({"a": ["x" * 4000]}, "jsonl"), written({"a": ["x" * 4000]}, "arrow")
    monkeypatch.setattr(os, "sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else 4096)
    with pytest.raises(DataError, match="is read into memory"):
        read(text, {})
    assert read(mapped, {}).rows == 1


def test_the_stamp_of_a_source_changes_with_its_files(tmp_path):
    path = file(tmp_path, "a.csv", "a\n1\n")
    before = stamp(str(path)), stamp(str(tmp_path))
    path.write_text("a\n12\n")
    assert stamp(str(path)) != before[0]
    assert stamp(str(tmp_path)) != before[1]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_of_one_column_is_a_row(tmp_path, end):
    path = tmp_path / "one.csv"
    path.write_text(end.join(["weight", "1", "", "3"]) + end, newline="")
    assert read_file(path).to_pydict() == {"weight": ["1", None, "3"]}
    path.write_text(end.join(["weight,size", "1,2", "", "3,4"]) + end, newline="")
    assert read_file(path).to_pydict() == {"weight": ["1", "3"], "size": ["2", "4"]}
