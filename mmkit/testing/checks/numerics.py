"""Checks of numbers: gradients against differences, large inputs, and one sign in training and in evaluation.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.errors import ContractError
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import comparable, expect_finite, expect_same, floats_to, leaves, mapped

STEP = 1e-7
"""Of a difference, in float64: so small that it passes few kinks of rectified units."""
SCALE = 100.0
"""Of inputs that are large; the exponential of what they lead to is infinite in float32."""
CALLS = 100
"""After which nothing has changed."""
PASSES = 8
"""Of training, whose mean is compared: dropout is drawn in each."""


def derivative(specimen: ModuleSpecimen) -> str | None:
    """Its gradients are those of what it computes: in float64 they agree with differences, for parameters and inputs.

    Along one random direction of each input and of all parameters together. Losses and penalties are left out: they may
    stop a gradient on purpose.
    """
    if getattr(getattr(specimen, "spec", None), "detaches", False):
        return "its spec says detaches=True: by design a gradient is stopped"
    module = specimen.fresh().double().eval()
    inputs = floats_to(specimen.differentiable(specimen.draw(4)), torch.float64)
    inputs = mapped(inputs, lambda t: t.detach().clone().requires_grad_(t.requires_grad))
    places: dict[str, list[Tensor]] = {f"input {p}": [t] for p, t in leaves(inputs) if t.requires_grad}
    if any(p.requires_grad for p in module.parameters()):
        places["the parameters"] = [p for p in module.parameters() if p.requires_grad]
    if not places:
        return "it has nothing to differentiate"
    for place, tensors in places.items():
        failures = [_off(specimen, module, inputs, tensors, seed) for seed in range(2)]
        if all(failures):  # at a kink one direction may be wrong by chance
            raise ContractError(f"along a direction of {place} {failures[0]}: is a part of it detached?")
    return None


def _off(
    specimen: ModuleSpecimen, module: nn.Module, inputs: tuple[Any, ...], tensors: list[Tensor], seed: int
) -> str | None:
    generator = Generator().manual_seed(seed)
    ways = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in tensors]
    padding = {id(m.weight): m.padding_idx for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    for tensor, way in zip(tensors, ways, strict=True):
        if padding.get(id(tensor)) is not None:  # the row of padding is not trained
            way[padding[id(tensor)]] = 0
    score = _score(specimen, module, inputs)
    found = torch.autograd.grad(score, tensors, allow_unused=True) if score.requires_grad else [None] * len(tensors)
    expected = sum(float((g * way).sum()) for g, way in zip(found, ways, strict=True) if g is not None)
    scores = []
    with torch.no_grad():
        for sign in (1, -1):
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.add_(way, alpha=sign * STEP)
            scores.append(float(_score(specimen, module, inputs)))
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.sub_(way, alpha=sign * STEP)
    measured = (scores[0] - scores[1]) / (2 * STEP)
    allowed = 1e-3 * max(abs(measured), abs(expected)) + 1e-7 * max(1.0, abs(scores[0]))
    if not abs(measured - expected) <= allowed:  # NaN is not
        return f"the gradient says {expected:.4g} and the difference {measured:.4g}"
    return None


def _score(specimen: ModuleSpecimen, module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """Features and outputs with random weights, without losses, penalties and predictions."""
    outputs = specimen.captured(module, inputs)
    kept = {name: value for name, value in outputs.items() if name not in {"loss", "prediction"}}
    total, generator = torch.zeros((), dtype=torch.float64), Generator().manual_seed(1)
    for place, tensor in leaves(kept):
        if tensor.is_floating_point() and "penalties" not in place:
            total = total + (tensor * torch.randn(tensor.shape, generator=generator).to(tensor.dtype)).sum()
    return total


def large_numbers(specimen: ModuleSpecimen) -> str | None:
    """Inputs a hundred times as large give finite results and gradients: no exponential is taken as it comes."""
    inputs = specimen.draw(4, absent={specimen.names[0]: (2,)})
    large = len(inputs) if isinstance(specimen, FusionSpecimen) else 1  # what stands beside it is truth
    scaled = (*mapped(inputs[:large], lambda t: t * SCALE if t.is_floating_point() else t), *inputs[large:])
    expect_finite(specimen.evaluate(scaled), f"inputs times {SCALE:g}, in evaluation")
    outputs, gradients = specimen.differentiate(scaled)
    expect_finite(outputs, f"inputs times {SCALE:g}, in training")
    expect_finite(gradients, f"inputs times {SCALE:g}, gradient")
    return None


def one_sign(specimen: ModuleSpecimen) -> str | None:
    """Features and outputs of training point where those of evaluation do."""
    inputs = specimen.draw(6)
    module = specimen.fresh()
    expected = _features(specimen.evaluate(inputs, module))
    module.train()
    with torch.no_grad():
        passes = [_features(specimen.call(module, inputs)) for _ in range(PASSES)]
    for place, value in expected.items():
        mean = torch.stack([found[place].double() for found in passes]).mean(0).flatten()
        cosine = torch.nn.functional.cosine_similarity(mean, value.double().flatten(), dim=0).item()
        if cosine < -0.5:
            raise ContractError(
                f"{place} of training is opposite to that of evaluation: the mean of {PASSES} passes has a cosine of "
                f"{cosine:.2g} with it"
            )
    return None


def _features(outputs: Mapping[str, Any]) -> dict[str, Tensor]:
    kept = {name: value for name, value in outputs.items() if name not in {"loss", "prediction"}}
    found = comparable(kept).items()
    return {place: tensor.detach() for place, tensor in found if tensor.is_floating_point() and tensor.numel()}


def lasting(specimen: ModuleSpecimen) -> str | None:
    """After a hundred calls it gives what it gave at first, in evaluation."""
    inputs, module = specimen.draw(1), specimen.fresh()
    expected = specimen.evaluate(inputs, module)
    module.eval()
    with torch.no_grad():
        for _ in range(CALLS):
            specimen.captured(module, inputs)
    expect_same(specimen.evaluate(inputs, module), expected, f"after {CALLS} calls", tolerance=0)
    return None
