"""Joint pool (I2M2): the product of what each input says alone, and of what all say together.

Madaan, Makino, Chopra and Cho, "Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal Learning",
NeurIPS 2024, https://arxiv.org/abs/2405.17613. What differs: labels; the mean for scalars counts the inputs that are
there, and the joint prediction; the joint part has one hidden layer. As in the authors' code, the loss is that of the
whole alone: `--objective unimodal` adds one to each input's own prediction.

Axes: B batch, D an input's width, M inputs, H width between, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features, Target
from mmkit.layers.joint import JointHead
from mmkit.layers.vectors import complete, one_token, present


class JointPoolFusion(nn.Module):
    """The sum of the logits of all inputs' heads, and of a head over the joined features.

    Of scalars it is the mean of the values. A missing input is no factor, and adds nothing to the join. Where all
    inputs are missing, what remains is the joint part's constant.

    Args:
        widths: D of each input, by name.
        target: what is predicted.
        hidden: H, of the joint part.

    Raises:
        ValueError: the target is of a kind that has no such pool.
    """

    def __init__(self, widths: Mapping[str, int], target: Target, *, hidden: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(
                f"joint-pool multiplies predictions of classes or labels, or averages scalars; the target is "
                f"{target.kind!r}: take a fusion of features"
            )
        self.width = target.size
        self.inputs = tuple(widths)
        self.mean = target.kind == "scalar"
        self.joint = JointHead(widths, hidden, target.size)

    def forward(self, features: Mapping[str, Features], outputs: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model."""
        alone = [outputs[name].vector() for name in self.inputs]  # [B C] each, zero where missing, so no factor
        pooled = reduce(torch.add, alone, self.joint(features))
        if self.mean and complete(outputs, self.inputs):
            pooled = pooled / (len(alone) + 1)
        elif self.mean:
            pooled = pooled / (present(outputs, self.inputs).sum(1, keepdim=True) + 1)
        return one_token(pooled, outputs, self.inputs)
