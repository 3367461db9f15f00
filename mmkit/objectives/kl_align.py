"""KL alignment: softmaxes over the features of two inputs of a sample become alike, without any pair to push apart.

Tang et al., "Bag of Tricks for Multimodal AutoML with Image, Text, and Tabular Data", 2024,
https://arxiv.org/abs/2412.16243. Its form is from the code of AutoGluon-Multimodal, which was read
(autogluon/autogluon, multimodal/optim/lit_module.py, `positive_only`); the paper's abstract alone was. What differs:
pairs of a sample that lacks one of them are left out, and each sample takes the mean over its own; random maps that
are never trained bring inputs of different widths to one, since learned ones would meet the loss at once, by becoming
constant.

Axes: B batch, D an input's width, S width in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, pairs, wide
from mmkit.layers.random_projection import RandomProjection


class KlAlignObjective(nn.Module):
    """The mean over ordered pairs of inputs of KL(softmax(x_i) || softmax(x_j)), which is 0 where all are alike.

    Of each two it is half of sum_d (p_d - q_d) (log p_d - log q_d). A sample with fewer than two inputs loses nothing,
    and no sample sees another. It has no parameters, so it acts on encoders alone: where all are frozen it changes
    nothing.

    Args:
        space: S, the width to which random maps bring all inputs; none compares features as they are, which then have
            one width.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs, or `space=none` and their widths differ.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        space: Annotated[int, Gt(1)] | None = 64,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        check_pairs(widths, "kl-align")
        self.inputs = tuple(widths)
        if space is None and len(set(widths.values())) > 1:
            shown = ", ".join(f"{name} {d}" for name, d in widths.items())
            raise ValueError(f"space=none compares features of one width; they have {shown}: give a space, as 64")
        self.projections = nn.ModuleList(
            nn.Identity() if space is None else RandomProjection(d, space) for d in widths.values()
        )
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], zero where fewer than two inputs are there."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() for f in features]  # [B] each
        logs = [
            project(wide(f.vector())).log_softmax(1) for project, f in zip(self.projections, features, strict=True)
        ]  # [B S] each
        shares = [log.exp() for log in logs]
        total = logs[0].new_zeros(len(present[0]))
        count = logs[0].new_zeros(len(present[0]))
        for a, b, both in pairs(present):
            apart = 0.5 * ((shares[a] - shares[b]) * (logs[a] - logs[b])).sum(1)
            total = total + torch.where(both, apart, 0)
            count = count + both
        return self.weight * total / count.clamp(min=1)
