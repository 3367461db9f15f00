"""Fusions that ship with mmkit; their specs are in `fusion_specs`, a file a room."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import FusionSpec, hookimpl
from mmkit.registry.builtin.fusion_specs import both, inner, outputs, tokens, vectors


@hookimpl
def mmkit_fusions() -> Iterator[FusionSpec]:
    """One method, one file."""
    yield from vectors.SPECS
    yield from tokens.SPECS
    yield from outputs.SPECS
    yield from both.SPECS
    yield from inner.SPECS
