"""Batch norms of torch, of pretrained backbones, that count the rows which are there, of all processes of a training.

A missing input passes through a backbone as some value, and must not move the statistics of the others; encoders that
start from random weights have `MaskedBatchNorm` for it. Batch norms of libraries (with an activation behind them, as in
timm) keep their forward pass: only the function in it that normalises is another.

Axes: B batch, D channels, ... further positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from mmkit.layers.batch_sums import batch_sums, shared


def norms_in(module: nn.Module) -> list[_BatchNorm]:
    """The batch norms of torch in a module."""
    return [one for one in module.modules() if isinstance(one, _BatchNorm)]


class Counted:
    """The forward pass of a batch norm; in evaluation, and where there is nothing to be left out, its own.

    Args:
        norm: the batch norm; `norm.forward = Counted(norm)` installs it.
        rows: [B] bool, those that are there; None counts all.
    """

    def __init__(self, norm: _BatchNorm, rows: Tensor | None = None) -> None:
        self.norm = norm
        self.rows = rows

    def __call__(self, values: Tensor) -> Tensor:
        """[B D ...] from [B D ...]."""
        own: Callable[..., Tensor] = type(self.norm).forward
        if not self.norm.training or (self.rows is None and not shared()):
            return own(self.norm, values)
        with _Normalising(self.rows):
            return own(self.norm, values)


class _Normalising(TorchFunctionMode):
    """Inside, `batch_norm` counts the rows that are there."""

    def __init__(self, rows: Tensor | None) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return (
            _batch_norm(self.rows, *args, **(kwargs or {})) if func is F.batch_norm else func(*args, **(kwargs or {}))
        )


def _batch_norm(
    rows: Tensor | None,
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(values, running_mean, running_var, weight, bias, eps=eps)
    precise = values.to(torch.promote_types(values.dtype, torch.float32))
    over = [0, *range(2, values.ndim)]
    shape = (1, -1, *[1] * (values.ndim - 2))
    positions = values[0, 0].numel()
    if rows is None:
        there, count = precise.new_ones(()), torch.tensor(len(values) * positions, device=values.device)
    else:
        there, count = rows.to(precise.dtype).view(-1, *[1] * (values.ndim - 1)), rows.sum() * positions
    total, count = batch_sums((precise * there).sum(over), count)
    divisor = count.clamp(min=1)
    mean = total / divisor
    centred = precise - mean.view(shape)  # squares of values far from zero would cancel
    (squares,) = batch_sums((centred.square() * there).sum(over))
    var = squares / divisor
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            share = momentum * (count > 0).to(running_mean.dtype)
            running_mean.add_(share * (mean.to(running_mean.dtype) - running_mean))
            running_var.add_(share * ((var * (divisor / (count - 1).clamp(min=1))).to(running_var.dtype) - running_var))
    found = centred * torch.rsqrt(var + eps).view(shape)
    if weight is not None and bias is not None:
        found = torch.addcmul(bias.view(shape), found, weight.view(shape))
    return found.to(values.dtype)
