"""Prefetching by threads: in order, bitwise the same results, and no thread is left running."""

import signal
import threading
import time
from typing import Any

import pytest
import torch
from torch import nn

from mmkit.contract import ModelOutput, Transform
from mmkit.data import loader as module
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.data.readings import Live
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training
from mmkit.transforms.image import ImageTransform
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.series import SeriesTransform


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("mmkit-loader")]


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert alive() == []


class TestLoader:
    @pytest.mark.parametrize("workers", [None, 0, 1, 4])
    @pytest.mark.parametrize("count", [0, 1, 2, 30])
    def test_items_come_in_order_whatever_time_each_takes(self, workers, count):
        def make(index):
            time.sleep(0.002 * (index % 3 == 0))
            return index

        with Loader(workers) as load:
            assert list(load(make, count)) == list(range(count))
            assert list(load(make, count)) == list(range(count))

    @pytest.mark.parametrize("workers", [1, 3])
    def test_only_a_few_items_are_prefetched(self, workers):
        made = []
        with Loader(workers) as load:
            items = load(made.append, 100)
            next(items)
            time.sleep(0.05)
            assert 1 < len(made) <= module.AHEAD * workers + 1

    def test_threads_are_used_if_items_are_slow(self, monkeypatch):
        monkeypatch.setattr(module, "usable_cores", lambda: 4)
        clock, step, made_by = [0.0], [0.0], []
        monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

        def make(_):
            made_by.append(threading.current_thread() is threading.main_thread())
            clock[0] += step[0]

        for seconds, workers in ((module.WORTHWHILE_SECONDS / 2, 0), (module.WORTHWHILE_SECONDS * 2, 3)):
            made_by.clear()
            step[0] = seconds
            with Loader() as load:
                assert list(load(make, 9)) == [None] * 9
                assert load.workers == workers
            threaded = 9 - module.TIMED_ITEMS if workers else 0
            assert made_by == [True] * (9 - threaded) + [False] * threaded

    def test_on_one_core_there_are_no_threads(self, monkeypatch):
        monkeypatch.setattr(module, "usable_cores", lambda: 1)
        with Loader() as load:
            list(load(lambda _: time.sleep(2 * module.WORTHWHILE_SECONDS), 5))
            assert load.workers == 0

    @pytest.mark.parametrize("workers", [None, 0, 2])
    def test_an_error_is_raised_at_its_item(self, workers):
        def make(index):
            if index == 5:
                raise KeyError("five")
            return index

        seen = []
        with pytest.raises(KeyError, match="five"), Loader(workers) as load:
            seen.extend(load(make, 9))
        assert alive() == []
        with Loader(workers) as load:
            items = load(make, 9)
            assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]

    def test_an_interrupt_ends_it_at_once(self):
        def make(index):
            if index == 3:
                signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else (
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                )
            time.sleep(0.01)
            return index

        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt), Loader(2) as load:
            list(load(make, 10_000))
        assert time.perf_counter() - began < 20  # all of them would take 50 s
        assert alive() == []

    def test_loader_threads_compute_with_one_thread_and_others_do_not_change(self):
        torch.set_num_threads(2)
        with Loader(2) as load:
            assert set(load(lambda _: torch.get_num_threads(), 8)) == {1}
            assert torch.get_num_threads() == 2
        seen = []
        late = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        late.start()
        late.join()
        assert seen == [2]


class Mean(nn.Module):
    """A step that fits a number to the mean of all that it is shown, so that each bit of a batch counts."""

    balance = None

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, batch, truth):
        means = [part[leaf].float().mean() for part in batch.values() for leaf in sorted(part) if leaf != "mask"]
        return {"head": (torch.stack(means).sum() - self.w).square()}, ModelOutput({}, None, self.w)


def augmented():
    draw = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 40 + i, 50), dtype=torch.uint8, generator=draw) for i in range(30)]
    clips = [(torch.randn(1, 4000 + 100 * i, generator=draw), 16_000) for i in range(30)]
    series = [torch.randn(5 + i, 2, generator=draw) for i in range(30)]
    inputs: dict[str, tuple[Transform, list[Any]]] = {
        "image": (ImageTransform(size=24, crop=0.3, flip=0.5, shift=2), [*images[:-1], None]),
        "sound": (MelTransform(time_mask=0.3, band_mask=0.3), [None, *clips[1:]]),
        "signal": (SeriesTransform(noise=0.1, time_mask=0.3), series),
    }
    for transform, values in inputs.values():
        transform.fit(values)
    ids = [str(i) for i in range(30)]
    moving = {name: Live(name, transform, values, ids) for name, (transform, values) in inputs.items()}
    return Dataset(30, moving, {"mask": torch.ones(30, dtype=torch.bool)})


def test_training_is_bitwise_the_same_without_threads_and_with_four():
    data = augmented()
    options = Training(epochs=3, min_steps=0, batch_size=8, patience=None)

    def trained(workers):
        step = Mean()
        found = fit(step, data, lambda: (0.0, {"w": step.w.item()}), options, seed=1, workers=workers)
        return found, step.w.item()

    alone, four = trained(0), trained(4)
    assert alone == four
    assert (alone[0].workers, four[0].workers) == (0, 4)
    for found, _ in (alone, four):
        assert 0 < found.loading < found.seconds


def test_no_thread_is_left_if_training_fails():
    class Broken(Mean):
        def forward(self, batch, truth):
            raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        fit(Broken(), augmented(), lambda: (0.0, {}), Training(epochs=1, min_steps=0, batch_size=4), seed=0, workers=3)
    assert alive() == []
