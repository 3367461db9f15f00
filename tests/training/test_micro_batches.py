"""A batch in parts gives the gradients, the loss and the weights of the whole batch, in float64."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features, Target
from mmkit.data.dataset import Dataset
from mmkit.data.packed import Packed
from mmkit.data.whole import Whole
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.heads.linear import LinearHead
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.model.network import Model, TrainingStep
from mmkit.plugin import FusionSpec
from mmkit.training.loop import fit
from mmkit.training.micro_batches import divisible, micro_batches, parts_of
from mmkit.training.optimisation import Training


class Encode(nn.Module):
    def __init__(self, norm=False):
        super().__init__()
        self.width = 5
        self.map = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5) if norm else nn.Identity())

    def forward(self, batch):
        tokens = self.map(batch["values"])
        penalty = tokens.square().sum(1)
        return Features.of(tokens, batch["mask"], penalties={"size": 0.1 * penalty})


def built(norm=False):
    torch.manual_seed(0)
    target = Target("classes", 3, ("a", "b", "c"))
    fusion = ConcatFusion({"a": 5, "b": 4}, width=6)
    model = Model({"a": Encode(norm), "b": nn.Identity()}, fusion, LinearHead(6, target, None))
    return TrainingStep(model).double()


def data(size=22):
    """One input as batches, of which some are missing, one as features of several lengths, and truth that lacks."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 4, (size,), generator=generator)
    packed = Packed.of(
        torch.randn(int(lengths.sum()), 4, generator=generator).double(),
        torch.cat((torch.zeros(1, dtype=torch.long), lengths.cumsum(0))),
        None,
    )
    values = torch.randn(size, 3, generator=generator).double()
    truth = {
        "label": torch.randint(3, (size,), generator=generator),
        "mask": torch.rand(size, generator=generator) > 0.3,
    }
    there = {"values": values, "mask": torch.rand(size, generator=generator) > 0.2}
    return Dataset(size, {"a": Whole(there), "b": packed}, truth)


def trained(micro, **options):
    step = built()
    training = Training(epochs=3, min_steps=0, batch_size=8, micro_batch=micro, clip=0.5, **options)
    return fit(step, data(), lambda: (0.0, {}), training, seed=0, start_counts=False), step


@pytest.mark.parametrize("micro", [1, 3, 4, 7])
def test_parts_give_the_weights_and_the_loss_of_the_whole_batch(micro):
    whole, parts = trained(None), trained(micro)
    for one, other in zip(whole[0].history, parts[0].history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)  # summed up in float32
    for (name, expected), found in zip(whole[1].named_parameters(), parts[1].parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9, msg=name)


def test_a_limit_above_the_batch_changes_nothing():
    whole, parts = trained(None), trained(8)
    assert whole[0].history == parts[0].history


@pytest.mark.parametrize(("size", "most", "sizes"), [(8, 3, [2, 3, 3]), (7, 7, [7]), (9, 8, [4, 5]), (5, None, [5])])
def test_parts_are_of_nearly_equal_size_and_in_order(size, most, sizes):
    features = Features.of(torch.arange(size * 2.0).view(size, 2), pooled=torch.ones(size, 2))
    batch = {"a": {"x": torch.arange(size), "mask": torch.ones(size, dtype=torch.bool)}, "b": features}
    parts = list(micro_batches(batch, {"mask": torch.ones(size, dtype=torch.bool)}, parts_of(size, most)))
    assert [len(truth["mask"]) for _, truth in parts] == sizes
    assert torch.cat([part["a"]["x"] for part, _ in parts]).tolist() == list(range(size))
    assert torch.equal(torch.cat([part["b"].tokens for part, _ in parts]), features.tokens)
    assert [len(part["b"].pooled) for part, _ in parts] == sizes


def test_what_looks_at_several_samples_at_once_is_noticed():
    assert divisible(built(), None)
    assert divisible(built(), FusionSpec("sum", "", ""))
    assert not divisible(built(), FusionSpec("compares", "", "", compares=True))
    assert not divisible(built(norm=True), None)
    masked = built()
    masked.model.encoders["a"].map[1] = MaskedBatchNorm(5)
    assert not divisible(masked, None)
    step = built()
    step.objectives["any"] = nn.Identity()
    assert not divisible(step, None)
