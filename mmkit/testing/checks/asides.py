"""The check of what a transform has beside `fit` and a call, where it has it."""

from __future__ import annotations

from typing import Any

from torch import Generator

from mmkit.errors import ContractError
from mmkit.testing.checks.alike import alike
from mmkit.testing.specimens.encoder import EncoderSpecimen


def transform_asides(specimen: EncoderSpecimen) -> str | None:
    """Where it has `told`, `spans` or `example`, they say of values what the contract says, and raise nothing."""
    transform: Any = specimen.transform
    has = [name for name in ("told", "spans", "example") if hasattr(transform, name)]
    if not has:
        return "its transform has none of told, spans and example"
    values = specimen.values(6)
    if "told" in has and not isinstance(said := transform.told([*values, None]), str):
        raise ContractError(f"told gives {said!r:.60}; it is a text, empty where all of the values is read")
    for value in values if "spans" in has else ():
        _spans(transform, value)
    if "example" in has:
        _example(transform)
    return None


def _spans(transform: Any, value: Any) -> None:
    """Check that each real token of a text has its place in it."""
    places = transform.spans(value)
    if places is None:
        return
    real = int(transform([value])["mask"].sum())
    if len(places) != real:
        raise ContractError(f"spans gives {len(places)} places of {value!r:.60}, which has {real} real tokens")
    for place in places:
        start, end = place
        if not 0 <= start <= end <= len(value):
            raise ContractError(f"spans gives the place {place} of {value!r:.60}, which has {len(value)} characters")


def _example(transform: Any) -> None:
    """Check that an example hangs on the generator alone, and is a value that the transform takes."""
    first, again = (transform.example(Generator().manual_seed(3)) for _ in range(2))
    if not alike(first, again):
        raise ContractError("generators of one seed give two different examples")
    if not bool(transform([first])["mask"].any()):
        raise ContractError(f"its example {first!r:.60} is missing where it transforms it")
