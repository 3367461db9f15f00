"""Objectives that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import ObjectiveSpec, hookimpl


@hookimpl
def mmkit_objectives() -> Iterator[ObjectiveSpec]:
    """One method, one file."""
    yield ObjectiveSpec(
        "unimodal",
        "mmkit.objectives.unimodal:UnimodalObjective",
        "The loss of one head an input, added to the fusion's",
        unimodal=True,
        vectors=True,
    )
    yield ObjectiveSpec(
        "contrastive",
        "mmkit.objectives.contrastive:ContrastiveObjective",
        "InfoNCE: inputs of one sample drawn together, those of others apart",
        min_inputs=2,
        vectors=True,
        paper="van den Oord, Li and Vinyals, Representation Learning with Contrastive Predictive Coding, 2018, "
        "https://arxiv.org/abs/1807.03748",
    )
