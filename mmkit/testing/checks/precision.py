"""Checks of other number formats than float32."""

from __future__ import annotations

import torch

from mmkit.errors import ContractError
from mmkit.testing.checks.construction import expect_shapes
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_finite, expect_same, floats_to, leaves


def autocast(specimen: ModuleSpecimen) -> str | None:
    """Under bf16 autocast results and gradients are finite, in training and in evaluation."""
    inputs = specimen.draw(4, absent=specimen.all_absent(1))
    with torch.autocast("cpu", torch.bfloat16):
        outputs, gradients = specimen.differentiate(inputs)
        expect_shapes(specimen, outputs, 4, "in training")
        expect_shapes(specimen, specimen.evaluate(inputs), 4, "in evaluation")
    expect_finite(gradients, "gradient")
    return None


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
