import random

import pytest
import torch

from mmkit.speed import throughput as throughput_module
from mmkit.speed.throughput import latency, throughput


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        def call():
            self.now += next(seconds) if hasattr(seconds, "__next__") else seconds

        return call


def test_samples_per_second_of_several_candidates():
    clock = Clock()
    found = throughput({"fast": clock.work(0.010), "slow": clock.work(0.040)}, 32, rounds=8, clock=clock)
    assert found.samples_per_s("fast") == pytest.approx(3200)
    assert found.samples_per_s("slow") == pytest.approx(800)
    assert found.compare("slow", "fast").ratio == pytest.approx(4)
    assert found.compare("slow", "fast").verdict == "slower"
    rates = found.as_json()["rates"]
    assert rates["fast"] == {"samples_per_s": pytest.approx(3200), "quartiles": [pytest.approx(3200)] * 2}


def test_quartiles_of_a_rate_are_in_order():
    clock, draw = Clock(), random.Random(0)
    found = throughput({"x": clock.work(iter(lambda: draw.uniform(0.01, 0.02), None))}, 10, rounds=20, clock=clock)
    low, high = found.quartiles("x")
    assert 500 < low < found.samples_per_s("x") < high < 1000


def test_a_real_model_has_a_rate():
    model, batch = torch.nn.Linear(4, 4), torch.ones(8, 4)
    found = throughput({"linear": lambda: model(batch)}, 8, rounds=2)
    assert found.samples_per_s("linear") > 0
    assert found.timings.clock == "thread CPU time"


def test_percentiles_of_a_known_distribution():
    clock, warm = Clock(), [0.004] * 2  # two blocks that agree
    shuffled = random.Random(0).sample(range(1, 301), 300)
    found = latency(clock.work(iter(warm + [i / 1000 for i in shuffled])), clock=clock, calls=300)
    # Between the order statistics that 300 values of 1 to 300 ms leave on both sides.
    assert found["p50"] == pytest.approx(150.5, abs=0.5)
    assert found["p95"] == pytest.approx(285.0, abs=0.5)
    assert found["p99"] == pytest.approx(297.0, abs=0.5)


@pytest.mark.parametrize(
    ("calls", "known"),
    [(1, {"p50"}), (58, {"p50"}), (59, {"p50", "p95"}), (298, {"p50", "p95"}), (299, {"p50", "p95", "p99"})],
)
def test_a_percentile_of_too_few_calls_is_none(calls, known):
    clock = Clock()
    found = latency(clock.work(0.002), calls=calls, clock=clock)
    assert {name for name, value in found.items() if value is not None} == known
    assert all(found[name] == pytest.approx(2.0) for name in known)
    # One of n calls lies above the q-th percentile with probability 1 - q^n.
    for name, share in (("p95", 0.95), ("p99", 0.99)):
        assert (1 - share**calls >= 0.95) == (name in known)


def test_latency_stops_after_max_seconds():
    clock = Clock()
    call = clock.work(1.0)
    assert latency(call, clock=clock, max_seconds=30.0) == {"p50": pytest.approx(1000.0), "p95": None, "p99": None}
    assert clock.now == pytest.approx(30.0)


def test_latency_waits_for_the_device(monkeypatch):
    clock = Clock()

    def wait():
        clock.now += 0.5

    monkeypatch.setattr(throughput_module, "synchronizer", lambda device: wait)
    assert latency(clock.work(1.0), clock=clock, calls=3)["p50"] == pytest.approx(1500.0)
