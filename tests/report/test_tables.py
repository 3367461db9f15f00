"""Tables that can be read: at 80 columns with every figure, and in a pipe without a cut."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from mmkit.records.record import Cost, Loading, Record, Rung, Speed
from mmkit.report.document import document
from mmkit.report.forms import markdown_of
from mmkit.report.summary import best, rows
from mmkit.report.tables import show, show_confusion


def made(**rest):
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    return Record(**{"id": "", "task": "pets", "run": {}, **where, **rest})


def record(fusion, seed, score, **rest):
    return made(
        **{
            "status": "ok",
            "encoders": {"written": "cnn", "spoken": "fcn"} if not fusion.startswith("only") else {"written": "cnn"},
            "fusion": fusion,
            "head": "mlp",
            "objectives": [],
            "seed": seed,
            "metric": "accuracy",
            "higher_is_better": True,
            "metrics": {"accuracy": score, "f1_macro": score - 0.01, "recall_macro": score + 0.01},
            "validation": {"accuracy": score + 0.02},
            "scores": None,
            "names": ["cat", "dog"],
            "confusion": [[3, 1], [0, 4]],
            "throughput": Speed(12345.0, 678.9, {"p50": 0.987}, 64, 32),
            "loading": Loading(0.3, 0.123 + seed / 50, 0),
            "cost": Cost(163_000, 163_000, 6.08e6, [], 17 << 20),
            **rest,
        }
    )


def failed(fusion, seed, error):
    encoders = {"written": "cnn", "spoken": "fcn"}
    return made(status="failed", encoders=encoders, fusion=fusion, head="mlp", objectives=[], seed=seed, error=error)


SUITE = [
    record("attention:heads=8,layers=2", 0, 0.971),
    record("attention:heads=8,layers=2", 1, 0.969),
    record("concat", 0, 0.955),
    failed("concat", 1, "MmkitError: the loss became nan in epoch 3"),
    record("only:written", 0, 0.9),
    record("only:written", 1, 0.92),
    failed("tensor", 0, "UsageError: too large"),
    failed("tensor", 1, "UsageError: too large"),
]
FIGURES = ["97.0 ± 0.1", "99.0 ± 0.1", "95.5", "12.3k", "679", "0.99", "163k", "6.08M", "17.0 MiB", "13.3 %", "1 of 2"]


def printed(records, *, terminal, width=80):
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, no_color=True, color_system=None, highlight=False
    )
    show(rows(records), console)
    return stream.getvalue()


def test_at_80_columns_every_value_is_whole_and_no_line_is_longer():
    text = printed(SUITE, terminal=True)
    for figure in FIGURES:
        assert figure in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_in_a_pipe_each_row_is_one_line():
    text = printed(SUITE, terminal=False, width=10_000)
    assert any("attention:heads=8,layers=2" in line and "97.0 ± 0.1" in line for line in text.splitlines())
    assert any("attention:heads=8,layers=2" in line and "6.08M" in line for line in text.splitlines())
    assert "\x1b" not in text


def test_failures_are_shown_with_their_reason():
    text = printed(SUITE, terminal=False, width=10_000)
    assert "failed: concat: MmkitError: the loss became nan in epoch 3" in text
    assert "failed: tensor (2 seeds): UsageError: too large" in text
    assert text.count("too large") == 1


def test_a_suite_of_failures_only_has_no_table():
    text = printed([failed("tensor", 0, "UsageError: too large")], terminal=True)
    assert text.strip() == "failed: tensor: UsageError: too large"


def test_names_that_look_like_markup_are_printed_as_they_stand():
    text = printed([record("[red]warm[/red]", 0, 0.9), record("[x]", 0, 0.8)], terminal=True)
    assert "[red]warm[/red]" in text
    assert "[x]" in text
    stream = io.StringIO()
    show_confusion(rows([record("sum", 0, 0.9, names=["[b]", "[/]"])]), Console(file=stream, width=200))
    assert stream.getvalue().split()[-8:] == ["[b]", "[/]", "[b]", "3", "1", "[/]", "0", "4"]


def test_axes_that_vary_are_named():
    other = [
        replace(record("concat", 0, 0.9), head="linear"),
        replace(record("concat", 0, 0.8), encoders={"written": "lenet", "spoken": "fcn"}),
    ]
    text = printed([record("concat", 0, 0.95), *other], terminal=False, width=10_000)
    header = next(line for line in text.splitlines() if line.startswith("fusion"))
    assert "encoder of written" in header
    assert "head" in header
    assert "spoken" not in header


def test_rows_are_ordered_by_validation_and_have_all_seeds():
    found = rows(SUITE)
    assert [row.fusion for row in found] == ["attention:heads=8,layers=2", "concat", "only:written", "tensor"]
    assert found[0].spread("accuracy").mean == pytest.approx(0.97)
    assert found[0].spread("accuracy").std == pytest.approx(0.001 * 2**0.5)
    assert found[1].spread("accuracy").std is None
    assert found[3].spread("accuracy") is None
    assert best(found, alone=True).fusion == "only:written"


def test_the_confusion_matrix_of_the_best_is_summed_over_seeds():
    stream = io.StringIO()
    show_confusion(rows(SUITE), Console(file=stream, width=200))
    lines = [line.split() for line in stream.getvalue().splitlines() if line.strip()]
    assert lines[-2:] == [["cat", "6", "2"], ["dog", "0", "8"]]
    labels = [record("sum", 0, 0.9, confusion=[[[5, 1], [2, 0]], [[1, 2], [3, 2]]])]
    stream = io.StringIO()
    show_confusion(rows(labels), Console(file=stream, width=200))
    assert [line.split() for line in stream.getvalue().splitlines()][-2:] == [
        ["cat", "5", "1", "2", "0"],
        ["dog", "1", "2", "3", "2"],
    ]
    stream = io.StringIO()
    show_confusion(rows([record("sum", 0, 0.9, confusion=None)]), Console(file=stream, width=200))
    assert "No confusion matrix" in stream.getvalue()


def test_the_document_is_json_and_holds_ranking_verdict_and_records():
    found = json.loads(json.dumps(document(SUITE, "runs/x"), allow_nan=False))
    assert [row["fusion"] for row in found["ranking"]] == [
        "attention:heads=8,layers=2",
        "concat",
        "only:written",
        "tensor",
    ]
    assert found["ranking"][0]["metrics"]["accuracy"] == {
        "mean": pytest.approx(0.97),
        "std": pytest.approx(0.001 * 2**0.5),
    }
    assert found["ranking"][3]["errors"] == ["UsageError: too large"] * 2
    assert (found["schema"], found["verdict"]["single"], len(found["records"])) == (1, "only:written", len(SUITE))


@pytest.mark.parametrize("terminal", [True, False])
def test_seeds_of_the_race_are_marked_beside_fresh_ones(terminal):
    fresh = [record("sum", seed, 0.9, phase="confirm") for seed in (5, 6)]
    raced = [record("late", seed, 0.8, phase="search", metrics={}) for seed in (0, 1)]
    shown = " ".join(printed([*fresh, *raced], terminal=terminal).split())
    assert "; *: seeds of the race, not fresh ones" in shown
    lines = printed([*fresh, *raced], terminal=terminal).splitlines()
    (ours,), (other,) = ([line for line in lines if line.startswith(name)][:1] for name in ("sum", "late"))
    assert ours.endswith(" 2")
    assert other.endswith(" 2 *")
    assert "*" not in printed(raced, terminal=terminal)


def test_what_a_budget_has_stopped_is_in_the_markdown_as_in_the_terminal():
    cut = record("tensor", 0, 0.8, purpose="search", phase="search", metrics={}, rung=Rung(1, 2, 3, 12, stopped=True))
    assert "Stopped early by the budget" in printed([*SUITE[:3], cut], terminal=False)
    found = markdown_of(rows([*SUITE[:3], cut]))
    assert "| combination | epochs | validation accuracy | best learning rate there |" in found
    assert "| tensor | 3 of 12 | 82.0 | - |" in found
