"""A verdict is over the seeds that both have: where a run failed or a metric is not defined, it counts for neither."""

import statistics

import pytest

from mmkit.records.record import Record
from mmkit.report.summary import rows
from mmkit.report.verdict import verdict

WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, seed, score, status="ok"):
    told = {"metric": "r2", "metrics": {"r2": score}, "validation": {"r2": 0.5}} if status == "ok" else {"error": "x"}
    return Record(id="", task="t", run={}, status=status, encoders={}, fusion=fusion, head="h", objectives=[],
                  seed=seed, **told, **WHERE)  # fmt: skip


def said(*records):
    return verdict(rows(records))


def test_a_seed_on_which_a_metric_is_not_defined_counts_for_neither():
    found = said(
        *(record("concat", seed, score) for seed, score in enumerate((0.5, None, 0.7))),
        *(record("only:a", seed, score) for seed, score in enumerate((0.4, 0.9, 0.3))),
    )
    assert (found.seeds, found.asked) == (2, 3)
    assert found.scores == (pytest.approx(0.6), pytest.approx(0.35))
    assert found.difference == pytest.approx(0.25)
    deviation = statistics.stdev([0.5 - 0.4, 0.7 - 0.3])
    assert found.margin == pytest.approx(2 * deviation / 2**0.5)
    assert "R2 0.6 against 0.35" in found.sentence()
    assert "over 2 of 3 seeds" in found.sentence()
    assert found.document()["asked"] == 3


def test_a_seed_that_failed_counts_for_neither():
    found = said(
        record("concat", 0, 0.5),
        record("concat", 1, None, status="failed"),
        record("only:a", 0, 0.4),
        record("only:a", 1, 0.9),
    )
    assert found.scores == (0.5, 0.4)
    assert (found.seeds, found.asked, found.margin) == (1, 2, None)
    assert "R2 0.5 against 0.4" in found.sentence()
    assert found.sentence().startswith("One seed gives no verdict, and of 2 only one counts: ")
    assert "(1 of 2 seeds; both chosen on validation)" in found.sentence()


def test_without_a_seed_of_both_there_is_no_verdict():
    assert said(record("concat", 0, None), record("only:a", 0, 0.4)) is None
    assert said(record("concat", 0, 0.5), record("only:a", 1, 0.4)) is None


def test_where_all_seeds_count_nothing_more_is_said():
    found = said(*(record(name, seed, 0.5 + seed / 10) for name in ("concat", "only:a") for seed in range(3)))
    assert "over 3 seeds;" in found.sentence()
