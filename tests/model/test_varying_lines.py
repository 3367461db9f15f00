"""JSON lines of which some lack a column: what any row has is a column of the table, whichever piece is read first."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import mmkit
from mmkit.errors import UsageError
from mmkit.experiments.measuring import evaluate_table
from mmkit.model.answers import Asked, answers
from mmkit.sources import streaming
from mmkit.sources.streaming import Stream

QUICK = {"epochs": 1, "min_steps": 0, "batch_size": 16}
ROWS, SIZE = 20, 8


def training():
    r = np.random.default_rng(0)
    kind = ["ab"[row % 2] for row in range(60)]
    amount, size = r.normal(size=60).tolist(), r.normal(size=60).tolist()
    return {"x": amount, "c": kind, "kind": kind, "amount": amount, "size": size}


@pytest.fixture(scope="module")
def models():
    about = {"fusion": "concat", "training": QUICK, "progress": False, "device": "cpu"}
    return {
        target: mmkit.fit(data=training(), target=target, columns=dict.fromkeys(ignored, "ignore"), **about)[0]
        for target, ignored in (("kind", ["amount", "size"]), ("amount,size", ["kind"]))
    }


@pytest.fixture
def stream(tmp_path, monkeypatch):
    """Rows whose `late` column begins behind the first piece, and whose `early` one ends with it."""
    monkeypatch.setattr(streaming, "PIECE", SIZE)
    path = tmp_path / "rows.jsonl"
    table = {name: column[:ROWS] for name, column in training().items()}
    rows = [
        {
            f"{when}_{name}": values[row]
            for when in ["early" if row < SIZE else "late"]
            for name, values in table.items()
        }
        | {"x": table["x"][row], "c": table["c"][row]}
        for row in range(ROWS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return Stream(str(path), {}, size=SIZE)


@pytest.mark.parametrize(("when", "rows"), [("early", SIZE), ("late", ROWS - SIZE)])
def test_truth_is_missing_where_its_column_is(models, stream, when, rows):
    for target, model in models.items():
        found = evaluate_table(model, stream, [f"{when}_{name}" for name in target.split(",")])
        assert (found.rows, found.measured, found.without_truth) == (ROWS, rows, ROWS - rows)


def test_only_columns_that_no_piece_has_are_said_to_be_absent(models, stream):
    path = Path(stream.data)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:SIZE]:
        del row["c"]
    for whole, absent in ((rows, []), ([{"x": 1.0, "early_kind": "a"}] * ROWS, ["c"])):
        path.write_text("\n".join(map(json.dumps, whole)))
        found = evaluate_table(models["kind"], stream, ["early_kind"]).absent
        assert [line.split()[1] for line in found] == absent


def test_what_only_a_later_piece_has_is_included(models, stream):
    found = [one.table for one in answers(models["kind"], stream, Asked(include=("late_size", "early_size")))]
    whole = pa.concat_tables(found, promote_options="permissive")
    size = training()["size"][:ROWS]
    assert whole["late_size"].to_pylist() == [None] * SIZE + size[SIZE:]
    assert whole["early_size"].to_pylist() == size[:SIZE] + [None] * (ROWS - SIZE)


def test_what_no_piece_has_is_refused_at_the_first(models, stream):
    with pytest.raises(UsageError, match=r"--target: .* has no column kinds; Possible: c, early_amount"):
        evaluate_table(models["kind"], stream, ["kinds"])
    with pytest.raises(UsageError, match=r"--include: .* has no column sizes; Possible: c, early_amount"):
        next(answers(models["kind"], stream, Asked(include=("sizes",))))
