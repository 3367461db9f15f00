"""MMPareto: of the fusion's gradient and that of an input's own head, a direction that hurts neither.

Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
https://arxiv.org/abs/2405.17730.

For each input, g is the gradient that comes through the fusion and h that of the loss of a head on the input. Where
they do not conflict (g.h >= 0) their weights are 1/2 each; else those of the least norm,
l = clip((h.h - g.h) / |g - h|^2, 0, 1). Of d = 2 l g + 2 (1 - l) h goes on d max(1, |g + h| / |d|) `scale`. So without
conflict it is `scale` (g + h), and with one it never makes either loss rise. Fusion and heads have the plain gradients.
Two copies of the method that others published read both gradients after both backward passes, where they are the same;
here each is taken for itself.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features, Target
from mmkit.layers.batch_sums import alone, batch_sums


class MmPareto(nn.Module):
    """MMPareto at the border: of the fusion's gradient and an input's own a direction that hurts neither, in one pass.

    Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
    https://arxiv.org/abs/2405.17730.

    Differs from the paper: g and h are gradients with respect to the features of the batch, not to the weights of the
    encoder. That is one backward pass in place of two, and works in any graph. It bounds the published form from above,
    as MGDA-UB does (Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
    https://arxiv.org/abs/1810.04650): of two gradients of the features that do not conflict, those of the weights may.

    Args:
        widths: D of each input, by name.
        width: not read.
        target: not read.
        scale: of the joined gradient; gamma in the paper.
    """

    def __init__(
        self,
        widths: Mapping[str, int],  # noqa: ARG002
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        scale: Annotated[float, Gt(0)] = 1.5,
    ) -> None:
        super().__init__()
        self.scale = scale

    def split(self, features: Mapping[str, Features]) -> tuple[dict[str, Features], dict[str, Features]]:
        """The features for the fusion, and for the heads; their gradients are joined where they meet."""
        pairs = {name: _parted(features[name], self.scale) for name in features}
        return {name: of[0] for name, of in pairs.items()}, {name: of[1] for name, of in pairs.items()}


class MmParetoWeights(nn.Module):
    """MMPareto as published: of the two gradients of an encoder's weights a direction that hurts neither.

    Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
    https://arxiv.org/abs/2405.17730.

    Of the losses all but those of the inputs' heads count as the model's. It takes two backward passes a step. Of a
    batch that passes in parts (`train.micro_batch`), each part has a direction of its own.

    Args:
        widths: D by input.
        width: not read.
        target: not read.
        scale: of the joined gradient; gamma in the paper.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        scale: Annotated[float, Gt(0)] = 1.5,
    ) -> None:
        super().__init__()
        self.own = {f"balance.{name}" for name in widths}
        self.scale = scale

    def backward(self, losses: Mapping[str, Tensor], parameters: Mapping[str, Sequence[Tensor]]) -> None:
        """Two backward passes, joined for each encoder."""
        encoders = [one for of in parameters.values() for one in of]
        before = [one.grad for one in encoders]
        found = []
        for own in (False, True):
            for one in encoders:
                one.grad = None
            chosen = [loss for name, loss in losses.items() if (name in self.own) == own]
            torch.stack(chosen).sum().backward(retain_graph=not own)
            found.append({id(one): torch.zeros_like(one) if one.grad is None else one.grad for one in encoders})
        with torch.no_grad():
            for of in filter(None, parameters.values()):
                g, h = (torch.cat([each[id(one)].flatten() for one in of]) for each in found)
                whole = batch_sums(g, h)  # of all processes, each of which adds its share
                factors = joined(whole[0], whole[1], self.scale).to(g.dtype)
                for one, part in zip(of, (factors[0] * g + factors[1] * h).split([p.numel() for p in of]), strict=True):
                    one.grad = part.view_as(one).clone()
            for one, gradient in zip(encoders, before, strict=True):
                if gradient is not None and one.grad is not None:
                    one.grad += gradient


def joined(g: Tensor, h: Tensor, scale: float) -> Tensor:
    """The share of h and g in what goes on, as their two factors [2]: `factors[0] * g + factors[1] * h`.

    Args:
        g: flat gradient that comes through the fusion.
        h: flat gradient of the loss of the input's head.
        scale: gamma.
    """
    with alone():
        return joined_rows(g, h, scale)


def joined_rows(g: Tensor, h: Tensor, scale: float) -> Tensor:
    """As `joined`, of gradients with respect to features, of which each process has those of its rows."""
    kind = torch.promote_types(g.dtype, torch.float32)  # their squares are beyond half precision
    g, h = g.to(kind), h.to(kind)
    (size,) = batch_sums(g.square().sum() + h.square().sum())
    size = size.sqrt().clamp(min=torch.finfo(kind).tiny)
    g, h = g / size, h / size
    gg, hh, gh = batch_sums(g @ g, h @ h, g @ h)
    tiny = torch.finfo(kind).eps
    least = ((hh - gh) / (gg + hh - 2 * gh).clamp(min=tiny)).clamp(0, 1)
    share = torch.where(gh >= 0, 0.5, least)
    factors = torch.stack([2 * share, 2 - 2 * share])
    norm = (factors[0].square() * gg + factors[1].square() * hh + 2 * factors[0] * factors[1] * gh).clamp(min=0)
    plain = (gg + hh + 2 * gh).clamp(min=0)
    # Of two that cancel out there is no direction, and nothing goes on.
    longer = torch.where(norm > tiny, (plain / norm.clamp(min=tiny)).sqrt(), 1.0).clamp(min=1)
    return scale * longer * factors


def _parted(features: Features, scale: float) -> tuple[Features, Features]:
    pooled = [] if features.pooled is None else [features.pooled]
    parts = [features.tokens, *pooled, *features.inner.values()]
    out: tuple[Tensor, ...] = _Meeting.apply(scale, *parts)  # type: ignore[no-untyped-call]  # torch's own
    return _side(features, out[: len(parts)]), _side(features, out[len(parts) :])


def _side(features: Features, parts: Sequence[Tensor]) -> Features:
    """The features of these parts.

    What is not there has a gradient, too: a mean passes one to padding. Masked, it has none, and none is counted.
    """
    tokens, *rest = parts
    pooled = None if features.pooled is None else rest.pop(0)
    inner = dict(zip(features.inner, rest, strict=True))
    found = Features.of(tokens, features.mask, pooled, features.penalties, features.details, inner)
    return replace(found, complete=features.complete)


class _Meeting(torch.autograd.Function):
    """Tensors twice; of the two gradients of all of them together goes on what `joined` says."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scale: float, *parts: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG004 (read by `setup_context`)
        return tuple(part.clone() for part in (*parts, *parts))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        ctx.scale = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        half = len(gradients) // 2
        left, right = gradients[:half], gradients[half:]
        factors = joined_rows(
            torch.cat([part.flatten() for part in left]), torch.cat([part.flatten() for part in right]), ctx.scale
        )
        return None, *((factors[0] * g + factors[1] * h).to(g.dtype) for g, h in zip(left, right, strict=True))
