"""The check of encoders that say `rowwise`, whose batches the core may show in groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.trees import expect_same, leaves, rows


def rowwise(specimen: EncoderSpecimen) -> str | None:
    """Where an encoder says `rowwise`, no row depends on its mates in training either; dropout is switched off."""
    if not getattr(specimen.module, "rowwise", False):
        return "it does not say rowwise"
    module = specimen.fresh().train()
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001
            part.p = 0.0
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0  # type: ignore[assignment]
    inputs = specimen.draw(4, absent=specimen.all_absent(2))
    together, again = _trained(specimen, module, inputs, 0), _trained(specimen, module, inputs, 1)
    if any(not torch.equal(one, other) for (_, one), (_, other) in zip(leaves(together), leaves(again), strict=True)):
        return "it draws random numbers beside dropout"
    for chosen in ([0, 3], [1, 2]):  # two each, since statistics of one row alone end in an error of torch
        apart = _trained(specimen, module, rows(inputs, chosen), 0)
        expect_same(apart, rows(together, chosen), f"in training, rows {chosen} of 4 without the others")
    return None


def _trained(specimen: EncoderSpecimen, module: nn.Module, inputs: tuple[Any, ...], seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return specimen.independent(specimen.call(module, inputs))
