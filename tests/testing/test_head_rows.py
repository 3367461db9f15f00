"""Defects of heads that each check of rows, masks, missing inputs and sizes catches."""

import re
from typing import Any

import torch

from mmkit.testing import checks_of
from tests.testing.sound_heads import SPEC, Sound


class Squeezes(Sound):
    def forward(self, features):
        return super().forward(features).squeeze(0)


class SeesMates(Sound):
    def vector(self, features):
        vector = super().vector(features)
        return vector + vector.mean(0)


class CountsPadding(Sound):
    def vector(self, features):
        return features.tokens.mean(1)


class TakesCount(Sound):
    """The last token of a prefix is at its count; with holes it is another."""

    def vector(self, features):
        last = features.mask.sum(1).clamp(min=1) - 1
        return features.tokens[torch.arange(len(last)), last]


class EightRows(Sound):
    def __init__(self, width, target, transform):
        super().__init__(width, target, transform)
        self.register_buffer("rows", torch.zeros(8, target.size))

    def forward(self, features):
        output = super().forward(features)
        return output + self.rows[: len(output)]


class FirstTokens(Sound):
    def vector(self, features):
        return features.tokens[:, :16].mean(1)


class FiniteForwardOnly(Sound):
    def vector(self, features):
        mean = features.tokens.sum(1) / features.mask.sum(1, keepdim=True)
        return torch.where(features.present().unsqueeze(1), mean * mean, 0)

    def forward(self, features):
        norm = features.tokens.sum(1).norm(dim=1, keepdim=True) + features.tokens.square().sum((1, 2)).sqrt().unsqueeze(
            1
        )
        return self.linear(features.vector()) + norm


class FirstToken(Sound):
    def vector(self, features):
        return features.tokens[:, 0]


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "one-sample": [(Squeezes, "raised")],
    "mates": [(SeesMates, "without the others")],
    "padding": [(CountsPadding, "more padding")],
    "holes": [(TakesCount, "mask is x-x")],
    "large": [(EightRows, "raised RuntimeError"), (FirstTokens, "last third is not read")],
    "vectors": [(FirstToken, "vectors in the place of tokens")],
    "missing-rows": [(FiniteForwardOnly, "gradient")],
}
HEAVY = {c.name for c in checks_of("head", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("head", component, spec=SPEC, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
    if name != "options":
        assert result.message.startswith("target classes: ")
