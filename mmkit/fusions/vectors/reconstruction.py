"""Reconstruction (ActionMAE): inputs are left out in training, and a small autoencoder learns to stand in for them.

Woo, Lee, Park, Nugroho and Kim, "Towards Good Practices for Missing Modality Robust Action Recognition", AAAI 2023,
https://arxiv.org/abs/2211.13916. Its abstract and the caption of its Figure 3 were read, and the authors' code.

    t_m = W_m x_m + b_m    a_m = norm(t_m), its target without gradient
    [u; c] = norm(Encoder([t_m of those shown; memory]))
    r_m = P norm(Decoder([u_m where shown, else a mask token, + position_m; c]))_m + p
    y = W [f_1; ...; f_M] + b, f_m = a_m where shown, else r_m
    penalty: reconstruct * mean over the inputs left out of mean_h (r_m - a_m)^2

What differs from the code: what is shown is fused as it is and only the rest reconstructed, as the caption says, where
the code takes the reconstruction of all; each sample leaves out inputs of its own; norms are those of the target, so
that both kinds of parts are alike; 4 memory tokens and not 10, 128 wide and not 512, feed-forward networks twice as
wide and not four times; no label smoothing. All inputs have one token, their vector.

Axes: B batch, M inputs, K memory tokens, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.chosen import chosen
from mmkit.layers.latents import Latents
from mmkit.layers.vectors import complete, one_token, present


class ReconstructionFusion(nn.Module):
    """One linear layer over the inputs' tokens, of which those that are missing are reconstructed from the others.

    In training a sample keeps 1 to n of its n inputs, each number as likely as the others, and any of that number; what
    it leaves out it reconstructs, and learns from the error. What is truly missing has no target. In evaluation nothing
    is left out and nothing drawn, and where no input is missing the autoencoder has no part. A missing input leaves a
    trace by design. Where all are missing, the result is a constant. Its details, where they are asked for, are
    `reconstruction.INPUT` [B H], of every input, shown or not.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features and of the autoencoder; a multiple of `heads`.
        memory: K, learned tokens that encoder and decoder read beside the inputs.
        layers: transformer layers of the encoder, and as many of the decoder.
        heads: attention heads of each layer.
        reconstruct: weight of the penalty on the error of what was left out, in training.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        memory: Annotated[int, Gt(0)] = 4,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 8,
        reconstruct: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.reconstruct = reconstruct
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.memory = Latents(memory, width)
        self.masked = Latents(1, width)
        self.positions = Latents(len(widths), width)
        self.encoder = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, width)
        self.mix = nn.Linear(len(widths) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with a penalty `reconstruct` in training."""
        tokens = torch.stack([linear(features[name].vector()) for name, linear in self.project.items()], 1)  # [B M H]
        own = F.layer_norm(tokens, (self.width,))
        known = complete(features, self.inputs)
        if known and not self.training and not self.detailed:
            return one_token(self.mix(own.flatten(1)), features, self.inputs)
        there = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if known else present(features, self.inputs)
        shown = _kept(there) if self.training else there  # [B M]
        made = self._made(tokens, shown)
        fused = self.mix(chosen(own, shown.unsqueeze(2), made).flatten(1))
        found = one_token(fused, features, self.inputs)
        if self.training and len(self.inputs) > 1:
            left_out = (there & ~shown).to(made.dtype)
            errors = (made - own.detach()).square().mean(2)  # [B M]
            error = (errors * left_out).sum(1) / left_out.sum(1).clamp(min=1)
            found.penalties["reconstruct"] = self.reconstruct * error
        if not self.detailed:
            return found
        of_inputs = zip(self.inputs, made.unbind(1), strict=True)
        return replace(found, details={f"reconstruction.{name}": part for name, part in of_inputs})

    def _made(self, tokens: Tensor, shown: Tensor) -> Tensor:
        """[B M H], the reconstruction of every input from the tokens of those that are shown, [B M]."""
        inputs = tokens.shape[1]
        memory = self.memory.of(tokens)
        mask = torch.cat([shown, shown.new_ones(memory.shape[:2])], 1)
        state = torch.cat([tokens, memory], 1)  # [B M+K H]
        for layer in self.encoder:
            state = layer(state, mask)
        state = self.encoder_norm(state)
        asked = chosen(state[:, :inputs], shown.unsqueeze(2), self.masked.of(state)) + self.positions.of(state)
        state = torch.cat([asked, state[:, inputs:]], 1)
        for number, layer in enumerate(self.decoder, 1):
            state = layer(state, None, first=inputs if number == len(self.decoder) else None)
        made: Tensor = self.predict(self.decoder_norm(state))
        return made


def _kept(there: Tensor) -> Tensor:
    """[B M]: of the inputs that are there a random number, one at least, and of that number any."""
    order = torch.rand(there.shape, device=there.device).masked_fill(~there, 2)  # what is missing comes last
    rank = order.argsort(1).argsort(1)
    share = torch.rand(there.shape[0], 1, device=there.device)
    number = 1 + (share * there.sum(1, keepdim=True)).long()  # at most n, since a share is below 1
    return there & (rank < number)
