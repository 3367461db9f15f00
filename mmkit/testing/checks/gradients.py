"""Checks of what learns: every parameter, and every input."""

from __future__ import annotations

from typing import Any

from mmkit.errors import ContractError
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import comparable, expect_finite

BATCHES = 12
"""Over which gradients and changes are united: what is chosen by values may be chosen rarely, and a token for what is
missing is read where it is."""


def gradients(specimen: ModuleSpecimen) -> str | None:
    """Every parameter that is trained gets a finite gradient that is not zero, in one of a few batches."""
    waiting = {name for name, parameter in specimen.module.named_parameters() if parameter.requires_grad}
    if not waiting:
        return "it has no parameter to train"
    total = len(waiting)
    for seed in range(BATCHES):
        absent = {name: (i,) for i, name in enumerate(specimen.names)} if seed % 2 else {}
        _, found = specimen.differentiate(specimen.draw(6, seed=seed, absent=absent))
        expect_finite(found, f"gradient in batch {seed}")
        waiting -= {name for name in waiting if (gradient := found[name]) is not None and bool(gradient.any())}
        if not waiting:
            return None
    shown = ", ".join(sorted(waiting)[:5])
    raise ContractError(f"{len(waiting)} of {total} parameters get no gradient in {BATCHES} batches: {shown}")


def influence(specimen: Any) -> str | None:
    """Every input changes the result."""
    for name in specimen.names:
        if not any(_changes(specimen, name, seed) for seed in range(BATCHES)):
            what = "the sample" if isinstance(specimen, EncoderSpecimen) else f"input {name}"
            raise ContractError(f"the result does not change when {what} does")
    return None


def _changes(specimen: Any, name: str, seed: int) -> bool:
    """Whether other values of an input change the result of a few samples."""
    inputs, other = (specimen.draw(4, seed=at, ragged=False) for at in (seed, seed + BATCHES))
    before = comparable(specimen.independent(specimen.evaluate(inputs)))
    after = comparable(specimen.independent(specimen.evaluate(specimen.replaced(inputs, other, name))))
    change = [
        (before[part].double() - value.double()).abs().max().item() / max(value.double().abs().max().item(), 1e-12)
        for part, value in after.items()
        if value.numel() and value.shape == before[part].shape
    ]
    return max(change, default=0) >= 1e-6


def reach(specimen: ModuleSpecimen) -> str | None:
    """A gradient reaches every input, so that what stands before can learn; an objective's reaches the model."""
    _, found = specimen.differentiate(specimen.draw(6, ragged=False))
    reached = {place for place, gradient in found.items() if gradient is not None and bool(gradient.any())}
    inputs = {place for place in reached if place.startswith("input ")}
    if isinstance(specimen, ObjectiveSpecimen):
        if not inputs:
            raise ContractError("its loss gives no gradient to features, fused features or outputs")
        return None
    if getattr(getattr(specimen, "spec", None), "detaches", False):
        return "its spec says detaches=True: by design a gradient is stopped"
    for name in specimen.names:
        alone = len(specimen.names) == 1 and name == "features"
        begins = ("input 0.",) if alone else (f"input 0.{name}.", f"input 1.{name}.")
        if not any(place.startswith(begins) for place in inputs):
            raise ContractError(f"no gradient reaches input {name}: is it detached?")
    return None
