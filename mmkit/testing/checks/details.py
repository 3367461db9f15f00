"""The checks of what fusions say beside their features: details (gates, attention, weights), and remarks.

Axes: B batch, T tokens, H width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.trees import expect_finite, expect_same, rows

COUNT = 4


def details(specimen: FusionSpecimen) -> str | None:
    """Details are [B ...], each row its own; they are given where they are asked for, and change no feature."""
    inputs = specimen.draw(COUNT, absent={specimen.names[-1]: (2,)})
    module = specimen.fresh()
    asked = [part for part in module.modules() if isinstance(getattr(part, "detailed", None), bool)]
    plain = _features(specimen, module, inputs)
    if asked and plain.details:
        raise ContractError(f"it gives {_listed(plain.details)} while `detailed` is False; leave it out then")
    for part in asked:
        part.detailed = True  # type: ignore[assignment]
    told = _features(specimen, module, inputs)
    if not told.details:
        if asked:
            raise ContractError("it has `detailed`, and gives no details where that is True")
        return "it gives no details"
    without = {"tokens": plain.tokens, "mask": plain.mask, "vector": plain.vector()}
    expect_same({"tokens": told.tokens, "mask": told.mask, "vector": told.vector()}, without, "with details")
    _expect_details(told.details, inputs[0])
    expect_finite(dict(told.details), "in details")
    for some in ([0], [1, 2, 3]):
        apart = _features(specimen, module, rows(inputs, some)).details
        expect_same(
            dict(apart), rows(dict(told.details), some), f"details of rows {some} of {COUNT} without the others"
        )
    return None


def remarks(specimen: FusionSpecimen) -> str | None:
    """Remarks are a list of sentences, of shapes alone: the same for other samples of these shapes."""
    say = getattr(specimen.fresh(), "remarks", None)
    if say is None:
        return "it has no remarks"
    for short in (False, True):
        said = [say(_shortened(specimen.draw(COUNT, seed=seed, ragged=False)[0], short=short)) for seed in (0, 8)]
        for found in said:
            if not isinstance(found, list) or not all(isinstance(line, str) and line for line in found):
                raise ContractError(f"its remarks are {found!r} in place of a list of sentences")
        if said[0] != said[1]:
            raise ContractError(f"its remarks hang on values: {said[0]} of one batch, {said[1]} of another")
    return None


def _shortened(given: Mapping[str, Features], *, short: bool) -> dict[str, Features]:
    """The same, or the first token of each input alone."""
    return {n: Features.of(f.tokens[:, :1], f.mask[:, :1]) if short else f for n, f in given.items()}


def _features(specimen: FusionSpecimen, module: nn.Module, inputs: tuple[Any, ...]) -> Features:
    found = specimen.evaluate(inputs, module)
    features: Features = found["fused"]
    return features


def _listed(details: Mapping[str, object]) -> str:
    return ", ".join(map(repr, details))


def _expect_details(found: Mapping[str, Tensor], given: Mapping[str, Features]) -> None:
    for name, detail in found.items():
        if not isinstance(detail, Tensor) or detail.ndim < 1 or detail.shape[0] != COUNT:
            got = list(detail.shape) if isinstance(detail, Tensor) else type(detail).__name__
            raise ContractError(f"detail {name} is {got} instead of [{COUNT} ...], a row for each sample")
    for name, detail in found.items():
        kind, _, of = name.partition(".")
        if of and of not in given:
            raise ContractError(f"detail {name} is of no input; there are {', '.join(given)}")
        if kind in {"gate", "weight"} and not bool(((detail >= 0) & (detail <= 1)).all()):
            raise ContractError(f"detail {name} is not from 0 to 1")
        if kind == "attention" and detail.shape != given[of].mask.shape:
            raise ContractError(f"detail {name} is {list(detail.shape)} instead of {list(given[of].mask.shape)}")
    _expect_shares("the attention that all tokens get", [found[n].sum(1) for n in found if n.startswith("attention.")])
    _expect_shares("the weight of all inputs", [found[n] for n in found if n.startswith("weight.")])


def _expect_shares(what: str, shares: Sequence[Tensor]) -> None:
    if not shares:
        return
    total = torch.stack(list(shares)).sum(0)  # [B ...]
    if not torch.allclose(total, torch.ones_like(total), atol=1e-4):
        raise ContractError(f"{what} sums to {total.flatten()[:COUNT].tolist()} in place of 1")
