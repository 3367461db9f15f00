"""Dynamic fusion graph: a vertex for each set of inputs, built of its subsets by edges that all inputs weigh.

Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph", ACL
2018, https://aclanthology.org/P18-1208.

    v_m = W_m x_m + b_m    e = G relu(F [v_1; ...; v_M] + f) + g, a number for each edge
    v_K = relu(P_K [e v_J for each proper subset J of K] + p_K)    y = T [e v_K for each set K] + t

What differs: the paper has this graph in each step of a recurrent memory; here it is over one vector an input. Vertices
are one layer, and g starts at 1, so that all edges are open. That edges are weighed by numbers without a bound is from
the authors' code, not from the paper, which was not read for it.

Axes: B batch, M inputs, D an input's width, E edges, H fused width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import complete, one_token, projected, there

MOST = 4
"""Inputs: they have 15 vertices and 65 edges."""

Vertex = tuple[str, ...]


class DynamicGraphFusion(nn.Module):
    """All sets of inputs as vertices of a graph, each read by its supersets and by the result.

    A vertex is there where all of its inputs are, else it is zero. Where all inputs are missing, the result is the last
    bias. Its detail, where it is asked for, is `edges` [B E]: what each edge lets through, those of each set in turn,
    and then those of the result.

    Args:
        widths: D of each input, by name.
        width: H, the width of vertices and of the fused features.

    Raises:
        ValueError: there are more than four inputs.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        if len(widths) > MOST:
            raise ValueError(
                f"a dynamic graph is for {MOST} inputs at most, since it has a vertex for each set of them; got "
                f"{len(widths)} ({', '.join(widths)})"
            )
        self.width = width
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.sets = _subsets(tuple(widths))
        joint = [vertex for vertex in self.sets if len(vertex) > 1]
        self.vertices = nn.ModuleDict(
            {"+".join(vertex): nn.Linear(len(_subsets(vertex)[:-1]) * width, width) for vertex in joint}
        )
        edges = len(self.sets) + sum(len(_subsets(vertex)) - 1 for vertex in joint)
        last = nn.Linear(width, edges)
        nn.init.ones_(last.bias)
        self.edges = nn.Sequential(nn.Linear(len(widths) * width, width), nn.ReLU(), last)
        self.mix = nn.Linear(len(self.sets) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        single = projected(features, self.project, 0.0)  # [B H] each, zero where the input is missing
        found: dict[Vertex, Tensor] = {(name,): each for name, each in zip(self.project, single, strict=True)}
        weights = self.edges(torch.cat(single, 1))  # [B E]
        whole = complete(features, self.project)
        real = {} if whole else {name: there(features[name]) for name in self.project}  # [B 1] each
        edge = 0
        for vertex in self.sets:
            if len(vertex) == 1:
                continue
            parts = _subsets(vertex)[:-1]
            joined = _weighed([found[part] for part in parts], weights[:, edge : edge + len(parts)])
            value = self.vertices["+".join(vertex)](joined).relu()
            if not whole:
                for name in vertex:
                    value = value * real[name]
            found[vertex] = value
            edge += len(parts)
        fused = self.mix(_weighed([found[vertex] for vertex in self.sets], weights[:, edge:]))
        result = one_token(fused, features, self.project)
        return replace(result, details={"edges": weights}) if self.detailed else result


def _subsets(names: Vertex) -> list[Vertex]:
    """All but the empty one, smaller ones first; the last is that of all."""
    return [part for size in range(1, len(names) + 1) for part in itertools.combinations(names, size)]


def _weighed(parts: list[Tensor], weights: Tensor) -> Tensor:
    """[B N*H] of N parts [B H] and their weights [B N]."""
    return (torch.stack(parts, 1) * weights.unsqueeze(2)).flatten(1)
