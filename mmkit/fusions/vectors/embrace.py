"""EmbraceNet: in training each number of the fused vector is taken from one input, drawn at random.

Choi and Lee, "EmbraceNet: A Robust Deep Learning Architecture for Multimodal Classification", Information Fusion 2019,
https://arxiv.org/abs/1904.09078.

    d_m = relu(W_m x_m + b_m)    training: y_j = d_ij, the input i drawn with probability p_i, for each j apart
                                 evaluation: y = sum_m p_m d_m

What differs: the paper draws in evaluation too. Here evaluation gives the mean of what is drawn, so that one sample has
one answer. The paper is handed probabilities; here they are equal, or learned.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import complete, one_token, present, projected


class EmbraceFusion(nn.Module):
    """Projections of all inputs, mixed number by number: by chance in training, by the mean in evaluation.

    A missing input has probability zero, and the others share what it had. Where all inputs are missing, the result is
    zero. A draw gives no gradient to its probabilities: learned ones get that of the mean.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        probabilities: of each input to be drawn: equal, or learned, one number an input.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        probabilities: Literal["equal", "learned"] = "equal",
    ) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        learned = probabilities == "learned" and len(widths) > 1  # one input has nothing to be weighed against
        self.scores = nn.Parameter(torch.zeros(len(widths))) if learned else None

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        docked = [each.relu() for each in projected(features, self.project, 0.0)]  # [B H] each, 0 where it is missing
        if not self.training and self.scores is None:  # the mean over those that are there, by one division
            total = reduce(torch.add, docked)
            return one_token(total / self._count(features), features, self.project)
        chances = self._chances(features, docked[0])
        if not self.training:
            return one_token(_mean(chances, docked), features, self.project)
        fused = _drawn(chances, docked)
        if self.scores is not None:
            fused = fused + _mean([chance - chance.detach() for chance in chances], [each.detach() for each in docked])
        return one_token(fused, features, self.project)

    def _count(self, features: Mapping[str, Features]) -> Tensor | int:
        """[B 1], how many inputs are there, at least 1; or the number of all."""
        if complete(features, self.project):
            return len(self.project)
        return present(features, self.project).sum(1, keepdim=True).clamp(min=1)

    def _chances(self, features: Mapping[str, Features], like: Tensor) -> list[Tensor]:
        """The probability of each input, [B 1] or []; of the inputs that are there, their sum is 1."""
        if complete(features, self.project):
            if self.scores is None:
                return [like.new_full((), 1 / len(self.project))] * len(self.project)
            return list(self.scores.softmax(0).unbind(0))
        there = present(features, self.project)  # [B M]
        if self.scores is None:
            chances = there.to(like.dtype) / self._count(features)
        else:
            chances = there * self.scores.masked_fill(~there, torch.finfo(self.scores.dtype).min).softmax(1)
        return list(chances.to(like.dtype).split(1, 1))


def _mean(chances: list[Tensor], docked: list[Tensor]) -> Tensor:
    """[B H]: each input by its probability."""
    return reduce(torch.add, [chance * each for chance, each in zip(chances, docked, strict=True)])


def _drawn(chances: list[Tensor], docked: list[Tensor]) -> Tensor:
    """[B H]: of each number one input's, whose part of the unit interval a uniform draw falls into.

    The parts lie one after the other, and that of a missing input is empty.
    """
    ends = [part.detach() for part in _running(chances)]
    drawn = torch.rand_like(docked[0]) * ends[-1]  # the sum of all is 1 but for rounding
    fused = docked[0]
    for begin, each in zip(ends[:-1], docked[1:], strict=True):
        fused = torch.where((drawn >= begin) & (begin < ends[-1]), each, fused)
    return fused


def _running(parts: list[Tensor]) -> list[Tensor]:
    found = [parts[0]]
    for part in parts[1:]:
        found.append(found[-1] + part)
    return found
