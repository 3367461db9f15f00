"""The interval of a difference over seeds and samples, against scipy, statsmodels and jackknives written out."""

import math

import numpy as np
import pytest
from scipy import stats

from mmkit.report.jackknife import Part
from mmkit.report.paired import Difference, by_sample, by_seed, of_samples


def draw(seed=0):
    return np.random.default_rng(seed)


def test_over_paired_seeds_it_is_the_paired_t_interval():
    a, b = draw().normal(0.8, 0.02, (2, 5))
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert by_seed(a, b, paired=True).interval() == pytest.approx((low, high))


def test_over_other_seeds_it_is_the_interval_of_welch():
    a, b = draw().normal(0.8, 0.02, 5), draw(1).normal(0.8, 0.05, 3)
    low, high = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert by_seed(a, b, paired=False).interval() == pytest.approx((low, high))


def test_over_samples_alone_it_is_the_t_interval_of_their_mean():
    difference = draw().normal(0.1, 1, 40)
    low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.99)
    found = Difference(float(difference.mean()), (of_samples(difference),))
    assert found.interval(0.01) == pytest.approx((low, high))


def left_out(difference, labels):
    """The variance of the mean over samples, each group left out once."""
    means = [difference[labels != one].mean() for one in np.unique(labels)]
    count, whole = len(means), difference.mean()
    return (count - 1) / count * sum((mean - whole) ** 2 for mean in means)


def test_groups_are_left_out_one_at_a_time():
    labels = np.array(["a"] * 9 + ["b"] * 4 + ["c"] * 7 + [None] * 5, object)
    difference = draw().normal(0, 1, 25) + (labels == "a")
    (part,) = of_samples(difference, {"speaker": list(labels)})
    assert part.variance == pytest.approx(left_out(difference, labels.astype(str)))
    assert part.freedom == pytest.approx(25**2 / (81 + 16 + 49 + 25) - 1)


def test_of_crossing_factors_what_they_share_is_counted_once():
    speakers, writers = np.repeat(np.arange(6), 20), np.tile(np.arange(20), 6)
    rng = draw()
    difference = rng.normal(0, 1, 120) + rng.normal(0, 1, 6)[speakers] + rng.normal(0, 1, 20)[writers]
    groups = {"speaker": speakers.tolist(), "writer": writers.tolist()}
    found = Difference(0.0, (of_samples(difference, groups),)).interval()
    cells = speakers * 20 + writers
    squares = [
        stats.t.ppf(0.975, 5) ** 2 * left_out(difference, speakers),
        stats.t.ppf(0.975, 19) ** 2 * left_out(difference, writers),
        -(stats.norm.ppf(0.975) ** 2) * left_out(difference, cells),
    ]
    assert found[1] == pytest.approx(math.sqrt(sum(squares)))


def test_too_few_groups_give_no_interval():
    scores = draw().random((3, 20))
    for labels in (["a"] * 20, ["a"] * 10 + ["b"] * 10, ["a"] * 18 + ["b", "c"]):
        found = by_sample(scores, draw(1).random((3, 20)), {"speaker": labels}, paired=True)
        assert found.interval() is None
        assert "groups" in found.unknown


def test_both_variances_are_those_of_a_table_of_two_ways_each_with_its_own_quantile():
    pandas = pytest.importorskip("pandas")
    formula, linear = pytest.importorskip("statsmodels.formula.api"), pytest.importorskip("statsmodels.stats.anova")
    rng = draw()
    difference = 0.2 + rng.normal(0, 0.5, (4, 1)) + rng.normal(0, 0.3, (1, 12)) + rng.normal(0, 0.4, (4, 12))
    table = pandas.DataFrame([{"s": s, "i": i, "y": y} for (s, i), y in np.ndenumerate(difference)])
    mean = linear.anova_lm(formula.ols("y ~ C(s) + C(i)", table).fit())["mean_sq"]
    of_seeds = mean["C(s)"] / 12 / 4
    of_samples_ = mean["C(i)"] / 4 / 12
    margin = math.hypot(stats.t.ppf(0.975, 3) * math.sqrt(of_seeds), stats.t.ppf(0.975, 11) * math.sqrt(of_samples_))
    base = rng.random((4, 12))
    found = by_sample(base, base + difference, paired=True)
    assert found.value == pytest.approx(difference.mean())
    assert found.interval() == pytest.approx((found.value - margin, found.value + margin))


def test_the_same_on_both_sides_is_no_difference_and_one_seed_gives_no_interval():
    scores = draw().random((1, 9))
    assert by_sample(scores, scores, paired=True).interval() == (0, 0)
    assert by_sample(scores, scores + 0.1, paired=True).unknown == "one seed"
    assert by_seed(scores[0, :1], scores[0, 1:2], paired=True).interval() is None


def test_a_difference_without_any_spread_gives_no_interval():
    a = np.zeros((3, 8))
    assert "no spread" in by_sample(a, a + 1, paired=True).unknown
    assert "no spread" in by_seed(a[:, 0], a[:, 0] + 1, paired=True).unknown


def test_independent_sources_add_their_squares_and_a_part_that_is_taken_away_leaves_the_greatest():
    found = Difference(1.0, ((Part(4.0, math.inf),), (Part(9.0, math.inf), Part(-100.0, math.inf))))
    assert found.interval()[1] == pytest.approx(1 + stats.norm.ppf(0.975) * math.sqrt(13))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("seeds", "of_seeds", "of_both"), [(3, 0.04, 0.3), (5, 0.0, 0.3), (3, 0.3, 0.1)])
def test_equal_combinations_are_told_apart_in_no_more_than_five_percent(seeds, of_seeds, of_both, paired):
    rng, told, suites = draw(3), 0, 400
    for _ in range(suites):
        sample = rng.normal(0, 0.3, 150)
        a, b = (
            sample
            + rng.normal(0, of_seeds, (seeds, 1))
            + rng.normal(0, 0.1, 150)
            + rng.normal(0, of_both, (seeds, 150))
            for _ in "ab"
        )
        low, high = by_sample(a, b, paired=paired).interval()
        told += low > 0 or high < 0
    assert told / suites <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / suites)  # two standard errors of the count itself


def test_a_difference_that_is_there_is_seen():
    rng = draw()
    a = rng.normal(0, 0.3, 500) + rng.normal(0, 0.3, (3, 500))
    low, high = by_sample(a, a + 0.1 + rng.normal(0, 0.1, (3, 500)), paired=True).interval()
    assert 0 < low < 0.1 < high
