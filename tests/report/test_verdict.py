"""The answer in one sentence, with its margin, from records alone."""

import math
import statistics

import pytest

from mmkit.records.record import Record
from mmkit.records.scores import Scores
from mmkit.report.summary import rows
from mmkit.report.verdict import verdict, written


def record(fusion, seed, test, validation=None, *, metric="accuracy", higher=True, scores=None, **rest):
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    known = {
        "id": "",
        "task": "pets",
        "status": "ok",
        "encoders": {"a": "cnn"},
        "fusion": fusion,
        "head": "mlp",
        "objectives": [],
        "seed": seed,
        "metric": metric,
        "higher_is_better": higher,
        "metrics": {metric: test},
        "validation": {metric: test if validation is None else validation},
        "scores": None if scores is None else Scores.of(scores),
        "run": {},
        **where,
    }
    return Record(**{**known, **rest})


def compared(*records):
    return verdict(rows(records))


def over_seeds(fusion, tests, **rest):
    return [record(fusion, seed, test, **rest) for seed, test in enumerate(tests)]


def test_a_fusion_beyond_the_margin_scored_above():
    found = compared(*over_seeds("sum", [0.90, 0.92, 0.91]), *over_seeds("only:a", [0.80, 0.81, 0.79]))
    assert found.finding == "above"
    assert found.difference == pytest.approx(0.11)
    assert found.margin == pytest.approx(2 * statistics.stdev([0.10, 0.11, 0.12]) / math.sqrt(3))
    assert found.sentence().startswith(
        "On test, sum scored above the best single input, only:a: accuracy 91.0 against 80.0, 11.0 points better"
    )


def test_a_fusion_below_the_margin_scored_below():
    found = compared(*over_seeds("sum", [0.80, 0.81, 0.79]), *over_seeds("only:a", [0.90, 0.92, 0.91]))
    assert found.finding == "below"
    assert "scored below the best single input" in found.sentence()
    assert "11.0 points worse" in found.sentence()


def test_a_difference_within_the_margin_is_unclear():
    found = compared(*over_seeds("sum", [0.90, 0.80, 0.95]), *over_seeds("only:a", [0.88, 0.85, 0.89]))
    assert found.finding == "unclear"
    assert "cannot be distinguished from the best single input" in found.sentence()


def test_one_seed_gives_no_margin_and_no_verdict():
    found = compared(record("sum", 0, 0.99), record("only:a", 0, 0.1))
    assert (found.margin, found.finding) == (None, "none")
    assert found.sentence().startswith("One seed gives no verdict, --seeds 3 does: on test, ")
    assert "distinguished" not in found.sentence()


def test_the_test_samples_widen_the_margin():
    fused, alone = [[1, 1, 1, 0]] * 2, [[1, 0, 0, 0]] * 2
    of_fusion = [record("sum", seed, 0.75, scores=scores) for seed, scores in enumerate(fused)]
    of_single = [record("only:a", seed, 0.25, scores=scores) for seed, scores in enumerate(alone)]
    found = compared(*of_fusion, *of_single)
    assert found.samples == 4
    # No spread over seeds; over samples the differences are 0, 1, 1, 0.
    assert found.margin == pytest.approx(2 * math.sqrt(statistics.variance([0, 1, 1, 0]) / 4))


def test_samples_are_paired_where_both_have_a_score():
    nothing = float("nan")  # of a sample that was left out
    of_fusion = [record("sum", seed, 0.75, scores=[1.0, 0.0, nothing, 1.0, 1.0]) for seed in (0, 1)]
    of_single = [record("only:a", seed, 0.5, scores=[0.0, 0.0, 1.0, 1.0, nothing]) for seed in (0, 1)]
    found = compared(*of_fusion, *of_single)
    assert found.samples == 3
    assert found.margin == pytest.approx(2 * math.sqrt(statistics.variance([1, 0, 0]) / 3))


def test_samples_of_different_test_splits_are_not_paired():
    rest = {"scores": [1.0, 0.0, 1.0]}
    of_fusion = [record("sum", seed, 0.75, data={"test": {"truth": "a"}}, **rest) for seed in (0, 1)]
    of_single = [record("only:a", seed, 0.5, data={"test": {"truth": "b"}}, **rest) for seed in (0, 1)]
    assert compared(*of_fusion, *of_single).samples == 0


def test_both_are_chosen_on_validation_and_not_on_test():
    found = compared(
        *over_seeds("sum", [0.5, 0.5], validation=0.9),
        *over_seeds("concat", [0.99, 0.99], validation=0.8),
        *over_seeds("only:a", [0.6, 0.6], validation=0.7),
        *over_seeds("only:b", [0.9, 0.9], validation=0.6),
    )
    assert (found.fusion.fusion, found.single.fusion) == ("sum", "only:a")
    assert found.difference == pytest.approx(-0.1)


def test_if_lower_is_better_a_lower_value_is_above():
    found = compared(
        *over_seeds("sum", [1.0, 1.1], metric="rmse", higher=False),
        *over_seeds("only:a", [2.0, 2.1], metric="rmse", higher=False),
    )
    assert found.finding == "above"
    assert found.difference == pytest.approx(1)
    assert "RMSE 1.05 against 2.05, 1 better" in found.sentence()


def test_only_seeds_that_both_have_are_compared():
    found = compared(*over_seeds("sum", [0.9, 0.8, 0.1]), *over_seeds("only:a", [0.7, 0.7]))
    assert (found.seeds, found.difference) == (2, pytest.approx(0.15))


def test_without_a_fusion_or_a_single_input_there_is_no_verdict():
    assert compared(*over_seeds("sum", [0.9])) is None
    assert compared(*over_seeds("only:a", [0.9])) is None
    assert compared() is None


def test_an_undefined_score_gives_no_verdict():
    assert compared(*over_seeds("sum", [None, None]), *over_seeds("only:a", [0.5, 0.5])) is None


def test_shares_are_percent_and_others_three_digits():
    assert (written(0.12345, "f1_macro"), written(123.456, "rmse")) == ("12.3", "123")
