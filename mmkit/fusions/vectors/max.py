"""Elementwise maximum of one linear projection for each input.

Su, Maji, Kalogerakis and Learned-Miller, "Multi-view Convolutional Neural Networks for 3D Shape Recognition", ICCV
2015, https://arxiv.org/abs/1505.00880, which takes the maximum over views of an object. What differs: inputs of
different kinds are projected first.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, cast

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import one_token, there


class MaxFusion(nn.Module):
    """Each input has its own linear projection; the maximum is taken over the inputs that are present.

    A missing input counts as -inf. Where all inputs are missing, the result is zero.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]; its mask is False where all inputs are missing."""
        masks = {name: there(features[name]) for name in self.project if not features[name].complete}  # [B 1] each
        if len(masks) < len(self.project):  # then no row is without an input
            return one_token(self._largest(features, masks), features, self.project)
        some = reduce(torch.logical_or, masks.values())
        # Where all are missing all are read, so that nothing is infinite, and the result is masked.
        largest = self._largest(features, {name: mask | ~some for name, mask in masks.items()})
        return Features(masked(largest, some).unsqueeze(1), some)

    def _largest(self, features: Mapping[str, Features], masks: Mapping[str, Tensor]) -> Tensor:
        """[B H], the maximum over the inputs where their mask, if they have one, is True."""
        found = []
        for name, part in self.project.items():
            linear, vector = cast(nn.Linear, part), features[name].vector()
            if name in masks:
                bias = linear.bias + masks[name].to(linear.bias.dtype).log()  # a missing vector is zero: -inf is left
                found.append(torch.addmm(bias, vector, linear.weight.t()))
            else:
                found.append(linear(vector))
        return reduce(torch.maximum, found)
