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
        "Loss of a separate head for each input, beside that of the fusion",
        unimodal=True,
        vectors=True,
        paper='Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020, '
        "https://arxiv.org/abs/1905.12681",
    )
    yield ObjectiveSpec(
        "contrastive",
        "mmkit.objectives.contrastive:ContrastiveObjective",
        "InfoNCE: pulls the inputs of one sample together and pushes those of others apart",
        min_inputs=2,
        vectors=True,
        paper='van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, '
        "https://arxiv.org/abs/1807.03748",
    )
