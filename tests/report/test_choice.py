"""What is better on validation: by log loss of few samples, else by the task's metric; and what is level is said."""

from typing import ClassVar

import pytest

from mmkit.records.choice import criterion, level
from mmkit.records.record import RateSearch, Record, SampleCounts
from mmkit.report.document import document
from mmkit.report.notes import notes
from mmkit.report.sheets import sheets
from mmkit.report.summary import best, rows, table, tied
from mmkit.report.verdict import verdict

WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, accuracy, log_loss, *, seed=0, samples=207, test=0.5, **rest):
    known = {
        "id": f"{fusion}/{seed}",
        "status": "ok",
        "task": "pets",
        "encoders": {"a": "cnn"},
        "fusion": fusion,
        "head": "mlp",
        "objectives": [],
        "seed": seed,
        "metric": "accuracy",
        "metrics": {"accuracy": test},
        "validation": {"accuracy": accuracy, "log_loss": log_loss},
        "samples": SampleCounts(800, samples, 344, {}),
        "run": {"training": {"lr": 2e-3}},
        **WHERE,
    }
    return Record(**{**known, **rest})


# The higher accuracy has the higher loss.
TWO = [("late", 0.70, 1.3), ("gated", 0.69, 0.9)]


@pytest.mark.parametrize(
    ("samples", "metric", "chosen"),
    [(207, "log_loss", "gated"), (999, "log_loss", "gated"), (1000, "accuracy", "late"), (5000, "accuracy", "late")],
)
def test_few_samples_choose_by_log_loss_and_many_by_the_metric(samples, metric, chosen):
    found = rows([record(*one, samples=samples) for one in TWO])
    assert criterion(found[0].records).metric == metric
    assert found[0].fusion == best(found).fusion == best(found, alone=False).fusion == chosen


def test_without_a_log_loss_of_every_run_the_metric_chooses():
    found = [record("late", 0.7, 1.3), record("gated", 0.69, None)]
    assert best(rows(found)).fusion == "late"
    numbers = [record("late", 0.0, None, validation={"rmse": 2.0}, metric="rmse", higher_is_better=False)]
    numbers += [record("sum", 0.0, None, validation={"rmse": 1.0}, metric="rmse", higher_is_better=False)]
    assert best(rows(numbers)).fusion == "sum"


def test_the_mean_over_seeds_is_compared():
    found = [record("late", 0.7, loss, seed=seed) for seed, loss in enumerate((0.5, 1.5))]
    found += [record("gated", 0.7, loss, seed=seed) for seed, loss in enumerate((0.9, 0.9))]
    assert best(rows(found)).fusion == "gated"


def test_the_verdict_compares_what_is_chosen_so():
    singles = [record("only:a", 0.6, 1.0, test=0.4), record("only:b", 0.5, 0.8, test=0.3)]
    found = verdict(rows([*(record(*one) for one in TWO), *singles]))
    assert (found.fusion.fusion, found.single.fusion) == ("gated", "only:b")


class TestTies:
    LEVEL: ClassVar = [record("late", 0.7, None, samples=2000), record("sum", 0.7, None, samples=2000)]
    BELOW: ClassVar = [record("mean", 0.6, None, samples=2000), record("only:a", 0.5, None, samples=2000)]

    def test_all_that_are_level_are_given_and_the_first_is_chosen(self):
        found = rows([*self.BELOW, *self.LEVEL])
        assert [row.fusion for row in tied(found)] == ["late", "sum"]
        assert best(found).fusion == "late"
        assert tied([]) == []

    def test_a_tie_is_shown_in_table_verdict_and_document(self):
        records = [*self.LEVEL, *self.BELOW]
        (sheet,) = sheets(rows(records))
        assert [line[1] for line in sheet.lines] == ["70.0 =", "70.0 =", "60.0", "50.0"]
        assert "late reached accuracy" in verdict(rows(records)).sentence()
        told = document(records, "")
        assert [row["best_on_validation"] for row in told["ranking"]] == [True, True, False, False]
        assert told["chosen_by"] == "accuracy"

    def test_rounding_makes_no_difference_and_a_sample_does(self):
        assert level(1 / 3 + 1 / 3 + 1 / 3, 1.0)
        assert not level(0.7, 0.7 + 1 / 100_000)


def search(rate, end):
    return RateSearch(7, "log_loss", [], rate, 40, end)


class TestShown:
    def test_what_chose_and_the_rates_are_columns_where_they_were_searched(self):
        records = [record(*one, search=search(2e-3, None)) for one in TWO]
        (sheet,) = sheets(rows(records))
        assert sheet.figures == [
            "validation\naccuracy",
            "validation\nlog loss",
            "test\naccuracy",
            "learning\nrate",
            "seeds",
        ]
        assert [line[0] for line in sheet.lines] == ["gated", "late"]
        assert [line[4] for line in sheet.lines] == ["0.002", "0.002"]
        assert "best on validation by log loss first" in sheet.title
        assert [line["learning rate"] for line in table(rows(records))] == [2e-3, 2e-3]

    def test_a_given_rate_has_no_column(self):
        (sheet,) = sheets(rows([record(*one) for one in TWO]))
        assert "learning\nrate" not in sheet.figures

    def test_rates_that_are_all_at_one_end_are_said(self):
        at_end = rows([record(*one, search=search(1e-2, "highest")) for one in TWO])
        (said,) = notes(at_end)
        assert said.startswith("Every chosen learning rate is the highest of the list: higher ones may be better")
        mixed = [record(*TWO[0], search=search(1e-2, "highest")), record(*TWO[1], search=search(2e-3, None))]
        assert notes(rows(mixed)) == []

    def test_what_was_still_improving_with_every_seed_is_said(self):
        records = [record("late", 0.7, 1.0, seed=seed, still_improving=True) for seed in (0, 1)]
        records += [record("sum", 0.7, 1.0, seed=seed, still_improving=seed == 0) for seed in (0, 1)]
        assert notes(rows(records)) == [
            "Still improving when training ended, with every seed: late; more --epochs may help."
        ]


class TestYardsticks:
    RECORDS: ClassVar = [
        record("late", 0.7, 1.0),
        record("only:a", 0.6, 1.1),
        record("yardstick: logistic regression, joined", 0.9, 0.1, purpose="yardstick", head="scikit-learn", run={}),
        record("yardstick: logistic regression, late", 0.8, 0.2, purpose="yardstick", head="scikit-learn", run={}),
        record("late", 0.9, 0.01, purpose="search", seed=99, metrics={}),
    ]

    def test_they_stand_below_and_are_never_chosen(self):
        found = rows(self.RECORDS)
        assert [row.fusion for row in found] == [
            "late",
            "only:a",
            "yardstick: logistic regression, joined",
            "yardstick: logistic regression, late",
        ]
        assert best(found).fusion == "late"
        assert verdict(found).fusion.fusion == "late"
        (sheet,) = sheets(found)
        assert [line[-1] for line in sheet.lines] == ["1", "1", "-", "-"]
        assert [row["yardstick"] for row in document(self.RECORDS, "")["ranking"]] == [False, False, True, True]
        assert "scikit-learn" in notes(found)[0]
