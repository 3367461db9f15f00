"""The loop: repeatable, best epoch kept, options that do what they say."""

import itertools
import math
from typing import ClassVar

import pytest
import torch
from torch import nn

from mmkit.contract import ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.readings import Live
from mmkit.data.sampling import augmentation, class_weights, epoch_order
from mmkit.data.whole import Whole
from mmkit.errors import MmkitError
from mmkit.system.progress import Progress
from mmkit.training import loop
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training, learning_rate_share
from mmkit.training.state import snapshot


class Line(nn.Module):
    """A step that fits y = w x, with w kept where a test can see it."""

    balance = None

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.drop = nn.Dropout(0.5)

    def forward(self, batch, truth):
        error = self.drop(batch["x"]["x"]) * self.w - truth["values"]
        return {"head": error.square().mean()}, ModelOutput({}, None, error)


def line(size=16, **truth):
    x = torch.linspace(-1, 1, size)
    mask = torch.ones(size, dtype=torch.bool)
    return Dataset(size, {"x": Whole({"x": x, "mask": mask})}, {"values": 3 * x, "mask": mask, **truth})


def run(seed=0, scores=None, data=None, **options):
    step = Line()
    seen = []

    def validate():
        seen.append(step.w.item())
        return (scores[len(seen) - 1] if scores else -abs(step.w.item() - 3)), {"w": step.w.item()}

    training = Training(**{"epochs": 5, "min_steps": 0, "batch_size": 4, "lr": 0.1, **options})
    return fit(step, data or line(), validate, training, seed=seed), step, seen


def test_the_same_seed_gives_bitwise_the_same_weights():
    one = run(seed=3)
    torch.rand(11)
    two = run(seed=3)
    assert one[0] == two[0]
    assert one[1].w.item() == two[1].w.item()
    assert run(seed=4)[2] != one[2]


def test_the_weights_of_the_best_epoch_are_kept():
    trained, step, seen = run(scores=[1, 5, 2, 5, 3])
    assert trained.best == 2  # the first of the best
    assert step.w.item() == seen[1]
    assert [entry["epoch"] for entry in trained.history] == [1, 2, 3, 4, 5]


def test_patience_ends_training_without_improvement():
    trained, _, _ = run(scores=[1, 2, 1, 1, 1], patience=2)
    assert len(trained.history) == 4
    trained, _, _ = run(scores=[1, 2, 1, 3, 1], patience=2)
    assert len(trained.history) == 5
    trained, _, _ = run(scores=[5, 4, 3, 2, 1], patience=None)
    assert (len(trained.history), trained.best) == (5, 1)


def test_an_epoch_without_a_score_is_never_the_best():
    trained, step, seen = run(scores=[-math.inf, -7, -math.inf, -math.inf, -math.inf])
    assert (trained.best, step.w.item()) == (2, seen[1])


def test_training_without_any_score_is_an_error():
    with pytest.raises(MmkitError, match="validation gave no score in any of 3 epochs, so there is no best one"):
        run(scores=[-math.inf] * 5, patience=3)


def test_progress_is_reported_after_each_epoch():
    class Told(Progress):
        updates: ClassVar = []

        def update(self, what, done, total=None):
            self.updates.append((what, done, total))

    fit(Line(), line(), lambda: (0.0, {}), Training(epochs=2, min_steps=0), seed=0, progress=Told())
    assert Told.updates == [("epochs", 1, 2), ("epochs", 2, 2)]


class Noted:
    """A transform that writes down the seeds of the generators that it is handed."""

    augments = True

    def __init__(self):
        self.seeds = []

    def __call__(self, values, generator=None):
        self.seeds.append(generator.initial_seed())
        return {"x": torch.tensor(values), "mask": torch.ones(len(values), dtype=torch.bool)}


class TestAugmentation:
    def test_the_augmentation_of_a_batch_does_not_depend_on_other_batches(self):
        places = [(seed, epoch, batch) for seed in (0, 1) for epoch in (1, 2) for batch in (0, 1)]
        forth = {place: torch.rand(3, generator=augmentation(*place)) for place in places}
        torch.rand(7)
        back = {place: torch.rand(3, generator=augmentation(*place)) for place in reversed(places)}
        assert all(torch.equal(forth[place], back[place]) for place in places)

    def test_no_two_batches_have_the_same_augmentation(self):
        seeds = [0, 1, 2, 2**20, 2**31, 2**40]
        drawn_from = {augmentation(*p).initial_seed() for p in itertools.product(seeds, range(1, 30), range(30))}
        assert len(drawn_from) == len(seeds) * 29 * 30

    def test_each_batch_of_training_gets_its_own_generator(self):
        noted = Noted()
        still = line(6)
        values = torch.linspace(-1, 1, 6).tolist()
        moving = Dataset(6, {"x": Live("x", noted, values, list("abcdef"))}, still.truth)
        run(seed=5, data=moving, epochs=2)
        expected = [augmentation(5, epoch, batch).initial_seed() for epoch in (1, 2) for batch in (0, 1)]
        assert noted.seeds == expected


def test_a_small_split_is_trained_on_for_at_least_min_steps():
    assert Training(epochs=2, min_steps=10, batch_size=4).plan(9) == (4, 3)
    assert Training(epochs=9, min_steps=10, batch_size=4).plan(9) == (9, 3)
    assert len(run(epochs=1, min_steps=12, patience=None)[0].history) == 3


def test_a_loss_that_is_not_finite_is_an_error_with_advice():
    with pytest.raises(MmkitError, match=r"the loss became inf in epoch 1; try a lower --lr"):
        run(data=line(values=torch.full((16,), 1e30)))
    with pytest.raises(MmkitError, match=r"the loss became nan in epoch 1; try a lower --lr"):
        run(data=line(values=torch.full((16,), math.nan)))


def test_clipping_bounds_the_step_of_plain_gradients():
    # AdamW's first step is lr whatever the gradient; what clipping changes is the gradient itself.
    step, data = Line(), line()
    fit(step, data, lambda: (0.0, {}), Training(epochs=1, min_steps=0, batch_size=16, clip=1e-3), seed=0)
    assert step.w.grad.abs().item() <= 1e-3 * (1 + 1e-5)
    free = Line()
    fit(free, data, lambda: (0.0, {}), Training(epochs=1, min_steps=0, batch_size=16, clip=None), seed=0)
    assert free.w.grad.abs().item() > 1e-2


def test_the_rate_warms_up_then_falls_along_a_cosine():
    found = [learning_rate_share(step, 20, 0.2) for step in range(20)]
    assert found[:4] == [pytest.approx((k + 1) / 5) for k in range(4)]
    assert found[4:] == [pytest.approx(0.5 * (1 + math.cos(math.pi * k / 16))) for k in range(16)]
    assert [learning_rate_share(step, 4, 0.0) for step in range(2)] == [
        1.0,
        pytest.approx(0.5 * (1 + math.cos(math.pi / 4))),
    ]


def test_each_step_has_its_scheduled_learning_rate(monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "learning_rate_share", lambda *of: (asked.append(of), learning_rate_share(*of))[1])
    run(epochs=3, warmup=0.25)
    assert asked == [(step, 12, 0.25) for step in range(12)]


def test_the_first_step_of_adamw_equals_the_learning_rate():
    # Whatever the gradient: m / sqrt(v) is 1 at the first step (Loshchilov and Hutter, algorithm 2), and w is 0.
    _, _, (after,) = run(epochs=1, batch_size=16, lr=0.1, warmup=1.0)
    assert after == pytest.approx(0.1 * learning_rate_share(0, 1, 1.0), rel=1e-4)


@pytest.mark.parametrize("warmup", [0.0, 0.07, 0.5, 1.0])
def test_the_rate_rises_to_one_peak_and_is_never_zero_nor_above_one(warmup):
    found = [learning_rate_share(step, 37, warmup) for step in range(37)]
    assert all(0 < r <= 1 for r in found)
    highest = found.index(max(found))
    assert found[: highest + 1] == sorted(found[: highest + 1])
    assert found[highest:] == sorted(found[highest:], reverse=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_forward_pass_runs_in_the_given_precision_and_weights_stay_float32(precision):
    class Seen(Line):
        def forward(self, batch, truth):
            self.dtype = (batch["x"]["x"][:, None] @ self.w[:, None]).dtype
            return super().forward(batch, truth)

    step = Seen()
    training = Training(epochs=20, min_steps=0, batch_size=4, lr=0.1)
    trained = fit(step, line(), lambda: (-abs(step.w.item() - 3), {}), training, seed=0, precision=precision)
    assert (step.dtype, step.w.dtype) == (getattr(torch, precision), torch.float32)
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


class TestBalanced:
    def test_classes_are_sampled_equally_often(self):
        label = torch.tensor([0] * 90 + [1] * 9 + [2])
        weights = class_weights({"label": label, "mask": torch.ones(100, dtype=torch.bool)})
        counts = label[epoch_order(30_000, weights, torch.Generator().manual_seed(0))].bincount()
        # Each is binomial (30000, 1/3), of deviation 82: six of them are one in 10^8.
        assert all(abs(int(count) - 10_000) < 6 * 82 for count in counts)

    def test_of_several_labels_the_rarest_counts_and_none_has_some_weight(self):
        labels = torch.tensor([[1.0, 0], [1, 0], [1, 1], [0, 0]])
        weights = class_weights({"labels": labels})
        assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1 / 4])

    def test_numbers_cannot_be_balanced(self):
        with pytest.raises(MmkitError, match="sampler=balanced needs classes or labels"):
            run(sampler="balanced")

    def test_without_weights_every_sample_is_used_once(self):
        assert epoch_order(9, None, torch.Generator()).sort().values.tolist() == list(range(9))


def test_a_snapshot_copies_trained_parameters_only():
    step = nn.ModuleDict({"still": nn.Linear(2, 2).requires_grad_(requires_grad=False), "moving": nn.Linear(2, 2)})
    step["tied"] = step["still"]
    taken = snapshot(step)
    with torch.no_grad():
        step["moving"].weight.add_(1)
    for name, tensor in step.state_dict().items():
        assert (taken[name].data_ptr() == tensor.data_ptr()) == ("moving" not in name)
    assert not torch.equal(taken["moving.weight"], step["moving"].weight)
