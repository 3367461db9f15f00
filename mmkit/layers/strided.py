"""Strided convolution that is right for maps of one column, and the mask of what it gives.

Axes: B batch, C channels, T steps, ... positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def strided(convolution: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """`convolution(x)` of an odd kernel with half of it as padding.

    Along an axis of `x` [B C ...] that is no longer than the stride one position results. There the convolution is done
    with stride 1, and its first position taken: torch 2.11 gives gradients that are uninitialised memory where the
    stride passes the end, in bfloat16 on a CPU (https://github.com/pytorch/pytorch/pull/188426). An exported graph has
    no gradients, and must not hang on the length.
    """
    if torch.compiler.is_exporting():
        return convolution(x)
    short = [size <= step for size, step in zip(x.shape[2:], convolution.stride, strict=True)]
    stride = [1 if one else step for one, step in zip(short, convolution.stride, strict=True)]
    convolve = F.conv1d if isinstance(convolution, nn.Conv1d) else F.conv2d
    found: Tensor = convolve(x, convolution.weight, convolution.bias, stride, convolution.padding)
    for axis, one in enumerate(short, 2):
        if one:
            found = found.narrow(axis, 0, 1)
    return found


def every(mask: Tensor, step: int) -> Tensor:
    """[B T'], each `step`-th of a mask [B T], from the first.

    A copy, as the strides of a view would tie an exported graph to even or to odd lengths.
    """
    return mask.index_select(1, torch.arange(0, mask.shape[1], step, device=mask.device))
