"""A model of a table takes samples as the table has them: the same answers from mappings, and one explained."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

import mmkit
from mmkit.errors import DataError, UsageError

QUICK = {"epochs": 2, "min_steps": 0}
COUNT = 40


def table():
    draw = np.random.default_rng(0)
    return {
        "name": [f"r{row}" for row in range(COUNT)],
        "price": [f"{draw.integers(1, 900)},50 kg" for _ in range(COUNT)],
        "picked": [str(dt.date(2024, 1, 1) + dt.timedelta(int(draw.integers(0, 300)))) for _ in range(COUNT)],
        "tags": [["red", "round"][: row % 3] for row in range(COUNT)],
        "note": [f"number {row % 7} of a box" if row % 5 else None for row in range(COUNT)],
        "box": [{"width": float(row % 9), "colour": ["tan", "grey"][row % 2]} for row in range(COUNT)],
        "fruit": [["apple", "pear"][row % 2] for row in range(COUNT)],
    }


def rows(columns):
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module")
def model():
    return mmkit.fit(
        data=table(), target="fruit", id="name", fusion="late", training=QUICK, device="cpu", progress=False
    )[0]


def test_rows_get_the_answers_of_their_table(model):
    samples = rows(table())  # with the answer and the name of each, which nobody looks at
    (expected,) = model.answers(table())
    found = model.predict(samples)
    assert [one["label"] for one in found] == expected["label"].to_pylist()
    for name in ("apple", "pear"):
        probabilities = [one["probabilities"][name] for one in found]
        assert probabilities == pytest.approx(expected[f"probability_{name}"].to_pylist(), abs=1e-6)
    alone = [model.predict([sample])[0]["probabilities"]["pear"] for sample in samples[:6]]
    assert alone == pytest.approx([one["probabilities"]["pear"] for one in found[:6]], abs=1e-6)


def test_cells_may_stand_in_their_input_as_a_service_takes_them(model):
    row = rows(table())[1]
    whole = {name: row[name] for name in ("price", "picked", "tags", "box")}
    grouped = {"note": row["note"], "table": whole}
    assert model.predict([grouped]) == model.predict([row])
    assert model.predict([{"note": "a", "table": None}]) == model.predict([{"note": "a"}])
    with pytest.raises(UsageError, match=r"sample 0 has an unknown column 'prise'; did you mean price\?"):
        model.predict([{"table": {"prise": 3}}])


def test_more_rows_than_a_piece_keep_their_order(model, monkeypatch):
    samples = [{"box": {"width": float(row)}} for row in range(11)]
    whole = model.predict(samples)
    monkeypatch.setattr("mmkit.model.given_rows.PIECE", 4)
    assert [one["label"] for one in model.predict(samples)] == [one["label"] for one in whole]
    monkeypatch.setattr("mmkit.model.given_rows.PIECE", 1)
    bad = [*samples[:5], {"picked": "soon"}, *samples[5:]]
    found = model.predict(bad, on_error="skip")
    assert [place for place, one in enumerate(found) if one is None] == [5]
    assert found[6]["probabilities"] == pytest.approx(whole[5]["probabilities"], abs=1e-6)


def test_what_is_left_out_is_missing(model):
    nothing, alike = model.predict([{}, {"note": None, "price": None}])
    assert nothing == alike
    assert model.predict([{}]) == [nothing]
    assert model.predict([]) == []


def test_a_field_of_a_mapping_is_read_whatever_types_it_has_in_others(model):
    samples = [{"box": {"width": width, "colour": "tan"}} for width in (3.0, "3", "8", None)]
    alone = [model.predict([sample])[0]["probabilities"]["pear"] for sample in samples]
    assert len(set(alone)) == 3
    assert [one["probabilities"]["pear"] for one in model.predict(samples)] == pytest.approx(alone, abs=1e-6)


def test_a_cell_is_read_as_it_is_alone_whatever_types_stand_beside_it(model):
    when = dt.date(2024, 3, 1)
    samples = [
        {"picked": when, "price": Decimal("40.5"), "box": {"width": Decimal(3), "colour": when}},
        {"picked": str(when), "price": 40.5, "box": {"width": 3.0, "colour": "tan"}},
        {"picked": np.datetime64(when), "price": "40,5 kg", "box": {"width": np.int8(3), "colour": Decimal(3)}},
        {"picked": None, "price": None, "box": {"width": "3", "colour": None}},
    ]
    alone = [model.predict([sample])[0]["probabilities"]["pear"] for sample in samples]
    assert [one["probabilities"]["pear"] for one in model.predict(samples)] == pytest.approx(alone, abs=1e-6)
    for named in ({"picked": object()}, {"picked": "soon"}):
        with pytest.raises(DataError, match=r"row 4, column picked: .* is not a date"):
            model.predict([*samples, named])


def test_one_row_is_explained(model):
    sample = rows(table())[1]
    found = model.explain(sample, parts=False)
    assert found.answer["probabilities"] == pytest.approx(model.predict([sample])[0]["probabilities"], abs=1e-6)
    assert {one.name for one in found.contributions} == {"note", "table"}


@pytest.mark.parametrize(
    ("sample", "error", "said"),
    [
        ({"prise": 3}, UsageError, r"sample 0 has an unknown column 'prise'; did you mean price\? Possible: .*tags"),
        ({"table": [1]}, UsageError, "sample 0 has an unknown column 'table'"),
        ({"picked": "soon"}, DataError, "the table, row 0, column picked: 'soon' is not a date"),
    ],
)
def test_what_no_column_takes_is_refused(model, sample, error, said):
    with pytest.raises(error, match=said):
        model.predict([sample])
    with pytest.raises(error, match=said):
        model.explain(sample, parts=False)


def test_more_than_half_of_a_column_cannot_be_broken(model):
    samples = [{"picked": "soon", "note": "a"} for _ in range(30)]
    with pytest.raises(DataError, match=r"the table, column picked: 30 of the 30 values"):
        model.predict(samples, on_error="missing")
