"""The answer in one sentence, with its margin, from records alone."""

from dataclasses import replace

import numpy as np
import pytest

from mmkit.records.record import Fold, SampleCounts
from mmkit.records.scores import Scores
from mmkit.records.verdicts import Terms
from mmkit.report.notes import notes
from mmkit.report.statistics import compare
from mmkit.report.summary import rows
from mmkit.report.values import written
from mmkit.report.verdict import level_with_the_best, seeds_wanted, verdict
from tests.report.records import compared, over_seeds, record, table


def two(gain, **rest):
    return [
        *over_seeds("sum", table(0.8 + gain, number=1), **rest),
        *over_seeds("only:a", table(0.8, number=2), **rest),
    ]


def test_a_fusion_beyond_the_margin_scored_above():
    found = compared(*two(0.1))
    expected = compare(table(0.9, number=1), {"only:a": table(0.8, number=2)}, same=0.01)
    assert (found.finding, found.singles) == ("above", 1)
    assert found.margin == pytest.approx(expected.margins["only:a"].total, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert (found.seeds, found.samples) == (5, 200)
    said = found.sentence()
    assert said.startswith("On test, sum scored above the single input: accuracy ")
    assert f"{100 * found.difference:.1f} points better, between {100 * found.low:.1f} and " in said
    assert " of 5 fresh seeds, " in said
    assert " of 200 samples)." in said


def test_it_must_beat_every_single_input_and_names_the_nearest():
    singles = [*over_seeds("only:a", table(0.8, number=2)), *over_seeds("only:b", table(0.85, number=3))]
    found = compared(*over_seeds("sum", table(0.95, number=1)), *singles)
    assert (found.finding, found.single.fusion, found.singles) == ("above", "only:b", 2)
    assert "scored above every single input: accuracy " in found.sentence()
    assert " of only:b, the nearest of 2; " in found.sentence()
    low, high = (f"{100 * end:.1f}" for end in (found.low, found.high))
    told = f"{100 * found.difference:.1f} points better (margin {100 * found.margin:.1f}: "
    assert told in found.sentence()  # of the difference to the nearest
    assert f" samples); over the best input, whichever it is, between {low} and {high}." in found.sentence()
    below = compared(*over_seeds("sum", table(0.7, number=1)), *singles)
    low, high = (f"{-100 * end:.1f}" for end in (below.high, below.low))
    assert f" samples); behind the best input, whichever it is, between {low} and {high}." in below.sentence()
    same = compared(*over_seeds("sum", table(0.851, number=1)), *singles, terms=Terms(same=9))
    assert "; to the best input, whichever it is, between " in same.sentence()
    near = compared(*over_seeds("sum", table(0.852, number=1)), *singles)
    assert (near.finding, near.single.fusion) == ("unclear", "only:b")
    assert "whichever it is" not in near.sentence()


def test_there_is_no_verdict_until_every_single_input_has_two_fresh_seeds():
    both = {"encoders": {"a": "cnn", "b": "cnn"}}
    known = [*over_seeds("sum", table(0.95, number=1), **both), *over_seeds("only:a", table(0.8, number=2))]
    lacking = compared(*known)
    assert (lacking.finding, lacking.why) == ("none", "no fresh seed of only:b has ended")
    one = compared(*known, *over_seeds("only:b", table(0.85, number=3, seeds=1), encoders={"b": "cnn"}))
    assert (one.finding, one.why) == ("none", "one seed of only:b, 5 of sum")
    two = compared(*known, *over_seeds("only:b", table(0.85, number=3, seeds=2), encoders={"b": "cnn"}))
    assert two.finding == "above"


def test_what_lies_beyond_the_margin_of_the_nearest_input_alone_is_unclear_and_says_why():
    """Which of several inputs is the best one is not known, so the interval to the best is wider."""
    singles = [*over_seeds("only:a", table(0.8, number=2)), *over_seeds("only:b", table(0.85, number=3))]
    found = compared(*over_seeds("sum", table(0.836, number=1)), *singles)
    assert found.finding == "unclear"
    assert found.low < found.difference < -found.margin < 0 < found.high
    worse, better = f"{-100 * found.low:.1f}", f"{100 * found.high:.1f}"
    told = f" samples); over the best input, whichever it is, between {worse} worse and {better} better. 200 samples"
    assert told in found.sentence()


def test_the_full_protocol_says_beats():
    assert "sum beats the single input" in compared(*two(0.1), terms=Terms(protocol="full")).sentence()


def test_a_fusion_below_the_margin_scored_below():
    found = compared(*two(-0.1))
    assert found.finding == "below"
    assert "scored below the best single input: accuracy " in found.sentence()
    assert "points worse, between " in found.sentence()


def test_a_difference_within_the_margin_is_unclear_and_says_what_could_have_been_seen():
    found = compared(*two(0.005))
    assert found.finding == "unclear"
    assert "cannot be told from the best single input, only:a: " in found.sentence()
    assert found.can_show == pytest.approx((1.43 * found.margin, 1.43 * found.of_samples))
    whole, seeds = (f"{100 * value:.1f}" for value in found.can_show)
    assert (
        f"200 samples and 5 seeds can show a difference of {whole} points; more seeds alone, {seeds}."
        in found.sentence()
    )


def test_two_seeds_that_differ_much_can_show_nothing_and_say_so():
    wild = {"seeds": 2, "of_seeds": 0.3}
    found = compared(
        *over_seeds("sum", table(0.8, number=1, **wild)), *over_seeds("only:a", table(0.8, number=2, **wild))
    )
    assert found.can_show[0] > 1
    assert "200 samples and 2 seeds can show no difference at all; more seeds alone, one of " in found.sentence()
    small = [over_seeds(name, table(0.5, samples=4, number=at, spread=9)) for name, at in (("sum", 1), ("only:a", 5))]
    few = compared(*small[0], *small[1])
    assert min(few.can_show) > 1
    assert few.sentence().endswith(" 4 samples and 5 seeds can show no difference at all; more seeds alone, neither.")


def test_within_what_counts_as_the_same_it_is_as_good():
    found = compared(*two(0.002), terms=Terms(same=6))
    assert found.finding == "equal"
    assert "sum is as good as the best single input, within 6 points: " in found.sentence()
    assert "worse and" in found.sentence()


def test_of_another_metric_two_percent_of_the_best_single_input_are_the_same():
    tight = {"spread": 0.002, "of_seeds": 0.0001}
    rest = {"metric": "rmse", "higher": False}
    found = compared(
        *over_seeds("sum", table(2.0, number=1, **tight), **rest),
        *over_seeds("only:a", table(2.01, number=2, **tight), **rest),
    )
    assert found.same == pytest.approx(0.02 * 2.01, rel=1e-3)
    assert compared(*two(0, metric="rmse", higher=False), terms=Terms(same=0.5)).same == 0.5


def test_if_lower_is_better_a_lower_value_is_above():
    found = compared(*two(-0.1, metric="rmse", higher=False))
    assert found.finding == "above"
    assert found.difference > 0
    assert "RMSE 0.6" in found.sentence() or "RMSE 0.7" in found.sentence()
    assert " better, between" in found.sentence()


def test_one_seed_gives_no_verdict_and_says_how_to_get_one():
    found = compared(record("sum", 0, 0.99, scores=[1, 0.98]), record("only:a", 0, 0.1, scores=[0.1, 0.1]))
    assert (found.margin, found.finding) == (None, "none")
    assert found.sentence().startswith("No verdict: one seed; --seeds 5 gives one. On test, sum reached accuracy 99.0 ")
    assert "points better" in found.sentence()


def test_a_training_that_failed_gives_no_verdict():
    failed = record("only:a", 5, None, status="failed", error="DivergedError: no")
    found = compared(*two(0.1), failed)
    assert (found.finding, found.why) == ("none", "1 of 6 trainings of only:a failed")


def test_an_input_that_failed_with_every_seed_gives_no_verdict():
    failed = [record("only:b", seed, None, status="failed", error="x") for seed in range(5)]
    found = compared(*two(0.1), *failed)
    assert found.why == "5 of 5 trainings of only:b failed"


def test_a_metric_that_is_not_defined_on_a_run_gives_no_verdict():
    (first, *rest) = over_seeds("sum", table(0.9, number=1))
    lacking = record("sum", 0, None, scores=None)
    found = compared(lacking, *rest, *over_seeds("only:a", table(0.8, number=2)))
    assert found.why == "accuracy is not defined on 1 of 5 runs of sum"
    assert first.metric == "accuracy"
    assert compared(lacking, record("only:a", 0, 0.5)) is None  # nothing to tell


def test_a_metric_without_scores_gives_no_verdict():
    found = compared(*(record(name, seed, 0.5) for name in ("sum", "only:a") for seed in range(3)))
    assert found.why == "accuracy has no margin over samples"


def test_samples_are_paired_where_all_have_a_score():
    one, other = table(0.9, number=1), table(0.8, number=2)
    one[2, 0] = other[1, 5] = np.nan  # of samples that were left out
    rest = {"data": {"test": {"ids": "a"}}}
    found = compared(
        *(record("sum", seed, 0.9, scores=row, **rest) for seed, row in enumerate(one)),
        *(record("only:a", seed, 0.8, scores=row, **rest) for seed, row in enumerate(other)),
    )
    assert (found.samples, found.finding) == (198, "above")


@pytest.mark.parametrize("change", [{"data": {"test": {"ids": "b"}}}, {"scores": [1.0, 2.0]}])
def test_runs_of_different_test_samples_give_no_verdict(change):
    data = {"data": {"test": {"ids": "a"}}}
    found = compared(*two(0.1, **data), record("only:a", 9, 0.8, **{"scores": table(0.8)[0], **data, **change}))
    assert found.why == "the runs are of different test samples"


def test_groups_count_and_are_told():
    labels = np.arange(200) % 20
    found = compared(*two(0.1), terms=Terms({"group": labels}))
    assert " of 200 samples in 20 groups)." in found.sentence()
    crossing = Terms({"speaker": labels, "writer": np.arange(200) // 20})
    assert "samples in groups, 20 by speaker and 10 by writer" in compared(*two(0.1), terms=crossing).sentence()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([0] * 100 + [1] * 100, "the test samples are of 2 groups by speaker; 3 are needed"),
        (
            [0] * 197 + [1, 2, 3],
            "the test samples are of 4 groups by speaker, of such sizes that they count as 1.0; 3 ",
        ),
    ],
)
def test_too_few_groups_give_no_verdict(labels, why):
    found = compared(*two(0.1), terms=Terms({"speaker": np.array(labels)}))
    assert found.finding == "none"
    assert found.why.startswith(why)


def rare(fusion, found, number, **rest):
    """Runs by balanced accuracy of classes of 30, 30 and 1: whether the one is found moves it by a third."""
    draw = np.random.default_rng(number)
    value = (1.6 + found) / 3
    scores = value + np.concatenate([draw.normal(size=(5, 60)) * 0.1, np.zeros((5, 1))], 1)
    confusion = [[24, 6, 0], [6, 24, 0], [1 - found, 0, found]]
    names = ["often", "too", "rare"]
    return over_seeds(fusion, scores, metric="balanced_accuracy", names=names, confusion=confusion, **rest)


def test_a_class_of_one_sample_widens_the_margin_and_that_is_said():
    """No score tells how the class would be with another sample, however well all seeds agree on this one."""
    found = compared(*rare("sum", 1, 1), *rare("only:a", 0, 2))
    assert found.finding == "unclear"
    assert found.of_samples > 1.95 / 3
    assert found.sentence().endswith("Margin widened: class rare has 1 test sample.")
    assert found.document()["widened"] == found.widened == "class rare has 1 test sample"
    both = rows([*rare("sum", 1, 1), *rare("only:a", 0, 2)])
    assert level_with_the_best(both) == both


def test_a_class_that_is_rare_in_a_fold_widens_the_margin():
    folds = [
        replace(one, id=f"{one.id} {fold}", fold=Fold(fold, 2), phase="confirm", index=one.seed,
                samples=SampleCounts(9, 9, 61, {}),
                scores=Scores.of(list(one.scores), range(61 * (fold - 1), 61 * fold), 122))
        for fold in (1, 2)
        for one in (*rare("sum", 1, fold), *rare("only:a", 0, 2 + fold))
    ]  # fmt: skip
    found = compared(*folds)
    assert (found.finding, found.widened) == ("unclear", "class rare has 1 test sample in fold 1")


def test_a_second_look_has_a_wider_margin_and_says_so():
    first, second = compared(*two(0.1)), compared(*two(0.1), terms=Terms(look=2))
    assert second.margin > 1.3 * first.margin
    assert second.sentence().endswith("Look 2 at this test split: margin widened.")


def test_what_was_only_searched_is_neither_compared_nor_chosen_by():
    searched = over_seeds("concat", table(0.99, number=4), validation=0.99)
    searched = [
        record("concat", one.seed, 0.99, phase="search", index=one.seed, validation=0.99, metrics={})
        for one in searched
    ]
    confirmed = two(0.1, phase="confirm")
    found = compared(*searched, *confirmed)
    assert (found.fusion.fusion, found.fusions) == ("sum", 2)
    assert "Chosen among 2 fusions on validation." in found.sentence()
    order = [row.fusion for row in rows([*searched, *confirmed])]
    assert order == ["sum", "only:a", "concat"]


def test_search_seeds_that_read_test_lend_their_variance_alone():
    quiet = compared(*two(0.1, phase="confirm"))
    wild = [
        record("sum", 10 + number, value, phase="search", index=number) for number, value in enumerate((0.2, 0.9, 0.5))
    ]
    loud = compared(*wild, *two(0.1, phase="confirm"))
    assert loud.difference == quiet.difference
    assert loud.of_seeds > 3 * quiet.of_seeds
    assert loud.of_samples == quiet.of_samples


def test_more_seeds_are_wanted_where_seeds_differ_more_than_samples():
    still = {"of_seeds": 0.001}
    calm = rows(
        [*over_seeds("sum", table(0.9, number=1, **still)), *over_seeds("only:a", table(0.8, number=2, **still))]
    )
    assert seeds_wanted(calm, Terms(), 10) == 5
    wild = [*over_seeds("sum", table(0.9, number=1, of_seeds=0.2)), *over_seeds("only:a", table(0.8, number=2))]
    assert seeds_wanted(rows(wild), Terms(), 10) == 10
    moved = [*over_seeds("sum", table(0.1, number=1, of_seeds=0.2)), *over_seeds("only:a", table(0.8, number=2))]
    assert seeds_wanted(rows(moved), Terms(), 10) == 10  # blind to the difference


def test_rows_that_cannot_be_told_from_the_best():
    found = rows(
        [
            *over_seeds("sum", table(0.9, number=1)),
            *over_seeds("concat", table(0.901, number=2)),
            *over_seeds("only:a", table(0.5, number=3)),
        ]
    )
    assert {row.fusion for row in level_with_the_best(found)} == {"sum", "concat"}
    few = rows([*two(0), *over_seeds("late", table(0.8, seeds=2, number=5))])
    assert level_with_the_best(few) == []


def test_without_a_fusion_or_a_single_input_there_is_no_verdict():
    assert compared(*over_seeds("sum", table(0.9))) is None
    assert compared(*over_seeds("only:a", table(0.9))) is None
    assert compared() is None


def test_the_document_has_all_of_it():
    found = compared(*two(0.1))
    document = found.document()
    assert document["finding"] == "above"
    assert document["sentence"] == found.sentence()
    assert document["runs"] == sorted(f"{name} {seed}" for name in ("only:a", "sum") for seed in range(5))
    assert verdict(rows(two(0.1))).document() == document


def test_shares_are_percent_and_others_three_digits():
    assert (written(0.12345, "f1_macro"), written(123.456, "rmse")) == ("12.3", "123")


def test_the_best_yardstick_on_validation_stands_beside_the_chosen_fusion_untested():
    errors = {"metric": "mae", "higher": False}
    plain, other = (f"yardstick: boosting of {name}" for name in ("table", "words"))
    found = rows(
        [
            *over_seeds("sum", table(6.96, number=1), **errors),
            *over_seeds("only:a", table(13.5, number=2), **errors),
            record(plain, 0, 6.5, 9.6, purpose="yardstick", **errors),
            record(other, 0, 6.1, 9.9, purpose="yardstick", **errors),
        ]
    )
    score = found[0].spread("mae").mean
    told = (
        "tuned on validation. The best of them there, boosting of table, has MAE 6.5 on test, sum "
        f"{score:.3g}; the difference is not tested, as a yardstick is fitted once."
    )
    assert notes(found)[0].endswith(told)
    assert notes(found[:-1])[0].endswith(told)
    assert notes(found[-1:])[0].endswith("tuned on validation.")
