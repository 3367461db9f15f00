"""Stacking, against sums written out, and against the pool that it begins as."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.log_pool import LogPoolFusion
from mmkit.fusions.outputs.stacking import StackingFusion


@pytest.fixture
def outputs(case):
    features = {
        name: Features.of(torch.randn(case.batch, 3, dtype=torch.float64) * 4, each.present())
        for name, each in case.features.items()
    }
    return type(case)(dict.fromkeys(case.widths, 3), features)


@pytest.mark.parametrize("kind", ["classes", "labels", "scalar"])
def test_it_is_a_linear_layer_over_predictions_and_flags(outputs, perturbed, same, kind):
    fusion = perturbed(StackingFusion(outputs.widths, Target(kind, 3)))
    expected = []
    for sample in range(outputs.batch):
        numbers, flags = [], []
        for name in outputs.widths:
            vector = outputs.vector(name, sample)
            if vector is None:
                numbers += [0.0] * 3
            elif kind == "classes":
                total = sum(math.exp(float(v)) for v in vector)
                numbers += [float(v) - math.log(total) for v in vector]
            else:
                numbers += vector.tolist()
            flags.append(float(vector is not None))
        row = torch.tensor(numbers + flags, dtype=torch.float64)
        expected.append(torch.stack([(w * row).sum() + b for w, b in zip(fusion.weight, fusion.bias, strict=True)]))
    same(fusion(outputs.features).vector(), expected)


def test_it_begins_as_the_mean_of_the_logarithms():
    widths, target = dict.fromkeys("abc", 4), Target("classes", 4)
    features = {name: Features.of(torch.randn(6, 4, dtype=torch.float64)) for name in widths}
    found = StackingFusion(widths, target).double()(features).vector()
    pooled = LogPoolFusion(widths, target, weights="mean")(features).vector()
    torch.testing.assert_close(found.softmax(1), pooled.softmax(1))


@pytest.mark.parametrize("inputs", [1, 2, 3, 5])
def test_the_number_of_its_parameters(inputs):
    fusion = StackingFusion({f"i{i}": 10 for i in range(inputs)}, Target("classes", 10))
    assert sum(p.numel() for p in fusion.parameters()) == (inputs * 10 + inputs) * 10 + 10


@pytest.mark.parametrize("detach", [True, False])
def test_it_leaves_the_heads_alone_unless_told_otherwise(detach):
    fusion = StackingFusion({"a": 3, "b": 3}, Target("classes", 3), detach=detach)
    outputs = {name: Features.of(torch.randn(4, 3, requires_grad=True)) for name in "ab"}
    fused = fusion(outputs).vector()
    (fused.square().sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in fusion.parameters())
    reached = torch.autograd.grad(
        fusion(outputs).vector().square().sum(), [o.tokens for o in outputs.values()], allow_unused=True
    )
    assert all((gradient is None) is detach for gradient in reached)


def test_what_has_no_predictions_to_combine_is_refused():
    with pytest.raises(ValueError, match="the target is 'text': take a fusion of features"):
        StackingFusion({"a": 9}, Target("text", 9))
    with pytest.raises(ValueError, match="each output has the target's size, 3"):
        StackingFusion({"a": 4}, Target("classes", 3))
