"""Margins and findings against cases computed elsewhere, and against scipy and brute force."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mmkit.report import statistics
from mmkit.report.statistics import (
    can_show,
    compare,
    level_of_look,
    margin,
    not_beaten,
    of_samples,
    of_seeds,
    seeds_wanted,
    t_quantile,
)

CASES = json.loads((Path(__file__).parent / "data" / "verdicts.json").read_text())


def near(value):
    return pytest.approx(value, rel=1e-6)


def named(kind):
    return [pytest.param(case, id=case["name"]) for case in CASES[kind]]


def array(values):
    return np.asarray(values, float)


@pytest.mark.parametrize("case", CASES["t_quantiles"], ids=str)
def test_quantiles_of_student_s_t(case):
    assert t_quantile(case["p"], case["df"]) == near(case["t"])


def test_levels_of_looks_and_that_all_together_stay_at_seven_percent():
    assert [level_of_look(number) for number in range(1, 6)] == near(CASES["levels_of_looks"])
    assert sum(map(level_of_look, range(1, 100_000))) < 0.07


@pytest.mark.parametrize("case", named("margins"))
def test_margins(case):
    groups = [np.asarray(labels) for labels in case["groups"] or ()]
    found = margin(
        array(case["fusion"]),
        array(case["single"]),
        searched=case["search_of_fusion"],
        groups=groups,
        level=case["level"],
    )
    assert found.difference == near(case["difference"])
    assert found.total == (None if case["margin"] is None else near(case["margin"]))
    for value, expected in (
        (found.of_seeds, case["of_seeds"]),
        (found.of_samples, case["of_samples"]),
        (found.freedom_of_seeds, case["df_of_seeds"]),
        (found.freedom_of_samples, case["df_of_samples"]),
    ):
        if expected is not None:
            assert value == near(expected)


@pytest.mark.parametrize("case", named("verdicts"))
def test_findings(case):
    singles = {name: array(scores) for name, scores in case["singles"].items()}
    found = compare(array(case["fusion"]), singles, same=case["same"], searched=case["search_of_fusion"])
    against = found.margins[found.nearest]
    assert (found.finding, found.nearest) == (case["finding"], case["against"])
    assert (found.low, found.high) == (near(case["gain_from"]), near(case["gain_to"]))
    assert (against.difference, against.total) == (near(case["difference"]), near(case["margin"]))
    assert (against.of_seeds, against.of_samples) == (near(case["of_seeds"]), near(case["of_samples"]))
    assert can_show(against)[0] == near(case["can_show"])


@pytest.mark.parametrize("case", CASES["more_seeds"], ids=lambda case: str(case["seeds"]))
def test_how_many_seeds_are_wanted(case):
    singles = {name: array(scores) for name, scores in case["singles"].items()}
    assert seeds_wanted(array(case["fusion"]), singles, most=case["most"]) == case["seeds"]


def scores(seeds, samples, number):
    draw = np.random.default_rng(number)
    return draw.normal(size=(seeds, samples)) + draw.normal(size=(seeds, 1)) / 3 + draw.normal(size=samples)


def test_the_part_of_seeds_is_a_variance_component_of_the_table_of_seeds_and_samples():
    table = scores(5, 40, 1)
    # Mean squares of the two-way layout without repetition, cell by cell.
    between = 40 * sum((row.mean() - table.mean()) ** 2 for row in table) / 4
    left = sum(
        (table[s, i] - table[s].mean() - table[:, i].mean() + table.mean()) ** 2 for s in range(5) for i in range(40)
    ) / (4 * 39)
    assert of_seeds(table).variance == near(max((between - left) / 40, 0) / 5)


def test_without_groups_the_part_of_samples_is_that_of_a_paired_t_test():
    one, other = scores(1, 60, 2), scores(1, 60, 3)
    expected = stats.ttest_rel(one[0], other[0]).confidence_interval(0.95)
    half = (expected.high - expected.low) / 2
    # The jackknife of a mean has the same variance.
    assert margin(one, other).of_samples == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (1, 2, 9, 20), (30, 5, 5)])
def test_of_groups_it_is_the_jackknife_that_leaves_one_out(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(4).normal(size=len(labels)) + labels
    without = [values[labels != group].mean() for group in range(len(sizes))]
    count = len(sizes)
    expected = (count - 1) / count * sum((mean - values.mean()) ** 2 for mean in without)
    ((variance, freedom),) = of_samples(values, [labels])
    assert variance == near(expected)
    assert freedom == near(len(labels) ** 2 / sum(size**2 for size in sizes) - 1)


def test_crossing_factors_are_added_less_what_both_hold_and_never_below_the_larger():
    draw = np.random.default_rng(5)
    one, other = np.repeat(np.arange(6), 8), np.tile(np.arange(8), 6)
    values = draw.normal(size=6)[one] + draw.normal(size=8)[other] + draw.normal(size=48) / 9
    parts = of_samples(values, [one, other])
    alone = [of_samples(values, [labels])[0] for labels in (one, other)]
    cells = of_samples(values)[0]
    assert parts[:2] == alone
    assert parts[2].variance == near(-cells.variance)
    found = margin(values[None], np.zeros((1, 48)), groups=[one, other])
    squares = [stats.t.ppf(0.975, part.freedom) ** 2 * part.variance for part in alone]
    expected = sum(squares) - stats.norm.ppf(0.975) ** 2 * cells.variance
    assert found.of_samples**2 == pytest.approx(max(expected, *squares), rel=1e-5)


def test_crossing_factors_that_hang_on_one_alone_keep_its_margin():
    one, other = np.repeat(np.arange(6), 8), np.tile(np.arange(8), 6)
    values = np.random.default_rng(6).normal(size=48)
    values -= np.array([values[one == group].mean() for group in range(6)])[one]  # nothing of the first factor is left
    found = margin(values[None], np.zeros((1, 48)), groups=[one, other])
    assert found.of_samples == near(margin(values[None], np.zeros((1, 48)), groups=[other]).of_samples)


@pytest.mark.parametrize("labels", [[0] * 10 + [1] * 10, [0] * 19 + [1], [0] * 17 + [1, 2, 3], [0] * 20])
def test_fewer_than_three_effective_groups_have_no_margin(labels):
    one, other = scores(5, 20, 7), scores(5, 20, 8)
    found = compare(one, {"only:a": other}, same=0.01, groups=[np.asarray(labels)])
    assert (found.finding, found.margins["only:a"].total) == ("none", None)


def test_few_groups_are_refused_even_where_nothing_differs():
    same = scores(5, 20, 9)
    found = compare(same, {"only:a": same}, same=0.01, groups=[np.repeat([0, 1], 10)])
    assert found.finding == "none"


def test_a_difference_without_any_spread_is_no_verdict():
    found = compare(np.ones((3, 20)), {"only:a": np.zeros((3, 20))}, same=0.01)
    assert (found.finding, found.margins["only:a"].total) == ("none", 0)


def test_two_that_are_the_same_in_all_are_equal():
    found = compare(np.ones((3, 20)), {"only:a": np.ones((3, 20))}, same=0.01)
    assert (found.finding, found.low, found.high) == ("equal", 0, 0)


def test_the_best_of_many_that_differ_clearly_is_alone_and_equal_ones_stay():
    table = np.random.default_rng(10).normal(size=(4, 5, 200)) / 10
    assert not_beaten([one + gain for one, gain in zip(table, (0, 0, 1, 2), strict=True)]) == [3]
    assert not_beaten([table[0], table[0] + 1e-3 * table[1], table[2] - 1]) == [0, 1]
    assert not_beaten([table[0]]) == [0]


@pytest.mark.full
@pytest.mark.parametrize("groups", [None, 10])
def test_equal_ones_are_told_apart_in_at_most_seven_of_a_hundred(groups):
    draw = np.random.default_rng(11)
    rounds, wrong = 2000, 0
    labels = None if groups is None else np.arange(100) % groups
    for _ in range(rounds):
        shared = draw.normal(size=100) + (0 if labels is None else draw.normal(size=groups)[labels])
        one, other = (
            shared
            + draw.normal(size=(5, 100))
            + draw.normal(size=(5, 1)) / 5
            + (0 if labels is None else draw.normal(size=groups)[labels] / 3)
            for _ in range(2)
        )
        found = compare(one, {"only:a": other}, same=0.0, groups=[] if labels is None else [labels])
        wrong += found.finding in {"above", "below"}
    assert wrong / rounds < 0.07


def test_the_margin_grows_with_its_parts():
    one, other = scores(5, 30, 12), scores(5, 30, 13)
    found = margin(one, other)
    assert found.total == near(math.hypot(found.of_seeds, found.of_samples))


def test_of_many_combinations_each_is_measured_once_and_groups_are_numbered_once(monkeypatch):
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(3, 60)) for _ in range(6)]
    labels = np.array([f"g{i}" for i in rng.integers(12, size=60)])
    expected = not_beaten(scores, groups=[labels])
    calls = []
    for owner, name in ((np, "unique"), (statistics, "of_seeds")):
        plain = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, plain=plain, name=name, **k: calls.append(name) or plain(*a, **k))
    assert not_beaten(scores, groups=[labels]) == expected
    assert (calls.count("unique"), calls.count("of_seeds")) == (1, 6)
