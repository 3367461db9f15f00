"""The timing engine on simulated machines that drift, jitter and stall, and whose true ratios are known."""

import collections
import contextlib
import math
import random

import pytest
import torch

from mmkit.speed.interleave import Timings, compare, interleave
from mmkit.speed.stopwatch import MAX_CALLS, stopwatch, warm_up


class Machine:
    """A clock that calls move on. Its speed drifts and jumps, each call jitters, and now and then one stalls."""

    def __init__(self, seed, jitter=0.02, drift=0.01, stalls=0.05):
        self.now = 0.0
        self.draw = random.Random(seed)
        self.jitter, self.drift, self.stalls = jitter, drift, stalls
        self.slowness = 0.0  # in logs: a random walk that is pulled back, so it wanders far and slowly

    def clock(self):
        return self.now

    def call(self, seconds):
        def run():
            self.slowness = 0.99 * self.slowness + self.draw.gauss(0, self.drift)
            taken = seconds * math.exp(self.slowness + self.draw.gauss(0, self.jitter))
            if self.draw.random() < self.stalls:
                taken *= 1 + self.draw.expovariate(1)
            self.now += taken

        return run


def evaluate(seed, ratio, rounds=60, **noise):
    machine = Machine(seed, **noise)
    candidates = {"a": machine.call(0.005 * ratio), "b": machine.call(0.005)}
    return interleave(candidates, rounds=rounds, seed=seed, clock=machine.clock)


def verdicts(runs, ratio, margin, **settings):
    found = (evaluate(seed, ratio, **settings).compare("a", "b", margin=margin).verdict for seed in range(runs))
    return collections.Counter(found)


@pytest.mark.parametrize("rounds", [12, 60])
def test_equal_candidates_differ_in_at_most_one_run_of_twenty(rounds):
    runs = 400
    found = verdicts(runs, 1.0, margin=0.0, rounds=rounds)
    wrong = (found["faster"] + found["slower"]) / runs
    assert 0.02 <= wrong <= 0.08  # 5 %, with three standard errors of 400 runs


def test_timing_one_after_the_other_would_be_wrong():
    runs, wrong = 100, 0
    for seed in range(runs):
        machine = Machine(seed)
        call = machine.call(0.005)
        alone = [interleave({"x": call}, rounds=60, clock=machine.clock).seconds["x"] for _ in "ab"]
        wrong += compare(*alone, margin=0.0).verdict in {"faster", "slower"}
    assert wrong / runs > 0.3


def test_a_difference_of_five_percent_is_detected():
    runs = 100
    assert verdicts(runs, 1.05, margin=0.02)["slower"] >= 0.9 * runs
    assert verdicts(runs, 1 / 1.05, margin=0.02)["faster"] >= 0.9 * runs


def test_the_interval_holds_the_true_ratio():
    runs, held = 100, 0
    for seed in range(runs):
        found = evaluate(seed, 1.3).compare("a", "b")
        assert found.ratio == pytest.approx(1.3, rel=0.05)
        held += found.low <= 1.3 <= found.high
    assert 0.88 <= held / runs <= 1.0


def test_the_visible_difference_is_detected_in_four_of_five_runs():
    runs = 150
    visible = [evaluate(seed, 1.0).compare("a", "b", margin=0.01).visible for seed in range(30)]
    ratio = 1 + sum(visible) / len(visible)
    assert 0.7 <= verdicts(runs, ratio, margin=0.01)["slower"] / runs <= 0.9


def test_equal_candidates_on_a_quiet_machine_are_the_same():
    found = verdicts(50, 1.0, margin=0.02, jitter=0.005, stalls=0.0)
    assert found == {"same": 50}


def test_noisy_timings_are_unclear():
    found = verdicts(50, 1.03, margin=0.02, rounds=10, jitter=0.2)
    assert found["unclear"] >= 45


def test_fewer_than_six_rounds_allow_no_verdict():
    found = evaluate(0, 3.0, rounds=5).compare("a", "b")
    assert found.ratio == pytest.approx(3.0, rel=0.2)
    assert (found.low, found.high, found.visible, found.verdict) == (None, None, None, "unclear")


def test_the_reverse_comparison_has_the_inverse_ratio():
    timings = evaluate(3, 1.1)
    there, back = timings.compare("a", "b"), timings.compare("b", "a")
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low == pytest.approx(1 / back.high)
    assert {there.verdict, back.verdict} == {"faster", "slower"}


def test_each_round_calls_every_candidate_once_in_random_order():
    now, log = 0.0, []

    def call(name):
        def run():
            nonlocal now
            now += 1.0
            log.append(name)

        return run

    def order(seed):
        log.clear()
        interleave({n: call(n) for n in "abc"}, rounds=40, min_block_seconds=1.0, seed=seed, clock=lambda: now)
        return ["".join(log[i : i + 3]) for i in range(len(log) - 120, len(log), 3)]

    first = order(0)
    assert all(sorted(names) == ["a", "b", "c"] for names in first)
    assert len(set(first)) == 6  # all orders of three occur in 40 rounds
    assert order(0) == first
    assert order(1) != first


def test_a_block_lasts_as_long_as_required():
    machine = Machine(0, jitter=0.0, drift=0.0, stalls=0.0)
    timings = interleave(
        {"short": machine.call(1e-5), "long": machine.call(0.5)}, rounds=8, min_block_seconds=0.004, clock=machine.clock
    )
    assert 400 <= timings.calls["short"] <= 800
    assert timings.calls["long"] == 1
    assert timings.median("short") == pytest.approx(1e-5)
    assert timings.unsettled == ()


def test_calls_that_take_no_time_come_to_an_end():
    timings = interleave({"nothing": lambda: None}, rounds=1, clock=lambda: 0.0)
    assert timings.calls["nothing"] == MAX_CALLS


def test_warm_up_lasts_until_times_are_stable():
    machine = Machine(0, jitter=0.0, drift=0.0, stalls=0.0)
    costs = iter([9.0, 0.5, 0.3, 0.2])  # compiling, then caches that fill

    def call():
        machine.now += next(costs, 0.1)

    timings = interleave({"model": call}, rounds=6, clock=machine.clock)
    assert timings.seconds["model"] == pytest.approx((0.1,) * 6)
    assert timings.unsettled == ()


def test_candidates_that_never_become_stable_are_named():
    machine = Machine(0, jitter=0.0, drift=0.0, stalls=0.0)
    cost = 0.1

    def call():
        nonlocal cost
        cost *= 1.5
        machine.now += cost

    assert interleave({"leak": call}, rounds=1, clock=machine.clock).unsettled == ("leak",)


def test_no_round_starts_that_would_end_too_late():
    machine = Machine(0, jitter=0.0, drift=0.0, stalls=0.0)
    timings = interleave(
        {"a": machine.call(1.0), "b": machine.call(1.0)}, rounds=60, clock=machine.clock, max_seconds=20.5
    )
    assert timings.rounds == 8  # 4 s of warm-up, then rounds of 2 s each
    assert machine.now == pytest.approx(20.0)
    assert interleave({"a": machine.call(9.0)}, clock=machine.clock, max_seconds=1.0).rounds == 1


def test_the_json_has_median_and_quartiles():
    timings = Timings({"x": (1.0, 2.0, 3.0, 4.0, 100.0)}, {"x": 7}, "wall time", "cpu")
    assert timings.median("x") == 3.0
    assert timings.quartiles("x") == (2.0, 4.0)
    assert timings.as_json() == {
        "clock": "wall time",
        "device": "cpu",
        "rounds": 5,
        "unsettled": [],
        "candidates": {"x": {"seconds": 3.0, "quartiles": [2.0, 4.0], "calls": 7}},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(({}, 5), "no candidates were given"), (({"a": lambda: None}, 0), "rounds is 1 or more; got 0")],
)
def test_wrong_arguments_are_errors(arguments, message):
    candidates, rounds = arguments
    with pytest.raises(ValueError, match=message):
        interleave(candidates, rounds=rounds)


def test_unequal_numbers_of_rounds_are_an_error():
    with pytest.raises(ValueError, match="both candidates need equally many rounds; got 2 and 1"):
        compare((1.0, 2.0), (1.0,))


def test_the_clock_suits_the_device_and_the_threads():
    assert stopwatch("cpu").name == "thread CPU time"
    torch.set_num_threads(2)
    assert stopwatch("cpu").name == "wall time"
    assert stopwatch("cuda").name == "CUDA events"
    assert (stopwatch("cpu").min_block, stopwatch("cuda").min_block) == (0.004, 0.010)


def test_on_cuda_a_block_is_timed_by_events_and_synchronised_once(monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            log.append("event")

        def elapsed_time(self, end):
            assert log[-1] == "wait"
            return 30.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    watch = stopwatch("cuda:0")
    assert watch.block(lambda: log.append("call"), 3) == pytest.approx(0.030)
    assert log == ["wait", "event", "call", "call", "call", "event", "wait"]
    assert warm_up(watch, lambda: None, 0.010) == (1, True)
