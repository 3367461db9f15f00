"""Batch normalisation under a mask.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, https://arxiv.org/abs/1502.03167.

Axes: B batch, D channels, T steps, ... further positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.layers.batch_sums import batch_sums


class MaskedBatchNorm(nn.Module):
    """Normalises each channel over the real positions of the batch in training, by running statistics in evaluation.

    Without padding it equals `nn.BatchNorm1d` or `2d`. Padding and missing rows have no influence, as long as their
    values are finite. A batch without a real position leaves the running statistics unchanged. One position is enough.
    Processes that share a batch count all of it.

    Args:
        width: D.
        momentum: weight of the newest batch in the running statistics.
        eps: added to the variance.

    >>> MaskedBatchNorm(64)(torch.rand(8, 64, 49), torch.ones(8, 49, dtype=torch.bool)).shape
    torch.Size([8, 64, 49])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B D ...] from values [B D ...] with `mask` [B], or from [B D T ...] with `mask` [B T]."""
        if not self.training:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        # Plain sums and one multiply-add: masking every position, and torch.var_mean, cost several times as much on a
        # CPU. The sums are in the precision of the statistics, so that autocast does not round them; a mean of
        # theirs is taken away before anything is squared, since squares of values far from zero would cancel. Which
        # mean that is changes nothing but rounding, so it needs no gradient.
        precise = values.to(self.running_mean.dtype)
        real = mask.to(precise.dtype)
        inner = list(range(mask.ndim + 1, values.ndim))  # positions that share one entry of the mask
        count = mask.sum() * math.prod(values.shape[mask.ndim + 1 :])
        far, count = batch_sums(_total(precise.detach(), inner, real), count)
        divisor = count.clamp(min=1)
        far = far / divisor  # [D]
        shape = (1, -1, *[1] * (values.ndim - 2))
        near = precise - far.view(shape)
        total, squares = batch_sums(_total(near, inner, real), _total(near.square(), inner, real))
        left = total / divisor  # [D]: the mean of what is near
        var = (squares / divisor - left.square()).clamp(min=0)
        with torch.no_grad():
            share = self.momentum * (count > 0).to(left.dtype)
            self.running_mean.add_(share * (far + left - self.running_mean))
            self.running_var.add_(share * (var * (divisor / (count - 1).clamp(min=1)) - self.running_var))
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - left * scale
        return torch.addcmul(shift.view(shape), near, scale.view(shape)).to(values.dtype)


def _total(values: Tensor, inner: list[int], real: Tensor) -> Tensor:
    """[D]: sums of [B D ...] over real positions. Not a matrix product, which autocast would round."""
    if inner:
        values = values.sum(inner)  # [B D] or [B D T]
    return (values * real.unsqueeze(1)).sum((0, *range(2, values.ndim)))
