"""Every number of the embedding times every number of the anchor, then one matrix product."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.vectors.hypernetwork import HypernetworkFusion


def obvious(fusion: HypernetworkFusion, vectors: list[Tensor]) -> Tensor:
    first, *others = vectors
    embedding = fusion.embed(torch.cat(others, 1)).relu()
    products = (first.unsqueeze(2) * embedding.unsqueeze(1)).flatten(1)
    generated = products @ fusion.generated.weight.transpose(1, 2).flatten(0, 1)
    return fusion.fixed(first) + generated + fusion.shift(embedding)
