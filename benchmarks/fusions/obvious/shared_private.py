"""One input after the other into both spaces, then a transformer layer and two layers over all of it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected, transformer
from mmkit.fusions.vectors.shared_private import SharedPrivateFusion


def obvious(fusion: SharedPrivateFusion, vectors: list[Tensor]) -> Tensor:
    given = [norm(each.relu()) for norm, each in zip(fusion.norm.values(), projected(fusion, vectors), strict=True)]
    private = [own(each).sigmoid() for own, each in zip(fusion.private.values(), given, strict=True)]
    tokens = torch.stack([*private, *(fusion.shared(each).sigmoid() for each in given)], 1)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return fusion.mix(transformer(fusion.layer, tokens, mask).flatten(1))
