"""The first step of AdamW, seen on each weight: the rate it had, and the decay.

Loshchilov and Hutter, algorithm 2: at the first step m / sqrt(v) is the gradient's sign, so a weight moves by its rate
whatever the gradient; where the gradient is zero it only shrinks, by rate times decay.
"""

import math

import pytest
import torch
from torch import nn

from mmkit.contract import ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.whole import Whole
from mmkit.pretrained.tuning import Tuned
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training, learning_rate_share

BLOCKS = ("blocks.0", "blocks.1", "blocks.2")
OPTIONS = {"epochs": 1, "min_steps": 0, "batch_size": 8, "lr": 0.02, "tune_lr": 1e-3, "clip": None}
SHARE = learning_rate_share(0, 1, 0.1)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)) for _ in range(3))
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)


class Step(nn.Module):
    balance = None

    def __init__(self, tune, scale=1.0, **options):
        super().__init__()
        self.tuned = Tuned(Backbone(), tune, blocks=BLOCKS, after=("norm",), **options)
        self.head = nn.Linear(6, 1)
        self.scale = scale

    def forward(self, batch, truth):
        loss = self.head(self.tuned(batch["x"]["x"])).sub(3).square().mean()
        return {"head": self.scale * loss}, ModelOutput({}, None, loss)


def stepped(tune, scale=1.0, *, training=None, **options):
    """Name -> each weight before and after one step."""
    torch.manual_seed(0)
    step = Step(tune, scale, **options)
    with torch.no_grad():
        for p in step.parameters():  # no zero among them, so that decay shows
            if p.requires_grad:
                p.add_(0.3)
    before = {name: p.detach().clone() for name, p in step.named_parameters()}
    mask = torch.ones(8, dtype=torch.bool)
    data = Dataset(8, {"x": Whole({"x": torch.randn(8, 4), "mask": mask})}, {"mask": mask})
    fit(step, data, lambda: (0.0, {}), Training(**{**OPTIONS, **(training or {})}), seed=0)
    return {name: (before[name], p.detach()) for name, p in step.named_parameters()}


def depth(name):
    if name.startswith("tuned.backbone.norm"):
        return 0
    return 3 - int(name.split(".")[3]) if ".blocks." in name else 4


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_in_full_each_block_moves_by_its_own_rate(decay):
    for name, (before, after) in stepped(
        "full", training={"weight_decay": 0.0, "tune_weight_decay": 0.0}, decay=decay
    ).items():
        rate = 0.02 if name.startswith("head") else 1e-3 * decay ** depth(name)
        moved = (after - before).abs()
        assert moved.max() == pytest.approx(rate * SHARE, rel=1e-2), name


def test_in_part_the_last_blocks_move_and_the_others_stay():
    for name, (before, after) in stepped(
        "partial:2", training={"weight_decay": 0.0, "tune_weight_decay": 0.0}, decay=0.5
    ).items():
        rate = 0.02 if name.startswith("head") else 1e-3 * 0.5 ** depth(name) if depth(name) < 3 else 0.0
        assert (after - before).abs().max() == pytest.approx(rate * SHARE, rel=1e-2), name


def test_adapters_move_ten_times_as_far_in_every_block():
    pytest.importorskip("peft")
    found = stepped("lora", 1e4, training={"weight_decay": 0.0, "tune_weight_decay": 0.0}, rank=2, decay=0.5)
    moved = {name: float((after - before).abs().max()) for name, (before, after) in found.items()}
    adapters = {name for name in moved if "lora_" in name}
    assert len(adapters) == 6  # two a block
    assert [moved[name] for name in adapters] == pytest.approx([1e-2 * SHARE] * 6, rel=1e-2)
    assert {name for name, far in moved.items() if far} == adapters | {"head.weight", "head.bias"}


def test_of_pretrained_weights_matrices_decay_and_norms_and_biases_do_not():
    training = {"tune_weight_decay": 0.25, "weight_decay": 0.5}
    for name, (before, after) in stepped("full", scale=0.0, training=training, decay=0.5).items():
        if name.startswith("head"):
            factor = 1 - 0.02 * SHARE * 0.5
        else:
            factor = 1 - 1e-3 * 0.5 ** depth(name) * SHARE * (0.25 if before.ndim == 2 else 0.0)
        torch.testing.assert_close(after, before * factor, rtol=1e-6, atol=0)


def test_the_phase_of_tuning_has_options_of_its_own():
    given = Training(epochs=40, lr=0.01, tune_head_lr=1e-3)
    tuning = given.tuning(divisible=True)
    assert (tuning.epochs, tuning.min_steps, tuning.lr, tuning.micro_batch, tuning.average) == (10, 0, 1e-3, 8, 3)
    assert given.tuning(divisible=False).micro_batch is None
    assert Training(micro_batch=5, average=1).tuning(divisible=False).micro_batch == 5
    assert Training(average=1).tuning(divisible=True).average == 1
    assert Training(epochs=3).tuning(divisible=True).epochs == 3
    assert Training(epochs=3, tune_epochs=20).tuning(divisible=True).epochs == 20
    assert Training(lr=0.01, probe=False).tuning(divisible=True).lr == 0.01
    assert math.isclose(tuning.tune_lr, given.tune_lr)
