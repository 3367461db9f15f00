"""The sweep over sizes of a batch, on machines whose times and memory are known."""

from __future__ import annotations

import pytest
import torch

from mmkit.speed import batches
from mmkit.speed.batches import sweep


class Machine:
    """A call takes `start` seconds and `each` a sample, and `size` bytes a sample; its batch holds `held` a sample."""

    def __init__(self, start, each, size=1000, fails_at=None, held=0):
        self.now, self.start, self.each, self.size, self.fails_at = 0.0, start, each, size, fails_at
        self.held, self.memory = held, {}
        self.made = []

    def of(self, size):
        self.made.append(size)

        def call():
            if self.fails_at is not None and size >= self.fails_at:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.now += self.start + self.each * size

        self.memory[call] = self.size * size
        return call, self.held * size

    def clock(self):
        return self.now


@pytest.fixture
def swept(monkeypatch):
    def run(machine, free=10**9, **given):
        monkeypatch.setattr(batches, "peak_memory", lambda call, device: machine.memory[call])
        monkeypatch.setattr(batches, "free_memory", lambda device: free)
        return sweep(machine.of, rounds=6, clock=machine.clock, **given)

    return run


def test_it_doubles_until_throughput_stops_growing(swept):
    found = swept(Machine(0.010, 0.0001))
    sizes = [rate.size for rate in found.rates]
    assert sizes == [2**power for power in range(len(sizes))]
    assert found.end == "saturated"
    for rate in found.rates:
        assert rate.samples_per_s == pytest.approx(rate.size / (0.010 + 0.0001 * rate.size))
        assert rate.quartiles == pytest.approx((rate.samples_per_s,) * 2)
        assert rate.memory == 1000 * rate.size
    rates = {rate.size: rate.samples_per_s for rate in found.rates}
    assert rates[sizes[-1]] < 1.05 * rates[sizes[-2]]
    assert rates[found.enough] >= 0.95 * max(rates.values()) > rates[found.enough // 2]


def test_it_ends_before_memory_would_not_suffice(swept):
    machine = Machine(0.1, 0.0001, size=1000)
    found = swept(machine, free=100_000)
    assert found.end == "memory"
    assert found.rates[-1].size == 32  # 64 would take 64,000 of 100,000 bytes; half of them is the limit
    assert max(machine.made) == 32


def test_what_batches_hold_counts_as_well(swept):
    found = swept(Machine(0.1, 0.0001, size=1000, held=3000), free=100_000)
    assert (found.end, found.rates[-1].size) == ("memory", 8)  # 16 would take 64,000 bytes


def test_what_runs_out_of_memory_is_left_out(swept):
    found = swept(Machine(0.1, 0.0001, fails_at=16), free=None)
    assert (found.end, [rate.size for rate in found.rates]) == ("memory", [1, 2, 4, 8])


def test_where_not_even_one_fits_there_is_nothing(swept):
    assert swept(Machine(0.1, 0.0001, fails_at=1), free=None) is None


def test_a_long_call_is_the_last(swept):
    found = swept(Machine(0.8, 0.01))
    assert (found.end, found.rates[-1].size) == ("time", 32)


def test_the_largest_is_the_last(swept):
    found = swept(Machine(0.1, 0.0), largest=8)
    assert (found.end, found.rates[-1].size, found.enough) == ("largest", 8, 8)


def test_a_real_model_has_its_memory():
    layer = torch.nn.Linear(64, 64)

    def of(size):
        batch = torch.ones(size, 64)
        return lambda: layer(batch), batch.nbytes

    found = sweep(of, rounds=2, max_seconds=1, largest=4)
    assert [rate.size for rate in found.rates] == [1, 2, 4]
    assert all(rate.samples_per_s > 0 for rate in found.rates)


def test_free_memory_is_some_of_all():
    from mmkit.speed.memory import free_memory
    from mmkit.system.machine import memory

    assert 0 < free_memory() <= memory()
    assert free_memory("meta") is None
