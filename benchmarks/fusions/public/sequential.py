"""The authors' code of a step, one for each input; each state passes a ReLU, which this encoder leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkit.fusions.vectors.sequential import SequentialFusion

REPOSITORY, FILE, INPUTS = "EPFLiGHT/MultiModN", "multimodn/encoders/mlp_encoder.py", 3
IMPORTS_FROM = "."
STANDS_IN = {"torchsummary": {"summary": None}}


def published(module: Any, fusion: SequentialFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    steps = nn.ModuleList()
    for linear, step in zip(fusion.project.values(), fusion.step.values(), strict=True):
        encoder = module.MLPEncoder(fusion.width, linear.in_features, (linear.out_features,))
        encoder.layers[0].load_state_dict(linear.state_dict())
        encoder.layers[1].load_state_dict(step.state_dict())
        steps.append(encoder)
    start = nn.Parameter(fusion.start.detach().clone())

    def form(vectors: list[Tensor]) -> Tensor:
        state = start.expand(len(vectors[0]), -1)
        for encoder, vector in zip(steps, vectors, strict=True):
            state = encoder(state, vector).relu()
        return state

    return nn.ModuleList([steps, nn.ParameterList([start])]), form
