"""Gradient-Blending: the losses of the fusion and of each input are weighted by how well each generalises.

Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020,
https://arxiv.org/abs/1905.12681.

The loss of the model and those of a head an input, K = 1 + M together, are weighted by w_k = (G_k / O_k^2) / sum. Over
the last `every` epochs G_k is by how much the loss fell on validation, and O_k by how much its distance to that on
training grew. Until then all weigh 1 / K.

Differs from the paper: the losses are those of the model that is being trained, in evaluation, and not of copies that
are trained for each weighing, which would cost K + 1 trainings (the paper's online form trains such copies from the
running model). A loss that rose on validation (G <= 0) has weight 0, O^2 is at least 1e-4, and where no loss fell all
weigh the same; the published code of others takes |G|, by which a loss that rises gets weight. It reads validation, as
the choice of the best epoch does, and test never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Split, Target

LEAST = 1e-4
"""Of O^2."""


class GradientBlending(nn.Module):
    """Weights of losses, found anew every few epochs.

    Args:
        widths: D by input.
        width: not read.
        target: not read.
        every: epochs between two weighings.
    """

    weights: Tensor
    before: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        every: Annotated[int, Gt(0)] = 10,
    ) -> None:
        super().__init__()
        self.names = ["head", *(f"balance.{name}" for name in sorted(widths))]
        self.every = every
        self.register_buffer("weights", torch.full((len(self.names),), 1 / len(self.names)))
        self.register_buffer("before", torch.zeros(2, len(self.names)))

    def epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:
        """Measure the losses on train and validation, where it is time, and weigh them by what changed since."""
        if (number - 1) % self.every:
            return
        measured = [measure("train"), measure("validation")]
        now = self.before.new_tensor([[losses[name] for name in self.names] for losses in measured])
        if number > 1:
            gain = self.before[1] - now[1]
            gap = (now[1] - now[0]) - (self.before[1] - self.before[0])
            self.weights.copy_(blend(gain, gap))
        self.before.copy_(now)

    def weigh(
        self,
        losses: Mapping[str, Tensor],
        output: ModelOutput,  # noqa: ARG002
        truth: Batch,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """The losses, weighted."""
        weights = dict(zip(self.names, self.weights.unbind(), strict=True))
        return {name: weights[name] * loss if name in weights else loss for name, loss in losses.items()}


def blend(gain: Tensor, gap: Tensor) -> Tensor:
    """The weights [K], which sum to 1.

    Args:
        gain: G [K], by how much each loss fell on validation.
        gap: O [K], by how much its distance to that on training grew.
    """
    shares = gain.clamp(min=0) / gap.square().clamp(min=LEAST)
    total = shares.sum()
    return torch.where(total > 0, shares / total.clamp(min=torch.finfo(shares.dtype).tiny), 1 / len(gain))
