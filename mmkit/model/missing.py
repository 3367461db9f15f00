"""What a fusion sees in place of inputs that are missing, and inputs that are left out at random in training.

Neverova et al., "ModDrop: Adaptive Multi-modal Gesture Recognition", TPAMI 2016, https://arxiv.org/abs/1501.00102
(modality dropout); Yun et al., "Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible Mixture-of-Experts",
NeurIPS 2024, https://arxiv.org/abs/2410.08245 (the bank).

Axes: B batch, T tokens, D width of an input, M inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.layers.border import without

Kind = Literal["neutral", "token", "bank"]
Draw = Literal["inputs", "subsets"]

MOST = {"bank": 10, "subsets": 20}
"""Inputs: a bank has 2^M - 1 rows an input, and a subset is drawn as a number below 2^M, exact in float32."""
SPREAD = 0.02
"""The deviation of a token's start; features of one norm are far larger, so it begins as little more than nothing."""


@dataclass(frozen=True)
class Absence:
    """How missing inputs are treated.

    Args:
        kind: what stands in their place: nothing ("neutral"), one learned vector an input ("token"), or one an input
            and pattern of inputs that are missing ("bank").
        dropout: probability by which an input is left out, or a subset is drawn.
        draw: "inputs" leaves out each input for itself; "subsets" keeps a subset, each that is not empty as often.
    """

    kind: Kind = "neutral"
    dropout: float = 0.0
    draw: Draw = "inputs"

    def module(self, widths: Mapping[str, int]) -> Missing | None:
        """The module before a fusion of these widths; None where there is nothing to do.

        Raises:
            ValueError: too many inputs.
        """
        for asked, what in ((self.kind, f"missing={self.kind}"), (self.draw, f"modality_draw={self.draw}")):
            if len(widths) > (most := MOST.get(asked, len(widths))):
                raise ValueError(f"train.{what} takes {most} inputs at most; there are {len(widths)}")
        return Missing(widths, self) if self.kind != "neutral" or (self.dropout and len(widths) > 1) else None


class Missing(nn.Module):
    """Between the inputs and the fusion: leaves inputs out in training, and puts learned tokens where there is none.

    A row's token takes its first place, unmasked, and is its pooled vector where there is one. Of those inputs of a row
    that are there, one is always kept: each for itself with probability 1 - p, and where none would be left, one of
    them at random. So each of M is kept with probability (1 - p) + p^M / M.

    Differs from Neverova et al.: rows are drawn for themselves, a row never loses all, and what is left out counts as
    missing, so that its token learns what stands for it. Drawn by "subsets", a row keeps with probability p one of the
    2^n - 1 subsets of its n inputs that are not empty, the whole one among them. Differs from Yun et al.: vectors in
    place of the embeddings of missing modalities alone, one bank of the width of each input, and a row without any
    input has its own.

    Args:
        widths: D of each input, as the fusion is built with them.
        absence: what is done.
    """

    def __init__(self, widths: Mapping[str, int], absence: Absence) -> None:
        super().__init__()
        self.inputs = sorted(widths)
        self.absence = absence
        rows = {"neutral": 0, "token": 1, "bank": 2 ** len(widths) - 1}[absence.kind]
        self.tokens = nn.ParameterDict(
            {name: nn.Parameter(SPREAD * torch.randn(rows, widths[name])) for name in self.inputs} if rows else {}
        )

    @property
    def leaves_out(self) -> bool:
        """Whether inputs are left out: in training alone."""
        return self.training and self.absence.dropout > 0 and len(self.inputs) > 1

    def left(self, batches: Mapping[str, Batch | Features]) -> dict[str, Batch | Features]:
        """Batches of which inputs are left out: for a fusion within encoders, which sees them before its forward."""
        there = torch.stack([_there(batches[name]) for name in self.inputs], 1)  # [B M]
        kept = left_after(there, self.absence.dropout, self.absence.draw).unbind(1)
        return {name: _kept(batches[name], one) for name, one in zip(self.inputs, kept, strict=True)}

    def forward(self, features: Mapping[str, Features], *, left: bool = False) -> dict[str, Features]:
        """The features as the fusion sees them. In evaluation nothing is left out.

        Args:
            features: of each input.
            left: whether they are what `left` has left, before they were encoded.
        """
        dropping = self.leaves_out and not left
        if not dropping and not self.tokens:
            return dict(features)
        kept = torch.stack([features[name].present() for name in self.inputs], 1)  # [B M]
        if dropping:
            kept = left_after(kept, self.absence.dropout, self.absence.draw)
        if not self.tokens:
            return {name: without(features[name], kept[:, place]) for place, name in enumerate(self.inputs)}
        row = self._rows(~kept)  # [B]
        found = {}
        for place, name in enumerate(self.inputs):
            token = self.tokens[name].index_select(0, row)  # [B D]
            there = without(features[name], kept[:, place]) if dropping else features[name]
            found[name] = _filled(there, token, ~kept[:, place])
        return found

    def _rows(self, absent: Tensor) -> Tensor:
        """[B] of each pattern's row in a bank, from [B M]; 0 where nothing is missing, whose row is not read."""
        if self.absence.kind == "token":
            return torch.zeros_like(absent[:, 0], dtype=torch.long)
        powers = 2 ** torch.arange(len(self.inputs), device=absent.device)
        return ((absent * powers).sum(1) - 1).clamp(min=0)


def left_after(present: Tensor, probability: float, draw: Draw = "inputs") -> Tensor:
    """[B M] bool: the inputs that are left of those that are there, at least one of them in every row that has one.

    Args:
        present: [B M] bool.
        probability: of an input to be left out, or of a row to keep a subset.
        draw: as in `Absence`.
    """
    if draw == "subsets":
        place = present.cumsum(1) - 1  # [B M]: which of those that are there
        subsets = 2 ** present.sum(1) - 1  # [B]
        drawn = (torch.rand(subsets.shape, device=present.device) * subsets).long().clamp(max=subsets - 1) + 1
        subset = present & ((drawn.unsqueeze(1) >> place.clamp(min=0)) & 1).bool()
        changed = torch.rand(subsets.shape, device=present.device) < probability
        return torch.where(changed.unsqueeze(1), subset, present)
    kept = present & (torch.rand(present.shape, device=present.device) >= probability)
    last = torch.rand(present.shape, device=present.device).masked_fill(~present, -1).argmax(1, keepdim=True)
    one = present & (torch.arange(present.shape[1], device=present.device) == last)
    return torch.where(kept.any(1, keepdim=True), kept, one)


def _there(batch: Batch | Features) -> Tensor:
    """[B] bool: True where the input is there."""
    mask = batch.mask if isinstance(batch, Features) else batch["mask"]  # [B], or [B T]
    return mask.unsqueeze(-1).flatten(1).any(1)


def _kept(batch: Batch | Features, kept: Tensor) -> Batch | Features:
    """The batch, missing where it is not kept [B]."""
    if isinstance(batch, Features):
        return without(batch, kept)
    mask = batch["mask"]
    return {**batch, "mask": mask & kept.view(-1, *(1,) * (mask.ndim - 1))}


def _filled(features: Features, token: Tensor, absent: Tensor) -> Features:
    """The features with a token [B D] in the first place of the rows where they are absent [B]."""
    token = token.to(features.tokens.dtype)
    first = torch.arange(features.tokens.shape[1], device=absent.device) == 0  # [T]
    place = absent.unsqueeze(1) & first  # [B T]
    tokens = torch.where(place.unsqueeze(-1), token.unsqueeze(1), features.tokens)
    pooled = features.pooled if features.pooled is None else torch.where(absent.unsqueeze(1), token, features.pooled)
    return replace(features, tokens=tokens, mask=features.mask | place, pooled=pooled, complete=True)
