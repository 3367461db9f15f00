"""Energy ranking: of two samples, an input is surer of the one whose own loss was smaller so far.

Zhang, Wu, Zhang, Hu, Fu, Zhou and Peng, "Provable Dynamic Fusion for Low-Quality Multimodal Data", ICML 2023,
https://arxiv.org/abs/2306.02050; Moon, Kim, Shin and Hwang, "Confidence-Aware Learning for Deep Neural Networks", ICML
2020, https://arxiv.org/abs/2007.01458. The ranking is that of the second, by losses in place of how often a sample was
right, as in the first. The first's code was read, and neither paper. What differs from it: the gap of the losses is
asked for, as in the second's form, and not allowed for; a sample's loss is the mean over the times that it was seen,
and not the sum, so that samples drawn more often are no worse; missing inputs.

    k_im = mean over the epochs so far of CE(o_im, y_i), by the range of these means over all samples seen
    sum_m max(0, sign(k_im - k_jm) (c_im - c_jm) + |k_im - k_jm|), j the next sample of the batch

Axes: B batch, M inputs, N samples of the training split, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import wide

LEAST = 1e-6
"""Of the range of the losses."""
BATCH = 64
"""Samples of a batch for which the size of a block is best: B of them and N / B blocks are looked at."""


class EnergyRankingObjective(nn.Module):
    """For each input, a hinge on the confidences of neighbours in the batch that both have it.

    It reads the details `confidence.INPUT` of the fused features, as the fusion `energy` gives them. In training it
    notes the loss of each sample by its place in the training split, before it compares. A sample that was never seen,
    or whose place is not told, as outside of training, has no loss. The range of the means is that of this moment, to
    the bit: the highest and the lowest of each block of samples are kept, and a step looks at the blocks of its batch
    alone.

    Args:
        weight: factor of this loss, which is added to the loss of the head and to those of the inputs' heads.

    Raises:
        ValueError: the target is no class.
    """

    losses: Tensor
    visits: Tensor
    highest: Tensor
    lowest: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(f"confidences are ranked by the losses of classes; the target is {target.kind!r}")
        self.inputs = tuple(widths)
        self.weight = weight
        self.register_buffer("losses", torch.zeros(target.samples, len(widths)))
        self.register_buffer("visits", torch.zeros(target.samples, len(widths)))
        self.block = max(1, math.isqrt(target.samples // BATCH))
        blocks = -(-target.samples // self.block)
        self.register_buffer("highest", torch.full((blocks, len(widths)), -torch.inf))
        self.register_buffer("lowest", torch.full((blocks, len(widths)), torch.inf))

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing; `truth` has the leaf `index` in training."""
        known = truth["mask"]
        if "index" not in truth:
            return torch.zeros_like(model_output.output[:, 0])
        index = torch.where(known, truth["index"], 0)
        shown = [model_output.shown(name) & known for name in self.inputs]
        there = torch.stack(shown, 1)  # [B M]
        if self.training:
            with torch.no_grad():
                self._note(model_output, truth, index, there)
        mean, seen = self._means(index)  # [B M]
        high, low = self.highest.amax(0), self.lowest.amin(0)
        own = mean / torch.where(high >= low, high - low, 1).clamp(min=LEAST)
        compared = there & seen
        compared = compared & compared.roll(-1, 0)
        gap = own - own.roll(-1, 0)
        told = torch.stack([wide(model_output.fused.details[f"confidence.{name}"]) for name in self.inputs], 1)
        hinge = (gap.sign() * (told - told.roll(-1, 0)) + gap.abs()).relu()
        return self.weight * torch.where(compared, hinge, 0).sum(1)

    def _note(self, model_output: ModelOutput, truth: Batch, index: Tensor, there: Tensor) -> None:
        """Add the losses of the batch to those of its samples."""
        label = torch.where(truth["mask"], truth["label"], 0).unsqueeze(1)
        chances = [wide(model_output.unimodal[name]).log_softmax(1).gather(1, label) for name in self.inputs]
        loss = torch.where(there, -torch.cat(chances, 1), 0)
        self.losses.index_add_(0, index, loss.to(self.losses.dtype))
        self.visits.index_add_(0, index, there.to(self.visits.dtype))
        block = index // self.block  # [B]
        mates = block.unsqueeze(1) * self.block + torch.arange(self.block, device=index.device)
        mean, seen = self._means(mates.clamp(max=len(self.losses) - 1))  # [B block M]
        self.highest.index_copy_(0, block, mean.masked_fill(~seen, -torch.inf).amax(1))
        self.lowest.index_copy_(0, block, mean.masked_fill(~seen, torch.inf).amin(1))

    def _means(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """[... M]: the mean losses of samples at places [...], and whether they were ever seen."""
        visits = self.visits[places]
        return self.losses[places] / visits.clamp(min=1), visits > 0
