"""A new table is read as that of training was: by what the model keeps, and by nothing that its own values say."""

import datetime as dt
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import DataError
from mmkit.registry.catalog import installed
from mmkit.sources.columns import Lazy
from mmkit.sources.layout import Layout
from mmkit.sources.streaming import stream_of
from mmkit.tasks.own_data import OwnData

ROWS = 60


def training():
    """A column of each kind, with what is hard about it."""
    return {
        "price": [f"${1000 + 7 * i:,}.50" for i in range(ROWS)],
        "share": [f"{i % 37},5 %" for i in range(ROWS)],
        "weight": [None if i % 5 == 0 else 1.5 * i for i in range(ROWS)],
        "score": ["?" if i % 6 == 0 else str(i / 4) for i in range(ROWS)],
        "stars": [1 + i % 5 for i in range(ROWS)],
        "zip": [f"{500 + i % 7:05}" for i in range(ROWS)],
        "open": ["True" if i % 3 else "False" for i in range(ROWS)],
        "joined": [f"{1 + i % 28:02}.{1 + i % 12:02}.2024" for i in range(ROWS)],
        "created_at": [1_700_000_000 + 40_000 * i for i in range(ROWS)],
        "tags": [json.dumps(["red", "blue", "green"][: i % 4]) for i in range(ROWS)],
        "point": [json.dumps([i, i / 2, -i]) for i in range(ROWS)],
        "note": [f"a longer text of some words, number {i} of them" if i % 4 else None for i in range(ROWS)],
        "label": [("yes", "no")[i % 2] for i in range(ROWS)],
    }


def described(data):
    return OwnData(data=data, target="label", splits="60/15/25").found


def layout_of(found):
    """The layout as a saved model has it: through JSON."""
    document = json.loads(json.dumps(found.layout(), allow_nan=False))
    return Layout.of(document, {one.name: one.modality for one in found.inputs}, [one.name for one in found.inputs])


def read(layout, columns):
    """The values of each input of a table, and the cells that cannot be read, as (row, column)."""
    columns = {name: pa.chunked_array([pa.array(v)]) if isinstance(v, list) else v for name, v in columns.items()}
    count = len(next(iter(columns.values())))
    stores, wrong = layout.stores(columns, count, files=Path())
    values = {name: [store.value(row) for row in range(count)] for name, store in stores.items()}
    return values, [(one.row, one.column) for one in wrong]


@pytest.fixture
def layout(written):
    return layout_of(described(written(training(), "csv")))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "feather"])
@pytest.mark.parametrize("size", [7, 4096])
def test_the_same_rows_are_the_same_values_whatever_the_piece(written, kind, size):
    path = written(training(), kind)
    found = described(path)
    layout = layout_of(found)
    stream = stream_of(path, installed())
    start = 0
    for piece in type(stream)(stream.data, stream.media, size=size).pieces():
        stores, wrong = layout.stores(piece.columns, piece.rows, files=stream.folder)
        assert not wrong
        assert piece.start == start
        for one in found.inputs:
            mine = list(Lazy(stores[one.name], np.arange(piece.rows)))
            its = list(Lazy(found._store(one), np.arange(start, start + piece.rows)))
            assert mine == its, one.name
        start += piece.rows
    assert start == ROWS


def test_values_alone_say_nothing(layout):
    values, wrong = read(
        layout,
        {
            "price": ["$1,234.50", None],
            "share": ["7,25 %", "8 %"],
            "weight": pa.chunked_array([pa.nulls(2)]),  # all weights are blank
            "score": ["?", " NA "],
            "stars": ["3", "9"],
            "zip": ["00501", "7"],  # a category that is a digit
            "open": ["TRUE", "maybe"],
            "joined": ["03.04.2024", None],  # nothing here says which is the day
            "created_at": ["1700000000", None],
            "tags": [["blue", "new"], []],
            "point": [[1.0, 2.0, 3.0], None],
            "note": ["word", " "],
        },
    )
    assert wrong == []
    first, second = values["table"]
    assert (first["price"], first["share"], first["weight"], first["score"]) == (1234.5, 7.25, None, None)
    assert (first["stars"], first["zip"], first["open"]) == ("3", "00501", "true")
    assert first["joined.days"] == (dt.date(2024, 4, 3) - dt.date(2000, 1, 1)).days
    moment = dt.datetime(2023, 11, 14, 22, 13, 20)  # what `date -u -d @1700000000` says
    assert math.isclose(first["created_at.days"], (moment - dt.datetime(2000, 1, 1)).total_seconds() / 86400)
    assert [first[f"tags={one}"] for one in ("blue", "green", "red")] == [1, 0, 0]
    assert [first[f"point.{place}"] for place in range(3)] == [1, 2, 3]
    assert (second["zip"], second["open"], second["share"], second["tags=red"], second["point.0"]) == (
        "7", "maybe", 8, 0, None,
    )  # fmt: skip
    assert values["note"] == ["word", None]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("price", ["about 12", "$3.00"]),
        ("price", pa.chunked_array([[[1, 2], [3]]])),
        ("weight", ["heavy", "3"]),
        ("score", [b"\x00", b"1"]),
        ("joined", ["2024-05-01", "01.05.2024"]),
        ("joined", ["31.02.2024", "01.02.2024"]),
        ("created_at", ["soon", "1700000000"]),
        ("tags", ["red and blue", "[]"]),
        ("point", [[1.0, 2.0], [1.0, 2.0, 3.0]]),
        ("point", ["x", "[1, 2, 3]"]),
        ("zip", pa.chunked_array([[["a"], None]])),
        ("note", pa.chunked_array([[["a"], None]])),
    ],
)
def test_what_training_did_not_have_is_named_with_row_and_column(layout, column, cells):
    values, wrong = read(layout, {column: cells, "price" if column != "price" else "zip": ["1", "1"]})
    assert wrong[0] == (0, column)
    assert len(values["table"]) == 2


def test_a_cell_of_another_unit_is_no_number(written):
    size = ["5 MB" if i % 2 else "7 MB" for i in range(ROWS)]
    layout = layout_of(described(written({**training(), "size": size}, "csv")))
    cells = ["6 MB", "5 GB", "5 kg", "8", None]
    values, wrong = read(layout, {"size": cells, "price": ["$1,000.50", "$5 kg", "$5k", "£3", "1"]})
    assert [row and row.get("size") for row in values["table"]] == [6, None, None, 8, None]
    assert sorted(wrong) == [(1, "price"), (1, "size"), (2, "price"), (2, "size")]


def test_a_gap_makes_whole_numbers_fractions_and_they_stay_the_same_category(written):
    table = {"grade": [i % 4 for i in range(ROWS)], "label": [("yes", "no")[i % 2] for i in range(ROWS)]}
    layout = layout_of(described(written(table, "parquet")))
    for cells in ([3, 0], [3.0, None], ["3.0", "0"], [" 3", "0.0"]):
        values, wrong = read(layout, {"grade": cells})
        assert (values["table"][0]["grade"], wrong) == ("3", [])


def test_whole_numbers_that_training_wrote_with_a_point_are_the_same_category_without(written):
    stars = [None if i % 4 == 0 else f"{i % 5}.0" for i in range(ROWS)]
    layout = layout_of(described(written({"stars": stars, "label": training()["label"]}, "csv")))
    for cells in ([1.0, None], [1, None], ["1.0", None], ["1", None]):
        values, wrong = read(layout, {"stars": cells})
        assert not wrong
        assert values["table"] == [{"stars": "1"}, {"stars": None}]


def test_a_blank_cell_in_place_of_a_list_is_missing_whatever_stands_beside_it(layout):
    for cells in ([""], ["", None, "[1, 2, 3]"]):
        values, wrong = read(layout, {"point": cells})
        assert not wrong
        assert values["table"][0]["point.0"] is None


def test_days_as_digits_stay_digits(written):
    days = [20240000 + 100 * (1 + i % 12) + 1 + i % 28 for i in range(ROWS)]
    table = {"day": days, "label": [("yes", "no")[i % 2] for i in range(ROWS)]}
    found = OwnData(data=written(table, "parquet"), target="label", columns={"day": "date"}).found
    layout = layout_of(found)
    for cells in ([20240301, None], [20240301.0, None], ["20240301", ""]):
        values, wrong = read(layout, {"day": cells})
        assert (values["table"][0]["day.days"], wrong) == ((dt.date(2024, 3, 1) - dt.date(2000, 1, 1)).days, [])


def test_a_column_that_is_not_there_is_missing_and_one_of_a_like_name_is_offered(layout):
    values, wrong = read(layout, {"Price": ["$1.00"], "note": ["word"]})
    assert wrong == []
    assert set(values["table"][0].values()) == {None}
    lines = layout.absent(["Price", "note"], "new.csv")
    assert lines["price"] == (
        "column price is not in new.csv, and counts as missing in every row; did you mean its column Price?"
    )
    assert "did you mean" not in lines["zip"]
    with pytest.raises(DataError, match="no column that the model reads"):
        layout.check(["Price", "x"], "new.csv")


def test_texts_that_are_joined_keep_their_names_and_their_order(written):
    texts = {f"t{n}": [f"word{i} " * (n + 2) + f"and {i * n}" for i in range(ROWS)] for n in range(6)}
    table = texts | {"label": [("yes", "no")[i % 2] for i in range(ROWS)]}
    layout = layout_of(described(written(table, "csv")))
    joined = next(one for one in layout.inputs if len(one.columns) > 1)
    values, _ = read(layout, {"t1": ["b"], "t0": ["a"], "t5": ["e"]})
    assert values[joined.name] == ["t0: a\nt1: b"]


def test_without_a_layout_inputs_are_columns_of_their_names():
    layout = Layout.of(None, {"written": "image", "pen": "series", "facts": "table", "said": "text"}, ["pen", "facts"])
    values, wrong = read(layout, {"pen": [[[0.0, 1.0], [2.0, 3.0]]], "facts.age": [3], "facts.name": ["x"]})
    assert wrong == []
    assert values == {"pen": [[[0.0, 1.0], [2.0, 3.0]]], "facts": [{"age": 3, "name": "x"}]}
    assert layout.absent(["pen", "facts.age"], "x") == {}


def test_names_that_columns_derive_replace_no_other_column(written):
    own = {
        "date": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(ROWS)],
        "date.month": [i / 7 for i in range(ROWS)],
        "point": [json.dumps([i, i / 2, -i]) for i in range(ROWS)],
        "point.0": [f"{i * 3}.5" for i in range(ROWS)],
        "point_2.1": [f"{i * 5}.5" for i in range(ROWS)],
        "label": [("yes", "no")[i % 2] for i in range(ROWS)],
    }
    found = described(written(own, "csv"))
    (one,) = found.inputs
    row = found._store(one).value(13)
    assert row["date.month"] == 13 / 7
    assert row["date_2.month"] == "02"
    assert (row["point.0"], row["point_2.1"], row["point_3.0"], row["point_3.1"]) == (39.5, 65.5, 13, 6.5)
    layout = layout_of(found)
    values, wrong = read(layout, {name: [cells[13]] for name, cells in own.items()})
    assert (values["table"], wrong) == ([row], [])
    values, wrong = read(layout, {"date.month": [13 / 7]})
    assert {name: cell for name, cell in values["table"][0].items() if cell is not None} == {"date.month": 13 / 7}
    assert set(values["table"][0]) == set(row)


def test_a_field_of_an_object_with_the_name_of_a_column_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"a": {{"b": {i}}}, "a.b": "x", "y": {i % 2}}}\n' for i in range(60)))
    with pytest.raises(DataError, match=r"a.jsonl has more than one column 'a\.b'; give each a name of its own"):
        OwnData(data=str(path), target="y")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("columns", [{}, {"wave": "series"}])
def test_a_series_without_a_step_is_missing(written, kind, columns):
    lists = [[float(i)] * (i % 4) for i in range(ROWS)]
    own = {
        "wave": [json.dumps(one) for one in lists] if kind == "csv" else lists,
        "label": [("yes", "no")[i % 2] for i in range(ROWS)],
    }
    found = OwnData(data=written(own, kind), target="label", columns=columns).found
    assert found.guesses["wave"].missing == ROWS // 4
    assert found.guesses["wave"].kind == "series"
    assert [found._store(found.inputs[0]).value(row) for row in range(4)] == [None, *lists[1:4]]
    assert not [one for one in found.findings if "cannot be read" in one.text]
    values, wrong = read(layout_of(found), {"wave": own["wave"][:4]})
    assert (values["wave"], wrong) == ([None, *lists[1:4]], [])


def test_fields_are_mappings_of_an_input_that_reads_them():
    layout = Layout.of(None, {"graph": "graph"}, ["graph"])
    values, _ = read(layout, {"graph.nodes": [[1, 2], None], "graph.edges": [[3], None]})
    assert values == {"graph": [{"nodes": [1, 2], "edges": [3]}, None]}
    assert layout.absent(["graph.nodes"], "the table") == {}
    assert read(layout, {"other": [1]})[0] == {"graph": [None]}
