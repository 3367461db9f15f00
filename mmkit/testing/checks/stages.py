"""The checks of what goes on within encoders: their places, and the fusions that act there.

Axes: B batch, T tokens, D' width at a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.layers.parts import in_turn
from mmkit.layers.places import within
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.trees import copied, expect_same


def stages(specimen: EncoderSpecimen) -> str | None:
    """An encoder with `inner` gives by its parts what its `forward` gives, and takes what is put at its places."""
    module: Any = specimen.fresh().eval()
    if not getattr(module, "inner", ()):
        return "it has no places within"
    inputs = specimen.draw(4, absent=specimen.all_absent(2))
    with torch.no_grad():
        expected = module(copied(inputs)[0])
        expect_same(in_turn(module, copied(inputs)[0]), expected, "by begin, stage and finish")
        for place, width in enumerate(module.inner):
            _place(module, copied(inputs)[0], place, width, expected)
    return None


def _place(module: Any, batch: Mapping[str, Any], place: int, width: int, expected: Features) -> None:
    state = _until(module, batch, place)
    seen: Features = module.get(state)
    if not isinstance(seen, Features) or seen.tokens.shape[:2] != seen.mask.shape or seen.width != width:
        raise ContractError(
            f"at place {place} inner says width {width}, and get gives {_shape(seen)}; it gives Features, "
            "[B T D'] tokens with a mask [B T]"
        )
    if not torch.equal(seen.present(), expected.present()):
        raise ContractError(f"at place {place} other rows are missing than in its features: get gives another mask")
    given = Features.of(seen.tokens, seen.mask)
    same = _rest(module, module.put(state, given), place)
    expect_same(same, expected, f"with what get gave put back at place {place}")
    changed = given.tokens.clone()
    changed[0] = changed[0] * -1.5 + 0.3  # of one row alone
    found = _rest(module, module.put(_until(module, batch, place), Features.of(changed, seen.mask)), place)
    if torch.equal(found.vector()[0], expected.vector()[0]):
        raise ContractError(f"what is put at place {place} changes nothing behind it")
    expect_same(
        Features.of(found.tokens[1:], found.mask[1:]),
        Features.of(expected.tokens[1:], expected.mask[1:]),
        f"in rows beside the one that was changed at place {place}",
    )


def _until(module: Any, batch: Mapping[str, Any], place: int) -> Any:
    state = module.begin(copied(batch))
    for number in range(place + 1):
        state = module.stage(number, state)
    return state


def _rest(module: Any, state: Any, place: int) -> Features:
    for number in range(place + 1, len(module.inner)):
        state = module.stage(number, state)
    found: Features = module.finish(state)
    return Features.of(found.tokens, found.mask, found.pooled)


def exchange(specimen: FusionSpecimen) -> str | None:
    """What a fusion gives at a place has shape and mask of what is there; what `forward` reads of it is in `inner`."""
    if not specimen.spec.inner:
        return "its spec names no inner level"
    module: nn.Module = specimen.fresh().eval()
    if getattr(module, "places", ()) and not within(module):
        return "with these options it acts behind the encoders alone"
    if not within(module):
        raise ContractError(
            'its spec says inner="exchange", and its attribute places names none within encoders that have one; it is '
            "the places at which exchange is called, counted from the end, 2 being before the last part"
        )
    (given,) = specimen.draw(4, absent=specimen.all_absent(2))
    with torch.no_grad():
        changed = module.exchange(2, given)  # type: ignore[operator]  # the contract says so
    for name, features in changed.items():
        if name not in given:
            raise ContractError(f"exchange gives {name}, and was shown {', '.join(given)}")
        if features.tokens.shape != given[name].tokens.shape or not torch.equal(features.mask, given[name].mask):
            raise ContractError(
                f"exchange gives {_shape(features)} of {name}, or another mask; what stands there is "
                f"{_shape(given[name])}, which the rest of its encoder needs"
            )
        for key, state in features.inner.items():
            if state.shape[:1] != features.mask.shape[:1]:
                raise ContractError(f"exchange gives inner[{key!r}] {list(state.shape)} of {name}; it is [B ...]")
    _expect_details_unread(specimen, module, given)
    return None


def _expect_details_unread(specimen: FusionSpecimen, module: nn.Module, given: Mapping[str, Features]) -> None:
    """What is computed with may not be in `details`, which neither a balance method nor mixup changes."""
    rule = "exchange gives `details` that forward reads; what it computes with is in `inner`"
    found = specimen.behind(module, given)
    if not any(part.details for part in found.values()):
        return
    with torch.no_grad():
        expected = module(found)
        try:
            without = module({name: replace(part, details={}) for name, part in found.items()})
        except KeyError as error:
            raise ContractError(f"{rule}: without them it raised KeyError: {error}") from error
    expect_same(without, expected, rule)


def _shape(features: Any) -> str:
    return str(list(features.tokens.shape)) if isinstance(features, Features) else type(features).__name__
