"""Gates from the joined vectors, then one linear layer over the gated ones. Behind the encoders alone."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.inner.mmtm import MmtmFusion


def obvious(fusion: MmtmFusion, vectors: list[Tensor]) -> Tensor:
    transfer = fusion.transfers["1"]
    seen = torch.relu(transfer.squeeze(torch.cat(vectors, 1)))
    gated = [2 * gate(seen).sigmoid() * x for gate, x in zip(transfer.gates.values(), vectors, strict=True)]
    return fusion.join.mix(torch.cat(gated, 1))
