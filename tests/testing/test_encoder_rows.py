"""Defects of encoders that each check of rows, masks, missing inputs and sizes catches."""

import re
from typing import Any

import torch

from mmkit.contract import Features
from mmkit.testing import checks_of
from tests.testing.sound_encoders import SPEC, BatchNormed, Sound, Steps


class SaysRowwise(BatchNormed):
    """It has statistics of the batch, and says that it has none."""

    rowwise = True


class Squeezes(Sound):
    def tokens(self, batch):
        return super().tokens(batch).squeeze(0)


class SeesMates(Sound):
    def tokens(self, batch):
        tokens = super().tokens(batch)
        return tokens + tokens.mean(0)


class CountsLength(Sound):
    """The length of the batch is that of the longest, not of the sample."""

    def tokens(self, batch):
        return super().tokens(batch) / batch["mask"].shape[1]


class PooledCountsPadding(Sound):
    """The mean of all tokens, those of padding as zeros among them."""

    def forward(self, batch):
        tokens = self.tokens(batch) * batch["mask"].unsqueeze(-1)
        return Features.of(tokens, batch["mask"], tokens.mean(1))


class EightRows(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.register_buffer("rows", torch.zeros(8, 1, 6))

    def tokens(self, batch):
        tokens = super().tokens(batch)
        return tokens + self.rows[: len(tokens)]


class LooksUnderMask(Sound):
    def tokens(self, batch):
        return super().tokens(batch) + batch["steps"].mean(1, keepdim=True) @ self.map.weight.T


class FiniteForwardOnly(Sound):
    def forward(self, batch):
        tokens = super().tokens(batch) * batch["mask"].unsqueeze(-1)
        return Features.of(tokens, batch["mask"], tokens.sum(1) / batch["mask"].sum(1, keepdim=True))


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "one-sample": [(Squeezes, "raised ValueError")],
    "mates": [(SeesMates, "without the others")],
    "alone": [(CountsLength, "transformed alone"), (PooledCountsPadding, "transformed alone: features.vector")],
    "rowwise": [(SaysRowwise, "in training, rows")],
    "large": [(EightRows, "raised RuntimeError")],
    "garbage": [(LooksUnderMask, "garbage under the mask")],
    "missing-rows": [(FiniteForwardOnly, "gradient: map.weight")],
}
HEAVY = {c.name for c in checks_of("encoder", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("encoder", component, spec=SPEC, modality=Steps, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
