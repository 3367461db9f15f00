"""Two suites on the same data: what is matched, what has changed, what is refused, and which conditions are broken."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mmkit.errors import UsageError
from mmkit.records.reading import Read
from mmkit.records.record import Cost, Fold, Record, Speed, Twin
from mmkit.records.scores import Scores
from mmkit.report.compare import compare
from mmkit.report.conditions import Condition, level_of
from mmkit.report.runs import listed_runs

DATA = {split: {"ids": f"{split} ids", "truth": "t", "input a": "x"} for split in ("train", "validation", "test")}
QUIET = Twin(1.0, 0.995, 1.005, 0.001, 0.2)


def speed(rate, twin=QUIET, batch=64):
    return Speed(rate, rate / 5, {"p50": 1.0}, batch, 32, {"inference": twin, "train": twin})


def record(fusion, seed, scores, **rest):
    where = {"device": "cpu", "precision": "float32", "machine": {"cpu": "one", "cores": 2}, "software": {}}
    known = {
        "id": f"{fusion} {seed}",
        "task": "pets",
        "status": "ok",
        "encoders": {"a": "cnn"},
        "fusion": fusion,
        "head": "mlp",
        "objectives": [],
        "seed": seed,
        "metric": "accuracy",
        "metrics": {"accuracy": float(np.mean(scores)), "f1_macro": float(np.mean(scores)) - 0.01, "log_loss": 0.3},
        "validation": {"accuracy": 0.5},
        "scores": Scores.of(scores),
        "data": DATA,
        "run": {},
        "plugins": {},
        "libraries": {},
        **where,
    }
    return Record(**{**known, **rest})


@pytest.fixture
def suite(tmp_path):
    """Makes a suite of records whose samples are in no groups; of a name, with a folder of its own."""
    import pyarrow as pa
    from pyarrow import parquet

    def made(name, *records, groups=None):
        folder = tmp_path / name
        folder.mkdir()
        columns = {"row": [2, 1, 0], "id": ["c", "b", "a"], "split": ["test"] * 3, "content": [0, 0, 0]}
        if groups is not None:
            size = len(groups)
            columns = {
                "row": list(range(size)),
                "id": list(map(str, range(size))),
                "split": ["test"] * size,
                "group": groups,
            }
        parquet.write_table(pa.table(columns), folder / "splits.parquet")
        return [Read(folder, list(records))]

    return made


def drawn(fusion, share, seeds=range(3), size=400, start=0, **rest):
    rng = np.random.default_rng(start)
    return [record(fusion, seed, (rng.random(size) < share).astype(float), **rest) for seed in seeds]


def compared(a, b, **rest):
    return compare(a, b, ("A", "B"), **rest)


def test_a_suite_beside_itself_is_the_same(suite):
    a = suite("a", *drawn("sum", 0.8, throughput=speed(100.0)), *drawn("only:a", 0.6, start=5))
    found = compared(a, a, fail_if=["time>0%", "accuracy<-0"])
    assert {change.finding for change in found.changes} == {"same"}
    assert found.sentence.startswith(
        "B is the same as A: accuracy, time of a prediction, time of a training step of all 2"
    )
    assert [check.outcome for check in found.checks if check.combination == "sum"] == ["kept", "kept"]


def test_accuracy_has_the_interval_over_seeds_and_samples_that_scipy_gives(suite):
    old, new = drawn("sum", 0.80, size=4000), drawn("sum", 0.70, size=4000, start=1)
    (change, *_) = compared(suite("a", *old), suite("b", *new)).changes
    a, b = (np.stack([np.array(list(one.scores)) for one in side]) for side in (old, new))
    seeds = stats.ttest_rel(b.mean(1), a.mean(1)).confidence_interval()
    samples = stats.ttest_1samp(b.mean(0) - a.mean(0), 0).confidence_interval()
    margin = math.hypot((seeds[1] - seeds[0]) / 2, (samples[1] - samples[0]) / 2)
    assert change.change == pytest.approx(b.mean() - a.mean())
    assert change.interval() == pytest.approx((change.change - margin, change.change + margin))
    assert (change.seeds, change.samples, change.paired, change.finding) == (3, 4000, True, "worse")


def test_seeds_are_matched_by_number_whatever_their_order_and_more_of_one_side_do_not_count(suite):
    old = drawn("sum", 0.8, seeds=[4, 7, 9])
    new = [replace(one, id=f"{one.id} new") for one in reversed(old)]
    found = compared(suite("a", *old), suite("b", *drawn("sum", 0.1, seeds=[1], start=3), *new))
    assert found.changes[0].finding == "same"
    assert found.changes[0].seeds == 3


def test_of_other_seeds_all_are_compared_with_all_and_that_is_said(suite):
    found = compared(suite("a", *drawn("sum", 0.8)), suite("b", *drawn("sum", 0.8, seeds=range(10, 15), start=2)))
    assert found.changes[0].paired is False
    assert any("share fewer than two seeds" in line for line in found.lines())


def test_samples_without_truth_and_the_order_of_groups_are_those_of_the_test_split(suite):
    labels = np.repeat(["x", "y", "z", "w"], 5)
    rng = np.random.default_rng(0)
    scores = [rng.random((3, 20)).astype(np.float32), rng.random((3, 20)).astype(np.float32)]
    for each in scores:
        each[:, 7] = np.nan
    old, new = ([record("sum", s, values, metrics={"accuracy": 0.5}) for s, values in enumerate(x)] for x in scores)
    found = compared(suite("a", *old, groups=list(labels)), suite("b", *new, groups=list(labels)))
    kept = ~np.isnan(scores[0][0])
    difference = (scores[1].astype(float) - scores[0])[:, kept]
    d, of = difference.mean(0), labels[kept]
    means = [d[of != one].mean() for one in "wxyz"]
    variance = 3 / 4 * sum((mean - d.mean()) ** 2 for mean in means)
    degrees = 19**2 / (25 + 25 + 25 + 16) - 1
    seeds = stats.t.ppf(0.975, 2) ** 2 * difference.mean(1).var(ddof=1) / 3
    margin = math.sqrt(seeds + stats.t.ppf(0.975, degrees) ** 2 * variance)
    low, high = found.changes[0].interval()
    assert (high - low) / 2 == pytest.approx(margin)
    assert found.changes[0].samples == 19


def test_without_the_table_of_samples_an_interval_is_not_given_since_groups_are_not_known(suite, tmp_path):
    a, b = suite("a", *drawn("sum", 0.8)), suite("b", *drawn("sum", 0.7, start=1))
    (tmp_path / "a" / "splits.parquet").unlink()
    found = compared(a, b)
    assert found.changes[0].finding == "unclear"
    assert any("no splits.parquet" in line for line in found.lines())


def test_any_metric_is_compared_by_its_name_over_seeds_alone_where_samples_have_no_scores(suite):
    old, new = drawn("sum", 0.8), drawn("sum", 0.7, start=1)
    found = compared(suite("a", *old), suite("b", *new), metrics=["f1_macro"])
    (change,) = (one for one in found.changes if one.quantity == "f1_macro")
    values = [[one.metrics["f1_macro"] for one in side] for side in (old, new)]
    assert change.interval() == pytest.approx(tuple(stats.ttest_rel(values[1], values[0]).confidence_interval()))
    assert any("Intervals of macro F1 are over seeds alone" in line for line in found.lines())
    with pytest.raises(UsageError, match="no run has a metric f1; did you mean f1_macro"):
        compared(suite("c", *old), suite("d", *new), metrics=["f1"])


def test_less_of_a_loss_is_better(suite):
    def losses(values, start):
        return [replace(one, metrics={**one.metrics, "log_loss": v}) for one, v in zip(start, values, strict=True)]

    old = drawn("sum", 0.8)
    found = compared(suite("a", *losses([0.5, 0.51, 0.52], old)), suite("b", *losses([0.3, 0.32, 0.31], old)),
                     metrics=["log_loss"])  # fmt: skip
    assert next(one for one in found.changes if one.quantity == "log_loss").finding == "better"


def test_a_class_of_one_sample_widens_the_interval_and_that_is_said(suite):
    """A third of balanced accuracy hangs on one sample, of which no score tells how another would be."""

    def side(found):
        confusion = [[24, 6, 0], [6, 24, 0], [1 - found, 0, found]]
        known = {"metric": "balanced_accuracy", "names": ["often", "too", "rare"], "confusion": confusion}
        rng = np.random.default_rng(found)
        scores = [(1.6 + found) / 3 + np.append(rng.normal(size=60) * 0.1, 0) for _ in range(3)]
        return [
            record("sum", seed, one, metrics={"balanced_accuracy": float(np.mean(one))}, **known)
            for seed, one in enumerate(scores)
        ]

    found = compared(suite("a", *side(1)), suite("b", *side(0)), fail_if=["balanced_accuracy<-5"])
    (change,) = found.changes
    assert (change.finding, change.widened) == ("unclear", "class rare has 1 test sample")
    assert found.exit_code == 5
    assert "Intervals of balanced accuracy are wider, as class rare has 1 test sample." in found.notes


def test_of_a_metric_of_a_plugin_the_record_says_which_way_is_better(suite):
    def rates(value):
        told = {"lower_is_better": ["wer", "log_loss"]}
        return [
            replace(one, metrics={**one.metrics, "wer": value + one.seed / 1000, "mae": 0.5}, **told)
            for one in drawn("sum", 0.8)
        ]

    found = compared(suite("a", *rates(0.2)), suite("b", *rates(0.3)), metrics=["wer", "mae", "log_loss"])
    better = {one.quantity: one.higher_is_better for one in found.changes}
    assert {name: better[name] for name in ("accuracy", "wer", "log_loss", "mae")} == {
        "accuracy": True, "wer": False, "log_loss": False, "mae": True,
    }  # fmt: skip
    runs = listed_runs(suite("c", *rates(0.3)[:1], *rates(0.2)[1:]), sort="wer")
    assert [one.record.metrics["wer"] for one in runs] == [0.201, 0.202, 0.3]


def test_what_only_one_side_holds_is_listed_and_what_failed_breaks_every_condition(suite):
    bad = replace(drawn("late", 0.8)[0], status="failed", error="MmkitError: diverged", metrics={}, scores=None)
    a = suite("a", *drawn("sum", 0.8), *drawn("late", 0.8), *drawn("mean", 0.8))
    b = suite("b", *drawn("sum", 0.8), bad, *drawn("max", 0.8))
    found = compared(a, b, fail_if=["accuracy<-5"])
    assert (found.only_a, found.only_b) == (["mean"], ["max"])
    assert [(one.combination, one.where) for one in found.failed] == [("late", "B")]
    assert {check.combination: check.outcome for check in found.checks} == {"sum": "kept", "late": "broken"}
    assert found.exit_code == 1
    assert "late failed in B: MmkitError: diverged" in found.lines()
    with pytest.raises(UsageError, match="share no combination with a result; A has sum, B has max"):
        compared(suite("c", *drawn("sum", 0.8)), suite("d", *drawn("max", 0.8)))


def test_seeds_that_failed_are_told_beside_those_that_are_compared(suite):
    runs = drawn("sum", 0.8)
    bad = replace(runs[2], status="failed", error="MmkitError: diverged", metrics={}, scores=None)
    found = compared(suite("a", *runs), suite("b", *runs[:2], bad))
    assert "sum: 1 of 3 runs failed in B, and are left out: MmkitError: diverged" in found.lines()
    assert [change.seeds for change in found.changes if change.quantity == "accuracy"] == [2]


def test_other_data_are_refused_and_the_columns_are_named(suite):
    other = {**DATA, "test": {**DATA["test"], "truth": "other"}}
    with pytest.raises(UsageError, match=r"^A and B are of different data: truth of test differ; "):
        compared(suite("a", *drawn("sum", 0.8)), suite("b", *drawn("sum", 0.8, data=other)))
    every = {split: {name: f"other {name}" for name in columns} for split, columns in DATA.items()}
    columns, last = [", ".join(list(DATA["test"])[:-1]), list(DATA["test"])[-1]]
    with pytest.raises(
        UsageError, match=rf"^A and B are of different data: {columns} and {last} of all splits differ; "
    ):
        compared(suite("k", *drawn("sum", 0.8)), suite("l", *drawn("sum", 0.8, data=every)))
    style, price = (f"own-data:data=homes.csv,target={name},group=[owner]" for name in ('"style,kg"', "price"))
    with pytest.raises(
        UsageError, match=r'^the targets of A and B differ: "style,kg" and price; only runs that predict'
    ):
        compared(suite("m", *drawn("sum", 0.8, task=style)), suite("n", *drawn("sum", 0.8, data=every, task=price)))
    unknown = {**DATA, "train": {**DATA["train"], "input a": "unknown 1234"}}
    with pytest.raises(UsageError, match="d in B: input a has no fingerprint"):
        compared(suite("c", *drawn("sum", 0.8)), suite("d", *drawn("sum", 0.8, data=unknown)))
    folds = drawn("sum", 0.8, fold=Fold(1, 2))
    with pytest.raises(UsageError, match="A has one split and B 2 folds"):
        compared(suite("e", *drawn("sum", 0.8)), suite("f", *folds))
    with pytest.raises(UsageError, match="holds runs on different data"):
        compared(suite("g", *drawn("sum", 0.8), *drawn("late", 0.8, data=other)), suite("h", *drawn("sum", 0.8)))
    with pytest.raises(UsageError, match="A holds no run that is compared"):
        compared(suite("i", *drawn("sum", 0.8, purpose="search")), suite("j", *drawn("sum", 0.8)))


def test_of_several_suites_those_of_the_same_data_are_compared(suite):
    other = {**DATA, "test": {**DATA["test"], "truth": "other"}}
    third = {**DATA, "test": {**DATA["test"], "truth": "third"}}
    a = suite("a", *drawn("sum", 0.8)) + suite("b", *drawn("sum", 0.8, data=other, task="cars:x=1"))
    b = suite("c", *drawn("sum", 0.8, data=other, task="cars:x=1")) + suite("d", *drawn("sum", 0.8))
    found = compared(a, b)
    assert [change.combination for change in found.changes if change.quantity == "accuracy"] == [
        "pets: sum",
        "cars: sum",
    ]
    found = compared(a, suite("e", *drawn("sum", 0.8)) + suite("f", *drawn("sum", 0.8, data=third)))
    assert sum("on other data" in line for line in found.notes) == 2


def test_runs_of_an_earlier_plan_in_a_folder_are_left_out_and_counted(suite):
    def trained(epochs, share, seeds, start):
        run = {"training": {"lr": 0.01, "epochs": epochs}}
        drawn_now = drawn("sum", share, seeds=seeds, start=start, run=run)
        return [replace(one, id=f"{one.id} {epochs}") for one in drawn_now]

    kept = trained(1, 0.5, range(2), 0)
    new = trained(6, 0.9, range(1), 1)
    found = compared(suite("a", *kept), suite("b", *kept, *new))
    assert found.changes[0].b == pytest.approx(new[0].metrics["accuracy"])
    assert found.changes[0].seeds == 1
    assert "2 runs of other plans are in B, and left out." in found.lines()


def test_of_suites_on_the_same_data_the_one_that_was_written_last_counts(suite):
    old = drawn("sum", 0.5, run={"training": {"epochs": 1}})
    new = drawn("sum", 0.9, seeds=range(1), start=1, run={"training": {"epochs": 6}})
    of_old, of_new = suite("z", *old), suite("b", *new)
    both = [replace(of_old[0], written=1), replace(of_new[0], written=2)]
    found = compared(suite("a", *old), both)
    assert found.changes[0].b == pytest.approx(new[0].metrics["accuracy"])
    assert any("3 runs of other plans are in B" in line for line in found.lines())


def test_a_time_is_compared_by_twins_spread_pace_and_two_percent_between_processes(suite):
    then = Twin(1.0, 0.97, 1.02, 0.01, 0.200)
    now = Twin(0.99, 0.98, 1.01, 0.02, 0.206)
    a, b = drawn("sum", 0.8, throughput=speed(100.0, then)), drawn("sum", 0.8, throughput=speed(80.0, now))
    change = next(one for one in compared(suite("a", *a), suite("b", *b)).changes if one.quantity == "time")
    z = stats.norm.ppf(0.975)
    parts = [math.log(1.02), -math.log(0.97), z * 0.01, -math.log(0.98), z * 0.02, math.log(0.206 / 0.2)]
    margin = math.sqrt(sum(part**2 for part in parts))
    assert change.change == pytest.approx(0.25)
    low, high = (math.exp(math.log(1.25) + side * margin) - 1 for side in (-1, 1))
    assert change.interval() == pytest.approx((low, high), rel=1e-4)
    assert change.finding == "worse"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"machine": {"cpu": "other", "cores": 2}}, "different machines (cpu one and other)"),
        ({"device": "cuda"}, "A ran on device cpu, B on cuda"),
        ({"precision": "bfloat16"}, "A ran on precision float32, B on bfloat16"),
    ],
)
def test_across_machines_times_are_too_noisy_and_accuracy_is_compared(suite, changed, why):
    a, b = (drawn("sum", 0.8, throughput=speed(100.0), **rest) for rest in ({}, changed))
    found = compared(suite("a", *a), suite("b", *b), fail_if=["time>5%", "accuracy<-1"])
    assert [check.outcome for check in found.checks] == ["unclear", "kept"]
    assert found.exit_code == 5
    assert any(line.startswith("Times are not compared: ") and why in line for line in found.lines())


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (speed(80.0, batch=32), "batches of 64 and 32 samples"),
        (Speed(80.0, 9.0, {}, 64, 32), "B was timed without a twin"),
        (speed(80.0, Twin(1.0, None, None, 0.1, 0.2)), "B was timed in fewer than 6 rounds"),
    ],
)
def test_times_of_other_measurements_are_not_compared(suite, now, why):
    a, b = drawn("sum", 0.8, throughput=speed(100.0)), drawn("sum", 0.8, throughput=now)
    found = compared(suite("a", *a), suite("b", *b), fail_if=["time>1%"])
    assert found.checks[0].outcome == "unclear"
    assert why in found.checks[0].why


def test_a_condition_on_what_was_not_measured_cannot_be_told(suite):
    a = suite("a", *drawn("sum", 0.8))
    assert [check.outcome for check in compared(a, a, fail_if=["time>5%"]).checks] == ["unclear"]


def test_a_combination_that_neither_side_has_tested_is_not_checked_and_one_that_one_side_has_cannot_be_told(suite):
    untested = [replace(one, metrics={}, scores=None) for one in drawn("late", 0.8)]
    a, b = suite("a", *drawn("sum", 0.8), *untested), suite("b", *drawn("sum", 0.8), *drawn("late", 0.8))
    assert {one.combination for one in compared(a, a, fail_if=["accuracy<-1"]).checks} == {"sum"}
    found = compared(a, b, fail_if=["accuracy<-1"])
    assert {one.combination: one.outcome for one in found.checks} == {"sum": "kept"} | {"late": "unclear"}
    assert "Only one side has the accuracy of late." in found.lines()


def test_counts_have_no_noise(suite):
    a = drawn("sum", 0.8, cost=Cost(100, 100, 10.0))
    b = drawn("sum", 0.8, cost=Cost(104, 104, 10.0))
    found = compared(suite("a", *a), suite("b", *b), fail_if=["parameters>5%", "parameters>3%", "flops>0%"])
    assert [check.outcome for check in found.checks] == ["kept", "broken", "kept"]


def test_conditions_are_broken_kept_or_too_noisy(suite):
    a = suite("a", *drawn("sum", 0.8, size=4000, throughput=speed(100.0)))
    b = suite("b", *drawn("sum", 0.7, size=4000, start=1, throughput=speed(80.0)))
    fail_if = ["accuracy<-1", "accuracy<-30", "accuracy<-10", "accuracy>1", "time>5%", "time>50%", "time>25%"]
    found = compared(a, b, fail_if=fail_if)
    expected = ["broken", "kept", "unclear", "kept", "broken", "kept", "unclear"]
    assert [check.outcome for check in found.checks] == expected
    assert found.exit_code == 1
    assert compared(a, b, fail_if=["accuracy<-10"]).exit_code == 5
    assert compared(a, b, fail_if=["accuracy<-30"]).exit_code == 0


def test_the_interval_that_proves_is_wider_with_many_checks_but_for_one_or_two(suite):
    assert (level_of(1), level_of(2), level_of(8)) == (0.05, 0.05, 0.0125)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time>5", "time is compared in percent, as time>5%"),
        ("accuracy<-1%", "accuracy is compared in points, as accuracy<-1"),
        ("rmse<-1%", "rmse is compared in its own units, as rmse<-1"),
        ("tim>5%", "nothing is compared that is called tim; did you mean time"),
        ("accuracy=1", "takes a name, < or >, and a number"),
        ("", "takes a name, < or >, and a number"),
    ],
)
def test_a_condition_that_is_not_possible_says_what_is(text, message):
    with pytest.raises(UsageError, match=message):
        Condition.of(text, ["accuracy", "rmse"])


def test_limits_are_read_in_points_units_and_percent():
    found = [Condition.of(text, ["accuracy", "rmse"]) for text in ("accuracy < -1", "rmse>.5", "time>5%")]
    assert [(one.quantity, one.above, one.limit) for one in found] == [
        ("accuracy", False, -0.01), ("rmse", True, 0.5), ("time", True, 0.05)
    ]  # fmt: skip


def test_the_result_is_a_table_a_document_and_html_with_the_same_figures(suite):
    a = suite("a", *drawn("sum", 0.8, size=4000, throughput=speed(100.0)))
    b = suite("b", *drawn("sum", 0.7, size=4000, start=1, throughput=speed(80.0)))
    found = compared(a, b, fail_if=["accuracy<-1"])
    line = found.table()[0]
    change = found.changes[0]
    assert (line["combination"], line["change"], line["low"]) == ("sum", change.change, change.interval()[0])
    assert found.document()["changes"] == found.table()
    assert found.document()["exit_code"] == 1
    assert f"{100 * change.change:+.1f}" in found._repr_html_()
    assert repr(found) == f"<SuiteComparison of A and B: {found.sentence}>"
    assert f"sum ({100 * change.change:+.1f}, between" in found.sentence
