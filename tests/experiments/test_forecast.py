"""How long a plan will take: what its options ask for at the measured pace, corrected by what runs took."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

import mmkit
from mmkit.experiments.forecast import Forecast, Sizes, seconds_of_run
from mmkit.experiments.pace import Pace, paces, seconds_of
from mmkit.experiments.plan import plan
from mmkit.experiments.run import Run
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Training

PACE = Pace(start=1.0, train=0.01, predict=0.001, probe=None, once={("x", "bag"): 0.002})
SIZES = Sizes(train=1000, validation=200, test=300)
TRAINING = Training(epochs=4, min_steps=0, batch_size=10)


@pytest.fixture(scope="module")
def asked():
    return plan(installed(), task="synthetic-unique:train=64", fusions=["concat"], seeds=1, settings=Settings("cpu"))


def test_a_run_takes_its_steps_and_its_evaluations():
    # 4 epochs of 1000 training and 200 validation samples, then validation and test once more, and its start.
    by_hand = 4 * (1000 * 0.01 + 200 * 0.001) + 200 * 0.001 + 300 * 0.001 + 1.0
    assert seconds_of_run(PACE, TRAINING, SIZES, "comparison") == pytest.approx(by_hand)
    assert seconds_of_run(PACE, TRAINING, SIZES, "search") == pytest.approx(by_hand - 300 * 0.001)


def test_epochs_that_a_least_number_of_steps_asks_for_count():
    short = Sizes(train=20, validation=1, test=1)  # 2 steps an epoch: 50 epochs for 100 steps
    many = seconds_of_run(PACE, replace(TRAINING, min_steps=100), short, "search")
    assert many == pytest.approx(1.0 + 0.001 + 50 * (20 * 0.01 + 0.001))


def test_a_search_of_tuned_encoders_takes_the_probe_alone():
    tuned = replace(PACE, probe=0.0005)
    probe = 4 * (1000 * 0.0005 + 200 * 0.001)
    tuning = 4 * (1000 * 0.01 + 200 * 0.001)
    rest = 1.0 + 200 * 0.001
    assert seconds_of_run(tuned, TRAINING, SIZES, "search") == pytest.approx(rest + probe)
    assert seconds_of_run(tuned, TRAINING, SIZES, "comparison") == pytest.approx(rest + probe + tuning + 300 * 0.001)
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
        "it will take about 10 min, less where training stops early (costs 70 s, search 2 min, runs 6 min)"
    )


def test_a_pace_is_the_time_of_a_call():
    assert seconds_of(lambda: time.sleep(0.02), device="cpu") >= 0.02


def test_each_combination_that_can_be_built_has_a_pace(asked):
    splits = asked.runs()[0].splits(installed())
    found = paces({one.key: one for one in asked.all}, splits, asked.training, asked.settings, Shared())
    assert found.keys() == {one.key for one in asked.all}
    for one in asked.all:
        pace = found[one.key]
        assert {name for name, _ in pace.once} == set(one.encoders)
        assert min(pace.start, pace.train, pace.predict, *pace.once.values()) > 0
        assert pace.probe is None


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
