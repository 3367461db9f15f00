"""Fusion within encoders: they stop at their places, and a fusion reads and changes what stands there.

Places are counted from the end. At 1 are the features of the encoders, which every fusion gets in its forward; at 2 is
what stands before the last part of an encoder, and so on: encoders of unequal depth meet where they end. An encoder
without places is run first, whole, and its features are shown at each place of the others, to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mmkit.contract import Features
from mmkit.data.readings import InputBatch
from mmkit.layers.places import within

Masked = Callable[[Features], Features]


def inner_widths(encoder: nn.Module) -> tuple[int, ...]:
    """The widths at the places within an encoder, from its beginning; empty where it has none, or learns nothing."""
    return () if getattr(encoder, "frozen", False) else tuple(getattr(encoder, "inner", ()))


def encoded_together(
    encoders: Mapping[str, Any],
    batches: Mapping[str, InputBatch],
    fusion: Any,
    whole: Callable[[str, InputBatch], Features],
    masked: Masked,
) -> dict[str, Features]:
    """The features of each input, where a fusion acts between the parts of their encoders.

    Args:
        encoders: by input.
        batches: by input.
        fusion: with `places` and `exchange`.
        whole: the features of one input, encoded alone.
        masked: zeroes what is missing.
    """
    inside = {name: encoder for name, encoder in encoders.items() if inner_widths(encoder)}
    features = {name: whole(name, batches[name]) for name in encoders if name not in inside}
    states = {name: encoder.begin(batches[name]) for name, encoder in inside.items()}
    details: dict[str, dict[str, Any]] = {name: {} for name in inside}
    inner: dict[str, dict[str, Any]] = {name: {} for name in inside}
    for place in range(1 + max((len(encoder.inner) for encoder in inside.values()), default=0), 1, -1):
        here = {name: encoder for name, encoder in inside.items() if len(encoder.inner) >= place - 1}
        for name, encoder in here.items():
            states[name] = encoder.stage(len(encoder.inner) + 1 - place, states[name])
        if place in within(fusion):
            shown = {name: masked(encoder.get(states[name])) for name, encoder in here.items()}
            for name, changed in fusion.exchange(place, {**features, **shown}).items():
                if name in here:
                    states[name] = here[name].put(states[name], masked(changed))
                    details[name] |= changed.details
                    inner[name] |= changed.inner
    for name, encoder in inside.items():
        found = encoder.finish(states[name])
        found = replace(found, details={**found.details, **details[name]}, inner={**found.inner, **inner[name]})
        features[name] = masked(found)
    return {name: features[name] for name in encoders}
