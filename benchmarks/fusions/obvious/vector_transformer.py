"""A transformer over the stacked vectors and a learned token, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected, transformer
from mmkit.fusions.vectors.vector_transformer import VectorTransformerFusion


def obvious(fusion: VectorTransformerFusion, vectors: list[Tensor]) -> Tensor:
    cls = fusion.cls.values.expand(len(vectors[0]), 1, -1)
    tokens = torch.cat([cls, torch.stack(projected(fusion, vectors), 1)], 1)
    for layer in fusion.layers:
        tokens = transformer(layer, tokens, None)
    return fusion.norm(tokens[:, 0])
