"""How long a plan will take: what its options ask for at the measured pace, corrected by what runs took."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest
from torch import nn

import mmkit
from mmkit.contract import Features
from mmkit.data.splits import splits_of
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.forecast import Forecast, Sizes, forecast_of, seconds_of_run
from mmkit.experiments.outlook import means_of
from mmkit.experiments.pace import Batches, Pace, paces, seconds_of
from mmkit.experiments.parts import Part
from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import SoFar
from mmkit.experiments.run import Run
from mmkit.experiments.search import Searched
from mmkit.features.sharing import Shared
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Training

PACE = Pace(
    start=1.0,
    epoch=0.07,
    metrics=0.3,
    train=Batches(0.02, 0.01),
    predict=Batches(0.005, 0.001),
    probe=None,
    once={("x", "bag"): 0.002},
)
SIZES = Sizes(train=1000, validation=200, test=300)
TRAINING = Training(epochs=4, min_steps=0, batch_size=10)


@pytest.fixture(scope="module")
def asked():
    return plan(installed(), task="synthetic-unique:train=64", fusions=["concat"], seeds=1, settings=Settings("cpu"))


def test_a_run_takes_its_steps_and_its_evaluations():
    # 4 epochs of 100 steps of 10, and of 200 validation samples in one batch; then validation, and test in two batches,
    # by all metrics; and its start.
    once = 0.005 + 200 * 0.001
    test = 2 * 0.005 + 300 * 0.001 + 0.3
    by_hand = 4 * (100 * 0.02 + 1000 * 0.01 + once + 0.07) + once + 0.3 + test + 1.0
    assert seconds_of_run(PACE, TRAINING, SIZES, "comparison") == pytest.approx(by_hand)
    assert seconds_of_run(PACE, TRAINING, SIZES, "search") == pytest.approx(by_hand - test)


def test_epochs_that_a_least_number_of_steps_asks_for_count():
    short = Sizes(train=20, validation=1, test=1)  # 2 steps an epoch: 50 epochs for 100 steps
    many = seconds_of_run(PACE, replace(TRAINING, min_steps=100), short, "search")
    assert many == pytest.approx(1.0 + 0.3 + 0.006 + 50 * (2 * 0.02 + 20 * 0.01 + 0.006 + 0.07))


def test_a_sampler_makes_epochs_longer_or_shorter():
    over = replace(SIZES, drawn=1600)
    plain, longer = (seconds_of_run(PACE, TRAINING, sizes, "search") for sizes in (SIZES, over))
    assert longer - plain == pytest.approx(4 * (60 * 0.02 + 600 * 0.01))
    assert replace(SIZES, drawn=1000).epoch == SIZES.epoch == 1000


def test_a_search_of_tuned_encoders_takes_the_probe_alone():
    tuned = replace(PACE, probe=Batches(0.001, 0.0005))
    once = 0.005 + 200 * 0.001
    probe = 4 * (100 * 0.001 + 1000 * 0.0005 + once + 0.07)
    tuning = 4 * (100 * 0.02 + 1000 * 0.01 + once + 0.07)
    rest = 1.0 + once + 0.3
    test = 2 * 0.005 + 300 * 0.001 + 0.3
    assert seconds_of_run(tuned, TRAINING, SIZES, "search") == pytest.approx(rest + probe)
    assert seconds_of_run(tuned, TRAINING, SIZES, "comparison") == pytest.approx(rest + probe + tuning + test)
    no_probe = replace(TRAINING, probe=False)
    assert seconds_of_run(tuned, no_probe, SIZES, "search") == pytest.approx(rest + tuning)


def runs(asked, count):
    return [Run(asked.task, one, 0, TRAINING, asked.settings) for one in asked.all[:count]]


def test_what_all_runs_share_counts_once(asked):
    one, two = runs(asked, 2)
    forecast = Forecast({one.combination.key: PACE, two.combination.key: PACE}, [SIZES])
    for run in (one, two):
        forecast.add(0, run.combination.key, TRAINING, searches=3, runs=2)
    estimate = forecast.estimate()
    assert estimate.once == pytest.approx(1500 * 0.002)
    assert estimate.search == pytest.approx(6 * seconds_of_run(PACE, TRAINING, SIZES, "search"))
    assert estimate.runs == pytest.approx(4 * seconds_of_run(PACE, TRAINING, SIZES, "comparison"))
    assert estimate.total == pytest.approx(estimate.once + estimate.search + estimate.runs)


def test_augmented_copies_of_training_are_encoded_each(asked):
    (one,) = runs(asked, 1)
    key = one.combination.key
    forecast = Forecast({key: replace(PACE, copies={("x", "bag"): 3 * 0.002})}, [SIZES])
    forecast.add(0, key, TRAINING, searches=0, runs=1)
    assert forecast.estimate().once == pytest.approx((4 * 1000 + 200 + 300) * 0.002)
    assert means_of(asked, "", forecast, setup=0.0).once == pytest.approx(forecast.estimate().once)


class Frozen(nn.Module):
    """A frozen encoder of series, which are augmented."""

    reads = FcnEncoder.reads
    frozen = True

    def __init__(self, transform):
        super().__init__()
        self.width = 8
        self.read = nn.Linear(transform.channels, 8)

    def forward(self, batch):
        return Features.of(self.read(batch["steps"]), batch["mask"])


@pytest.mark.parametrize(("copies", "further"), [(0, 0), (1, 0), (5, 4)])
def test_a_pace_knows_of_further_copies(copies, further):
    chosen = installed().choose("encoder", Frozen, spec=EncoderSpec("frozen", "", "", modality="series"))
    given = {"task": "synthetic-unique:train=66", "fusions": ["concat"], "baselines": False}
    planned = plan(installed(), **given, encoders={"series": [chosen]}, training={"copies": copies}, seeds=1)
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    one = planned.combinations[0]
    (found,) = paces({one.key: one}, splits, planned.training, Settings("cpu"), Shared()).of.values()
    assert found.copies == pytest.approx({key: further * each for key, each in found.once.items()} if further else {})


def test_what_runs_took_corrects_what_is_left(asked):
    one, two = runs(asked, 2)
    expected = seconds_of_run(PACE, TRAINING, SIZES, "comparison")
    forecast = Forecast({one.combination.key: PACE, two.combination.key: PACE}, [SIZES])
    for run in (one, two):
        forecast.add(0, run.combination.key, TRAINING, searches=0, runs=3)
    forecast.ended(0, one, "comparison", 2 * expected)
    # Two of its own as long as the first took, three of the other twice as long as was expected; features are there.
    assert forecast.left() == pytest.approx(2 * 2 * expected + 3 * 2 * expected)
    forecast.ended(0, two, "comparison", 10.0)
    assert forecast.left() == pytest.approx(2 * 2 * expected + 2 * 10.0)


def test_a_search_that_found_twice_the_epochs_makes_its_runs_longer(asked):
    (one,) = runs(asked, 1)
    forecast = Forecast({one.combination.key: PACE}, [SIZES])
    forecast.add(0, one.combination.key, TRAINING, searches=2, runs=1)
    longer = replace(TRAINING, epochs=8)
    forecast.chosen(0, one.combination.key, longer)
    assert forecast.estimate().search == 0
    assert forecast.estimate().runs == pytest.approx(seconds_of_run(PACE, longer, SIZES, "comparison"))


def test_failed_runs_leave_the_rest(asked):
    (one,) = runs(asked, 1)
    forecast = Forecast({one.combination.key: PACE}, [SIZES])
    forecast.add(0, one.combination.key, TRAINING, searches=0, runs=2)
    forecast.ended(0, one, "comparison", None)
    assert forecast.left() == pytest.approx(seconds_of_run(PACE, TRAINING, SIZES, "comparison"))


def test_the_words_say_the_whole_and_its_parts():
    forecast = Forecast({"a": PACE}, [SIZES], costs=70.0)
    forecast.add(0, "a", TRAINING, searches=3, runs=9)
    assert forecast.estimate().sentence() == (
        "it will take about 11 min, less where training stops early (costs 70 s, search 3 min, runs 8 min)"
    )


def test_what_a_batch_takes_is_told_from_what_its_samples_take():
    by_hand = Batches(batch=0.03, sample=0.002)
    found = Batches.of(4, by_hand.seconds(1, 4), 64, by_hand.seconds(1, 64))
    assert found == pytest.approx(by_hand)
    assert Batches.of(1, 0.01, 64, 0.01) == (0.01, 0)  # samples cost nothing that can be seen
    assert Batches.of(1, 0.0, 64, 0.64) == pytest.approx((0, 0.01))
    assert Batches.of(4, 0.01, 2, 0.01).seconds(3, 6) == pytest.approx(0.03)


def busy(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_a_pace_is_the_time_of_a_call():
    assert seconds_of(lambda: busy(0.02), device="cpu") >= 0.02


def test_what_a_process_waits_makes_the_first_estimate_longer(asked):
    (one,) = runs(asked, 1)
    expected = seconds_of_run(PACE, TRAINING, SIZES, "comparison")
    forecast = Forecast({one.combination.key: PACE}, [SIZES], costs=5.0, slowdown=3.0)
    forecast.add(0, one.combination.key, TRAINING, searches=0, runs=2)
    assert forecast.estimate().total == pytest.approx(5.0 + 3 * (1500 * 0.002 + 2 * expected))
    forecast.ended(0, one, "comparison", 2 * expected)
    assert forecast.left() == pytest.approx(2 * expected)  # of runs by what they took


def test_each_combination_that_can_be_built_has_a_pace(asked):
    splits = asked.runs()[0].splits(installed())
    measured = paces({one.key: one for one in asked.all}, splits, asked.training, asked.settings, Shared())
    found = measured.of
    assert measured.slowdown >= 1
    assert 0 < measured.making < measured.costs
    assert found.keys() == {one.key for one in asked.all}
    for one in asked.all:
        pace = found[one.key]
        assert {name for name, _ in pace.once} == set(one.encoders)
        assert min(pace.start, pace.epoch, *pace.once.values()) > 0
        for work in (pace.train, pace.predict):
            assert min(work) >= 0
            assert work.seconds(1, 64) > 0
        assert pace.probe is None


@pytest.mark.parametrize("sampler", ["shuffle", "balanced", "over", "under"])
def test_what_a_sampler_draws_is_in_the_sizes(sampler):
    unequal = "synthetic-unique:train=66"
    asked = plan(installed(), task=unequal, fusions=["concat"], baselines=False, settings=Settings("cpu"))
    training = replace(asked.training, sampler=sampler)
    splits = asked.runs()[0].splits(installed())
    part = Part(replace(asked, training=training), splits, Searched())
    (one,) = asked.combinations
    forecast = forecast_of([part], {one.key: one}, [SoFar([], {}, complete=False)], Shared(), cost=False)
    counts = Counter(splits("train").truth)
    assert min(counts.values()) < max(counts.values())
    drawn = {"over": len(counts) * max(counts.values()), "under": len(counts) * min(counts.values())}
    assert forecast.sizes[0].train == 66
    assert forecast.sizes[0].epoch == drawn.get(sampler, 66)
    means = means_of(replace(asked, training=training), "", forecast, setup=0.0)
    assert means.samples == forecast.sizes[0].epoch


def test_a_suite_says_what_is_left_until_nothing_is(tmp_path):
    said, told = [], []

    class Noted(Progress):
        def remaining(self, seconds):
            said.append(seconds)

        def note(self, message):
            told.append(message)

    def bench():
        mmkit.bench(
            task="synthetic-unique:train=64", fusion="concat", seeds=2, training={"epochs": 1, "rates": [1e-3, 1e-2]},
            cost=False, yardsticks=False, baselines=False, out=tmp_path, progress=Noted(),
        )  # fmt: skip

    bench()
    assert len(said) == 1 + 2 + 2
    assert said[-1] == 0 < said[0]
    assert told == []  # of a few seconds nothing is said
    bench()
    assert len(said) == 5  # nothing was left to do


@pytest.mark.parametrize(("progress", "measured"), [(False, []), (Progress(), ["concat"])])
def test_nothing_is_measured_for_an_estimate_that_nobody_sees(tmp_path, monkeypatch, progress, measured):
    found = []

    def paces_of(combinations, *rest):
        found.extend(one.label for one in combinations.values())
        return paces(combinations, *rest)

    monkeypatch.setattr("mmkit.experiments.forecast.paces", paces_of)
    suite = mmkit.bench(
        task="synthetic-unique:train=64", fusion="concat", seeds=2, training={"epochs": 1, "lr": 1e-3},
        cost=False, yardsticks=False, baselines=False, out=tmp_path, progress=progress,
    )  # fmt: skip
    assert [record.status for record in suite.records] == ["ok", "ok"]
    assert found == measured
