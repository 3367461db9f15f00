"""MLA: inputs take turns, each with a step of its own, and the head keeps what it learned of the others.

Zhang, Yoon, Bansal and Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024,
https://arxiv.org/abs/2311.10707.

In a turn one input is there, and all others are missing: its encoder, and fusion and head, make a step by the loss of
that input alone. The gradient g [O H] of the head's weight that reads the fused features becomes g P, then P becomes
P - P r r^T P / (alpha + r^T P r), r [H] the mean of the fused features over the rows of the turn. So P r comes near to
zero, and a step changes little of what the head makes of features that it met before.

Differs from the paper and the published code:

- Any fusion of features, whose result of one input the head reads; there, features of one width go to the head as they
  are. In evaluation the fusion sees all inputs at once, as no turn did: mean, sum and modality-attention suit, and what
  learns how inputs act together does not. The paper's mean of outputs by their entropy is left out.
- P is of the turns before, since a gradient that is orthogonal to its own features teaches nothing of them. The
  published code takes the turn's own features first; what the paper means was not checked.
- P begins anew in each epoch, since encoders change; so alpha is one number. There, P is divided by its norm after each
  turn, and alpha falls from .1 to .01 in an epoch.
- Of what a fusion has for one input alone the gradient is zero in the turns of others, in which an optimiser that
  remembers moves it on. There, only encoders are of one input, and they rest.
- The first linear layer of the head that reads H numbers is projected, and none of its biases. An optimiser that scales
  each number by its own history, as Adam does, turns the step out of the projected direction.
- The published code divides by the matrix alpha + (P r) r^T, by which nothing is projected; and its head's weight is
  called `weight` where it looks for `module.weight`, so it never does so.

Axes: H fused width, O of the layer that is projected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Split, Target
from mmkit.errors import UsageError
from mmkit.layers.batch_sums import batch_sums


class Mla(nn.Module):
    """A turn an input, and a projection of the head's gradient.

    Args:
        widths: D by input.
        width: H.
        target: not read.
        alpha: the smaller it is, the less of what the head met before is changed.
    """

    projection: Tensor
    total: Tensor
    rows: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,
        target: Target,  # noqa: ARG002
        *,
        alpha: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        self.turns = tuple((name,) for name in sorted(widths))
        self.width = width
        self.alpha = alpha
        self.register_buffer("projection", torch.eye(width))
        self.register_buffer("total", torch.zeros(width))
        self.register_buffer("rows", torch.zeros(()))

    def epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:  # noqa: ARG002
        """Begin P anew."""
        self.projection.copy_(torch.eye(self.width))

    def weigh(
        self,
        losses: Mapping[str, Tensor],
        output: ModelOutput,
        truth: Batch,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """The losses as they are; the mean of the fused features is noted."""
        there = torch.stack([part.present() for part in output.features.values()]).any(0)  # [B]
        fused = output.fused.vector().detach().to(self.total.dtype)
        self.total.add_(fused.masked_fill(~there.unsqueeze(1), 0).sum(0))
        self.rows.add_(there.sum())
        return dict(losses)

    @torch.no_grad()
    def turned(self, turn: tuple[str, ...], head: nn.Module) -> None:  # noqa: ARG002
        """Project the gradient of the head, and add the turn's features to P.

        Raises:
            UsageError: the head has no linear layer that reads the fused features.
        """
        linear = (one for one in head.modules() if isinstance(one, nn.Linear))
        layer = next((one for one in linear if one.in_features == self.width), None)
        if layer is None:
            raise UsageError(
                f"balance mla projects a linear layer of the head that reads {self.width} numbers, and this head has "
                "none; choose head linear or mlp"
            )
        if layer.weight.grad is not None:
            layer.weight.grad.copy_(layer.weight.grad @ self.projection.to(layer.weight.grad.dtype))
        total, rows = batch_sums(self.total, self.rows)
        self.projection.copy_(less(self.projection, total / rows.clamp(min=1), self.alpha))
        self.total.zero_()
        self.rows.zero_()


def less(projection: Tensor, mean: Tensor, alpha: float) -> Tensor:
    """P - P r r^T P / (alpha + r^T P r) [H H].

    Args:
        projection: P [H H], symmetric.
        mean: r [H].
        alpha: above 0.
    """
    turned = projection @ mean
    return projection - torch.outer(turned, turned) / (alpha + (mean @ turned).clamp(min=0))
