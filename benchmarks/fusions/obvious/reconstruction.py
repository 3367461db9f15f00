"""Encoder, decoder, and one linear layer over what is shown and what is made; the first two whatever is missing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import projected, transformer
from mmkit.fusions.vectors.reconstruction import ReconstructionFusion


def obvious(fusion: ReconstructionFusion, vectors: list[Tensor]) -> Tensor:
    tokens = torch.stack(projected(fusion, vectors), 1)
    own = F.layer_norm(tokens, (fusion.width,))
    batch, inputs, _ = tokens.shape
    shown = torch.ones(batch, inputs, dtype=torch.bool, device=tokens.device)
    if fusion.training:
        order = torch.rand(batch, inputs, device=tokens.device).argsort(1).argsort(1)
        shown = order < torch.randint(1, inputs + 1, (batch, 1), device=tokens.device)
    state = torch.cat([tokens, fusion.memory.values.expand(batch, -1, -1)], 1)
    mask = F.pad(shown, (0, len(fusion.memory.values)), value=True)
    for layer in fusion.encoder:
        state = transformer(layer, state, mask)
    state = fusion.encoder_norm(state)
    asked = torch.where(shown.unsqueeze(2), state[:, :inputs], fusion.masked.values) + fusion.positions.values
    state = torch.cat([asked, state[:, inputs:]], 1)
    for layer in fusion.decoder:
        state = transformer(layer, state, None)
    made = fusion.predict(fusion.decoder_norm(state[:, :inputs]))
    return fusion.mix(torch.where(shown.unsqueeze(2), own, made).flatten(1))
