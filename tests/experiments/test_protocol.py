"""The order of runs: a race on validation, then fresh seeds of what was chosen and of every single input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import Protocol, counted, rounds, seed_of
from mmkit.records.record import Phase, SampleCounts
from mmkit.registry.catalog import installed
from tests.report.records import record

CASES = json.loads((Path(__file__).parents[1] / "report" / "data" / "verdicts.json").read_text())
NAMES = ["concat", "sum", "mean", "max", "product", "late", "attention", "gated"]


@pytest.mark.parametrize("case", CASES["seeds"]["values"], ids=str)
def test_seeds(case):
    assert seed_of(case["base"], case["split"], case["phase"], case["index"]) == case["seed"]


@pytest.mark.parametrize(("count", "sizes"), CASES["race"].items())
def test_the_rounds_of_a_race(count, sizes):
    assert rounds(int(count)) == sizes


def planned(fusions=3, **given):
    training = {} if given.pop("rates", False) else {"lr": 0.01}
    return plan(installed(), task="synthetic-xor", fusions=NAMES[:fusions], training=training, **given)


def carried_out(made, scores, *, first=(), failing=(), wanted=0):
    """Run a protocol whose fusions have given scores on validation, by index of the seed or always."""

    def result(run, index, tested=True):
        name = run.combination.label
        score = scores.get(name, 0.5)
        score = score[index] if isinstance(score, list) else score
        if (name, index) in failing:
            return record(name, run.seed, None, status="failed", error="x")
        return record(name, run.seed, 0.5, score, metrics={"accuracy": 0.5} if tested else {})

    expected = []
    protocol = Protocol(
        made,
        "split",
        {},
        {one.key: result(made.run(one, 0), 0, tested=False) for one in made.combinations if one.label in first},
        lambda attempts: [(one, result(one.run, one.index, one.tested)) for one in attempts],
        lambda attempt, record: replace(record, phase=attempt.phase),
        expected.append,
        lambda done: wanted,
    )
    done = protocol.carry_out()
    return [(d.attempt.run.combination.label, d.attempt.phase, d.attempt.index) for d in done], done, expected


def test_one_fusion_has_no_race():
    done, _, _ = carried_out(planned(1, seeds=2), {})
    assert done == [(name, "confirm", index) for index in range(2) for name in ("concat", "only:left", "only:right")]


def test_the_better_half_goes_on_and_the_best_mean_is_confirmed():
    scores = {"concat": [0.9, 0.1], "sum": [0.8, 0.7], "mean": [0.1, 0.99]}
    done, runs, _ = carried_out(planned(3, seeds=1), scores)
    assert done[:5] == [("concat", "search", 0), ("sum", "search", 0), ("mean", "search", 0), ("concat", "search", 1),
                        ("sum", "search", 1)]  # fmt: skip
    assert done[5:] == [("sum", "confirm", 0), ("only:left", "confirm", 0), ("only:right", "confirm", 0)]
    assert [one.attempt.tested for one in runs] == [False] * 5 + [True] * 3


def test_seeds_are_the_same_for_all_and_those_of_confirmation_are_fresh():
    _, runs, _ = carried_out(planned(3, seeds=3), {})
    by = {(one.attempt.phase, one.attempt.index): set() for one in runs}
    for one in runs:
        by[one.attempt.phase, one.attempt.index].add(one.attempt.run.seed)
    assert all(len(seeds) == 1 for seeds in by.values())
    assert len(set.union(*by.values())) == len(by)
    _, others, _ = carried_out(planned(3, seeds=3, seed=1), {})
    assert not {one.attempt.run.seed for one in runs} & {one.attempt.run.seed for one in others}


def test_the_best_of_a_rate_search_is_the_first_run_of_the_race():
    done, runs, _ = carried_out(planned(3, seeds=1, rates=True), {"late": 0.9}, first=["concat", "sum", "mean"])
    assert [one.promoted for one in runs[:5]] == [True, True, True, False, False]
    assert done[3:5] == [("concat", "search", 1), ("sum", "search", 1)]


def test_searches_that_stopped_before_tuning_are_compared_with_no_run():
    made = planned(3, seeds=1, rates=True)
    probed = {
        one.key: replace(record(one.label, 0, 0.9), phases=[Phase("probing", 3, [1])]) for one in made.combinations
    }
    done = []

    def attempt(several):
        done.extend((one.phase, one.index) for one in several)
        return [(one, record(one.run.combination.label, one.run.seed, 0.5)) for one in several]

    Protocol(made, "s", {}, probed, attempt, None, lambda left: None, lambda done: 0).carry_out()
    assert done[:5] == [("search", 1)] * 3 + [("search", 2)] * 2


def test_a_fusion_that_fails_is_out_and_where_all_fail_only_inputs_are_confirmed():
    done, _, _ = carried_out(planned(3, seeds=1), {"concat": 0.9}, failing={("concat", 0)})
    assert ("concat", "search", 1) not in done
    assert done[-3][0] in {"sum", "mean"}
    done, _, _ = carried_out(planned(2, seeds=1), {}, failing={(name, n) for name in NAMES for n in range(9)})
    assert [one for one in done if one[1] == "confirm"] == [("only:left", "confirm", 0), ("only:right", "confirm", 0)]


def test_the_full_protocol_measures_every_fusion_three_times():
    _, runs, _ = carried_out(planned(5, seeds=5, protocol="full"), {"mean": 0.9}, wanted=7)
    measured = {
        name: [d for d in runs if d.attempt.run.combination.label == name and d.attempt.tested] for name in NAMES[:5]
    }
    assert all(len(found) >= 3 for found in measured.values())
    confirmed = {d.attempt.run.combination.label for d in runs if d.attempt.phase == "confirm"}
    assert confirmed == {"mean", "only:left", "only:right"}
    assert sum(d.attempt.phase == "confirm" for d in runs) == 3 * 7  # seeds were added, as many for all


@pytest.mark.parametrize("protocol", ["quick", "full"])
@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("fusions", [1, 2, 3, 5, 8])
def test_the_number_of_runs_is_known_before(fusions, rates, protocol):
    made = planned(fusions, seeds=2, rates=rates, protocol=protocol)
    _, runs, expected = carried_out(made, {}, first=NAMES if rates else ())
    count = sum(not one.promoted for one in runs)
    assert counted(made, promoted=rates) == count
    if protocol == "quick":
        assert sum(expected[0].values()) == pytest.approx(count)


def test_samples_counts_say_whether_test_was_read():
    from mmkit.experiments.protocol import Attempt, is_done

    made = planned(1)
    attempt = Attempt(made.runs()[0], "search", 0, tested=False)
    unread = replace(record("concat", 0, 0.5), samples=SampleCounts(9, 9, None, {}))
    assert is_done(unread, attempt)
    assert not is_done(unread, replace(attempt, tested=True))
    assert not is_done(replace(unread, purpose="search"), attempt)
    assert not is_done(None, attempt)
