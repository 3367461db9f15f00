"""Batch normalisation that counts only what is there.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, https://arxiv.org/abs/1502.03167.

Axes: B batch, D channels, ... positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedBatchNorm(nn.Module):
    """Normalises each channel by the real positions of the batch in training, by running statistics in evaluation.

    With everything real it is `nn.BatchNorm`. Padding and missing rows count for nothing, whatever finite values they
    hold; a batch without a real position leaves the running statistics alone; one position is allowed.

    Args:
        width: D.
        momentum: share of the newest batch in the running statistics.
        eps: added to the variance.
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
        """[B D ...] from values [B D ...]; `mask` [B] or [B ...] says which positions are real."""
        if not self.training:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        real = mask.view(mask.shape[0], 1, *mask.shape[1:], *[1] * (values.ndim - mask.ndim - 1))  # [B 1 ...]
        dims = [0, *range(2, values.ndim)]
        zeroed = values.masked_fill(~real, 0).to(self.running_mean.dtype)
        everything = values.numel() // values.shape[1]
        count = mask.sum() * (everything // mask.numel())
        # Moments over all positions, zeros included, give those over the real ones; where all is real, exactly.
        ratio = everything / count.clamp(min=1)
        var_all, mean_all = torch.var_mean(zeroed, dims, correction=0)
        mean = mean_all * ratio
        var = (ratio * (var_all - (ratio - 1) * mean_all.square())).clamp(min=0)
        with torch.no_grad():
            weight = self.momentum * (count > 0)
            unbiased = var * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, weight.to(mean.dtype))
            self.running_var.lerp_(unbiased, weight.to(mean.dtype))
        scale = self.weight * torch.rsqrt(var + self.eps)
        shape = (1, -1, *[1] * (values.ndim - 2))
        return torch.addcmul((self.bias - mean * scale).view(shape), zeroed, scale.view(shape)).to(values.dtype)
