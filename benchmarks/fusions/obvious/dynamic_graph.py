"""One vertex after the other, of its subsets by their edges."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.dynamic_graph import DynamicGraphFusion

WHY = "a vertex is masked by each of its inputs"


def obvious(fusion: DynamicGraphFusion, vectors: list[Tensor]) -> Tensor:
    single = projected(fusion, vectors)
    names = list(fusion.project)
    found = {(name,): each for name, each in zip(names, single, strict=True)}
    weights = iter(fusion.edges(torch.cat(single, 1)).split(1, 1))
    for size in range(2, len(names) + 1):
        for vertex in combinations(names, size):
            parts = [part for count in range(1, size) for part in combinations(vertex, count)]
            joined = torch.cat([found[part] * next(weights) for part in parts], 1)
            found[vertex] = fusion.vertices["+".join(vertex)](joined).relu()
    return fusion.mix(torch.cat([each * next(weights) for each in found.values()], 1))
