"""Checks of other number formats than float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import ContractError
from mmkit.testing.checks.construction import expect_shapes
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_finite, expect_same, floats_to, leaves

NEAR = 0.25
"""Of the mean size: what half precision may lose."""


def autocast(specimen: ModuleSpecimen) -> str | None:
    """Under bf16 and f16 autocast all is finite, gradients too, and of evaluation near to what float32 gives."""
    inputs = specimen.draw(4, absent=specimen.all_absent(1))
    module = specimen.fresh()
    expected = dict(leaves(specimen.evaluate(inputs, module)))
    _near(specimen, module, inputs, expected, torch.bfloat16)
    try:
        _near(specimen, module, inputs, expected, torch.float16)
    except RuntimeError as error:  # f16 is for accelerators: a CPU has not all of its kernels
        if "primitive" not in str(error) and "not implemented for 'Half'" not in str(error):
            raise
    return None


def _near(
    specimen: ModuleSpecimen,
    module: nn.Module,
    inputs: tuple[Any, ...],
    expected: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> None:
    name = "bf16" if dtype == torch.bfloat16 else "f16"
    with torch.autocast("cpu", dtype):
        found = specimen.evaluate(inputs, module)
        expect_shapes(specimen, found, 4, f"{name} in evaluation")
        outputs, gradients = specimen.differentiate(inputs)
        expect_shapes(specimen, outputs, 4, f"{name} in training")
    expect_finite(gradients, f"{name}: gradient")
    for place, tensor in leaves(found):
        other = expected[place]
        if not tensor.is_floating_point() or tensor.shape != other.shape or not tensor.numel():
            continue
        off, size = (tensor.float() - other).abs().mean().item(), other.abs().mean().item()
        if not off <= NEAR * size + 1e-3:  # NaN is not
            raise ContractError(f"{name}: {place} is off by {off:.3g} on average; in float32 it is {size:.3g}")


def float64(specimen: ModuleSpecimen) -> str | None:
    """In float64 it gives float64, and what float32 gives up to rounding: no dtype is written down inside."""
    inputs = specimen.draw(4)
    expected = specimen.evaluate(inputs, specimen.fresh())  # the shared one has seen training
    found = specimen.evaluate(floats_to(inputs, torch.float64), specimen.fresh().double())
    for place, tensor in leaves(found):
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise ContractError(f"{place} is {tensor.dtype}; make new tensors in the dtype of inputs or parameters")
    expect_same(found, expected, "in float64", tolerance=1e-3)
    return None
