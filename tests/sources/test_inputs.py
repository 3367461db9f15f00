"""The same cells are the same inputs, whatever the source was; and nothing is read that must not be."""

import base64
import datetime as dt
import io
import itertools
import os

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmkit.errors import DataError
from mmkit.sources.columns import Cells, Lazy, Media
from mmkit.sources.files import find_files
from mmkit.sources.inputs import Input, inputs_of, store_of
from mmkit.sources.tabular import MOST_TAGS, categories, fit


def chunked(values, kind=None, cuts=(2,)):
    """A column in several pieces."""
    whole = pa.array(values, kind)
    edges = [0, *cuts, len(values)]
    return pa.chunked_array([whole.slice(a, b - a) for a, b in itertools.pairwise(edges)], whole.type)


def table(kinds, columns, tmp_path, train=None):
    one = Input("table", "table", tuple(kinds))
    count = len(next(iter(columns.values())))
    rows = np.arange(count) if train is None else train
    fitted = {name: fit(name, kind, columns[name], rows) for name, kind in kinds.items()}
    store = store_of(one, fitted, columns, files=tmp_path)
    return [store.value(row) for row in range(count)]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (chunked([3, None, 1]), ["3", None, "1"]),
        (chunked([3.0, None, 1.0]), ["3", None, "1"]),
        (chunked(["3", "", " 1 "]), ["3", None, "1"]),
        (chunked([True, None, False]), ["true", None, "false"]),
        (chunked(["True", None, "FALSE"]), ["true", None, "false"]),
        (chunked(["True", None, "maybe"]), ["True", None, "maybe"]),
        (chunked(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
        (chunked(["e\u0301", None, "\xe9"]), ["\xe9", None, "\xe9"]),
        (chunked([dt.date(2024, 1, 2), None, None]), ["2024-01-02", None, None]),
        (  # the second is of the year 1,116,918, which Python has not
            chunked([0, 2**45, None], pa.timestamp("s")),
            ["1970-01-01 00:00:00", "<value out of range: 35184372088832>", None],
        ),
    ],
)
def test_a_category_has_one_name_whatever_its_type(column, expected):
    codes, names = categories(column)
    assert [None if code < 0 else names[code] for code in codes] == expected
    assert list(names) == sorted({name for name in expected if name})


def test_a_row_of_a_table_is_put_together_from_its_columns(tmp_path):
    columns = {
        "n": chunked(["1.5", "?", None]),
        "c": chunked(["b", "a", None]),
        "v": chunked([[1, 2], None, [3, 4]]),
        "t": chunked([["x", "y"], [], None]),
    }
    kinds = {"n": "number", "c": "category", "v": "numbers", "t": "tags"}
    assert table(kinds, columns, tmp_path) == [
        {"n": 1.5, "c": "b", "v.0": 1, "v.1": 2, "t=x": 1, "t=y": 1},
        {"n": None, "c": "a", "v.0": None, "v.1": None, "t=x": 0, "t=y": 0},
        {"n": None, "c": None, "v.0": 3, "v.1": 4, "t=x": None, "t=y": None},
    ]


def test_dates_become_days_and_those_parts_that_vary(tmp_path):
    days = ["2000-01-01", "2024-02-29T18:00:00", None]
    assert table({"d": "date"}, {"d": chunked(days)}, tmp_path) == [
        {"d.days": 0, "d.month": "01", "d.weekday": "saturday", "d.hour": "00"},
        {"d.days": 8825.75, "d.month": "02", "d.weekday": "thursday", "d.hour": "18"},
        {"d.days": None, "d.month": None, "d.weekday": None, "d.hour": None},
    ]
    same = table({"d": "date"}, {"d": chunked(["2024-03-04", "2024-03-11", "2024-03-04"])}, tmp_path)
    assert [set(row) for row in same] == [{"d.days"}] * 3
    for made in days[:2]:
        there = dt.datetime.fromisoformat(made)
        assert (there - dt.datetime(2000, 1, 1)).total_seconds() / 86400 in {0, 8825.75}
        assert there.strftime("%A").lower() in {"saturday", "thursday"}


def test_tags_are_counted_in_training_alone(tmp_path):
    tags = [[f"train{n}" for n in range(MOST_TAGS)], ["test"] * 9, ["test"]]
    (first, *_) = table({"t": "tags"}, {"t": chunked(tags)}, tmp_path, train=np.array([0]))
    assert len(first) == MOST_TAGS
    assert "t=test" not in first


def test_parts_of_dates_are_those_that_vary_in_training(tmp_path):
    days = {"d": chunked(["2024-03-04", "2024-03-05", "2024-04-05T18:00:00"])}
    found = table({"d": "date"}, days, tmp_path, train=np.array([0, 1]))
    assert [set(row) for row in found] == [{"d.days", "d.weekday"}] * 3


def test_lists_of_different_lengths_are_no_numbers(tmp_path):
    with pytest.raises(DataError, match=r"column v is no list of equally many numbers.*--column v=series"):
        table({"v": "numbers"}, {"v": chunked([[1, 2], [3], [4]])}, tmp_path)


def test_each_column_of_text_is_an_input_and_more_than_four_are_joined(tmp_path):
    columns = {f"t{n}": chunked(["word " * n, None, "x"]) for n in range(1, 7)}
    columns["n"] = chunked([1, 2, 3])
    columns["table"] = chunked(["a b c", "d", "e"])
    kinds = dict.fromkeys(columns, "text") | {"n": "number", "table": "image"}
    found = inputs_of(kinds, columns)
    assert [(one.name, one.columns) for one in found] == [
        ("t4", ("t4",)),
        ("t5", ("t5",)),
        ("t6", ("t6",)),
        ("table", ("table",)),
        ("texts", ("t1", "t2", "t3")),
        ("table_2", ("n",)),
    ]
    store = store_of(found[4], {}, columns, files=tmp_path)
    assert [store.value(row) for row in range(3)] == [
        "t1: word\nt2: word word\nt3: word word word",
        None,
        "t1: x\nt2: x\nt3: x",
    ]


def test_a_blank_text_is_missing(tmp_path):
    store = store_of(Input("t", "text", ("t",)), {}, {"t": chunked(["a", " ", None])}, files=tmp_path)
    assert [store.value(row) for row in range(3)] == ["a", None, None]


def test_a_lazy_column_is_a_sequence_that_reads_what_is_asked_for():
    read = []

    class Store:
        fingerprint = "abc"

        def value(self, row):
            read.append(row)
            return f"row {row}"

    column = Lazy(Store(), np.array([5, 3, 9]))
    assert (len(column), column[1], column[-1], column[:2]) == (3, "row 3", "row 9", ["row 5", "row 3"])
    assert column.take([2, 0]) == ["row 9", "row 5"]
    assert column.subset([2]).fingerprint == Lazy(Store(), np.array([9])).fingerprint
    assert read == [3, 9, 5, 3, 9, 5]
    assert list(column) == ["row 5", "row 3", "row 9"]
    assert column.fingerprint == Lazy(Store(), np.array([5, 3, 9])).fingerprint
    assert column.fingerprint != Lazy(Store(), np.array([3, 5, 9])).fingerprint
    with pytest.raises(IndexError):
        column[3]


def test_cells_of_a_column_in_many_pieces():
    cells = Cells(chunked(list("abcdef"), cuts=(0, 1, 1, 4)))
    assert [cells.value(row) for row in range(6)] == list("abcdef")
    assert cells.fingerprint == Cells(chunked(list("abcdef"))).fingerprint


def test_a_cell_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("mmkit.sources.columns.CELL", 4)
    with pytest.raises(DataError, match="row 1 holds 5 bytes in one cell; at most 4"):
        Cells(chunked(["a", "12345"], cuts=(1,))).value(1)


@pytest.fixture
def folder(tmp_path):
    """A folder with a picture, and what must not be read beside it and in it."""
    inside = tmp_path / "in"
    (inside / "img").mkdir(parents=True)
    Image.new("RGB", (3, 2), "red").save(inside / "img" / "a.png")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "here.png").symlink_to(inside / "img" / "a.png")
    (inside / "round.png").symlink_to(inside / "round.png")
    os.mkfifo(inside / "pipe.png")
    return inside


def test_cells_that_name_or_hold_a_picture(folder):
    content = (folder / "img" / "a.png").read_bytes()
    encoded = base64.b64encode(content).decode()
    values = ["img/a.png", "here.png", f"data:image/png;base64,{encoded}", encoded, "", None, str(folder / "img/a.png")]
    media = Media(chunked(values), folder)
    path = str((folder / "img" / "a.png").resolve())
    assert [media.value(row) for row in range(7)] == [path, path, content, content, None, None, path]
    assert Media(chunked([content, None, content]), folder).value(0) == content
    structs = Media(chunked([{"bytes": content, "path": "x"}, {"bytes": None, "path": "img/a.png"}, None]), folder)
    assert [structs.value(row) for row in range(3)] == [content, path, None]
    assert Image.open(io.BytesIO(media.value(2))).size == (3, 2)


def test_space_around_a_cell_is_no_part_of_the_name_of_its_file(folder):
    content = (folder / "img" / "a.png").read_bytes()
    column = chunked([" img/a.png", "here.png ", f" data:image/png;base64,{base64.b64encode(content).decode()}"])
    media = Media(column, folder)
    path = str((folder / "img" / "a.png").resolve())
    assert [media.value(row) for row in range(3)] == [path, path, content]
    findings, there = find_files("photo", column[:2], folder)
    assert (findings, there.tolist()) == ([], [True, True])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("link.png", "lies outside of the folder; --outside allows that"),
        ("../secret.png", "lies outside of the folder"),
        ("/dev/zero", "lies outside of the folder"),
        ("pipe.png", "is no plain file"),
        ("img", "is no plain file"),
        ("round.png", "is no name of a file"),
        ("a\0.png", "is no name of a file"),
        ("x" * 5000 + ".png", "is no name of a file"),
        ("https://example.org/a.png", "is on another machine; nothing is fetched"),
        ("none.png", "there is no file none.png"),
        ("data:image/png;base64,!", "a data URI cannot be read"),
    ],
)
def test_what_must_not_be_read_is_refused_when_it_is_asked_for(folder, name, said):
    media = Media(chunked(["img/a.png", name]), folder)
    assert media.value(0)
    with pytest.raises(DataError, match=said) as found:
        media.value(1)
    assert len(str(found.value)) < 400


def test_outside_allows_what_lies_outside_and_no_device(folder):
    media = Media(chunked(["../secret.png", "/dev/zero"]), folder, outside=True)
    assert media.value(0) == str((folder.parent / "secret.png").resolve())
    with pytest.raises(DataError, match="is no plain file"):
        media.value(1)


def test_a_file_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr("mmkit.sources.columns.FILE", 10)
    with pytest.raises(DataError, match="at most 10 are read"):
        Media(chunked(["img/a.png", None]), folder).value(0)


def test_the_fingerprint_of_pictures_changes_with_their_files(folder):
    before = Media(chunked(["img/a.png", None]), folder).fingerprint
    assert Media(chunked(["img/a.png", None]), folder).fingerprint == before
    (folder / "img" / "a.png").write_bytes(b"other")
    assert Media(chunked(["img/a.png", None]), folder).fingerprint != before
