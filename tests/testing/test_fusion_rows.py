"""Defects of fusions that each check of rows, masks, missing inputs and sizes catches."""

import re
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.testing import checks_of
from tests.testing.sound_fusions import SPECS, CountsPresent, FirstToken, Scorer, Sound


class AddsItsBias(Sound):
    """The bias of a missing input counts in the sum."""

    def total(self, features):
        return sum(self.maps[n](features[n].vector()) for n in self.maps)


class CountsInMean(Sound):
    """A missing input counts in the mean."""

    def total(self, features):
        return super().total(features) / len(self.maps)


class ZeroInMaximum(Sound):
    """A missing input is zero in a maximum, and hides what is negative."""

    def total(self, features):
        return torch.stack(
            [self.maps[n](features[n].vector()) * features[n].present()[:, None] for n in self.maps]
        ).amax(0)


class WeighsMissing(Sound):
    """Learned weights of the inputs, which a missing one takes its share of; the weights are numbered."""

    def __init__(self, widths):
        super().__init__(widths)
        self.scores = nn.Linear(sum(widths.values()), len(widths))
        self.scales = nn.ModuleList(nn.Linear(1, 16, bias=False) for _ in widths)

    def total(self, features):
        weights = self.scores(torch.cat([features[n].vector() for n in self.maps], 1)).softmax(1)  # [B M]
        parts = [self.maps[n](features[n].vector()) * features[n].present().unsqueeze(1) for n in self.maps]
        return sum(scale(weights[:, [i]]) * parts[i] for i, scale in enumerate(self.scales))


class TakesPrefix(Scorer):
    """It takes what is real for a prefix: a mask with holes shows it."""

    def forward(self, features):
        prefix = {}
        for name, part in features.items():
            mask = torch.arange(part.tokens.shape[1]) < part.mask.sum(1, keepdim=True)
            prefix[name] = Features(part.tokens, mask, part.pooled)
        return Features.of(super().forward(prefix).vector())


class EightRows(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.register_buffer("rows", torch.zeros(8, 16))

    def total(self, features):
        total = super().total(features)
        return total + self.rows[: len(total)]


class EightByEight(Sound):
    """What it sees of a ninth row is the first."""

    def total(self, features):
        total = super().total(features)
        return total if len(total) <= 8 else total[torch.arange(len(total)) % 8]


class SixteenPositions(Scorer):
    """A table of sixteen positions."""

    def __init__(self, widths):
        super().__init__(widths)
        self.positions = nn.Embedding(16, 1)

    def forward(self, features):
        placed = {
            name: Features.of(part.tokens + self.positions(torch.arange(part.tokens.shape[1])), part.mask, part.pooled)
            for name, part in features.items()
        }
        return super().forward(placed)


class FirstSixteen(Scorer):
    """It reads the first sixteen tokens."""

    def forward(self, features):
        return super().forward({n: Features(f.tokens[:, :16], f.mask[:, :16], f.pooled) for n, f in features.items()})


class PassesOn(Sound):
    def forward(self, features):
        return Features.of(self.fused(features), penalties=features["a"].penalties)


class AddsTo(Scorer):
    """Its own penalty holds those of its inputs."""

    def forward(self, features):
        fused = super().forward(features)
        theirs = sum(p for f in features.values() for p in f.penalties.values())
        return Features(fused.tokens, fused.mask, fused.pooled, {"entropy": fused.penalties["entropy"] + theirs})


class Spreads(Scorer):
    """Its penalty is one of the whole batch, and its spec does not say so."""

    def forward(self, features):
        fused = super().forward(features)
        spread = fused.vector().mean(0).square().sum().expand(len(fused.mask))
        return Features(fused.tokens, fused.mask, fused.pooled, {"spread": spread})


class Squeezes(Sound):
    def total(self, features):
        return super().total(features).squeeze()

    def forward(self, features):
        return Features.of(
            self.fused(features).view(-1, 1, 16) if len(features["a"].mask) > 1 else self.fused(features)
        )


class SeesMates(Sound):
    def total(self, features):
        total = super().total(features)
        return total + total.mean(0)


class AttendsAcrossBatch(Sound):
    def total(self, features):
        total = super().total(features)
        return F.scaled_dot_product_attention(total.unsqueeze(0), total.unsqueeze(0), total.unsqueeze(0)).squeeze(0)


class CountsPadding(Sound):
    def vector(self, features, name):
        return features[name].tokens.mean(1)


class TakesLast(Sound):
    def vector(self, features, name):
        return features[name].vector() + features[name].tokens[:, -1]


class ByPlace(Sound):
    def total(self, features):
        return sum(
            (place + 1) * self.maps[n](f.vector()) * f.present().unsqueeze(1)
            for place, (n, f) in enumerate(features.items())
        )


class AtMostThree(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.scale = nn.Parameter(torch.ones(3))

    def total(self, features):
        return sum(
            self.scale[i] * self.maps[n](features[n].vector()) * features[n].present().unsqueeze(1)
            for i, n in enumerate(self.maps)
        )


class AtMostSix(AtMostThree):
    def __init__(self, widths):
        super().__init__(widths)
        self.scale = nn.Parameter(torch.ones(6))


class SeesMatesAmongMany(SeesMates):
    def total(self, features):
        return super().total(features) if len(features) > 3 else Sound.total(self, features)


class DividesByCount(Sound):
    def total(self, features):
        return super().total(features) / sum(f.present() for f in features.values()).unsqueeze(1)


class FiniteForwardOnly(Sound):
    """A `where` after the division hides the NaN, but not from the gradient."""

    def total(self, features):
        count = sum(f.present() for f in features.values()).unsqueeze(1)
        total = super().total(features)
        return torch.where(count > 0, total / count, torch.zeros_like(total))


class NanInEvaluation(Sound):
    def total(self, features):
        total = super().total(features)
        if self.training:
            return total
        return total / sum(f.present() for f in features.values()).unsqueeze(1)


class ScalesByBatch(Sound):
    def vector(self, features, name):
        vector = features[name].vector()
        return vector / vector.detach().abs().sum()


class Product(Sound):
    """A missing input is zero in a product, and takes the others with it."""

    def total(self, features):
        product = torch.ones(())
        for n in self.maps:
            product = product * self.maps[n](features[n].vector()) * features[n].present().unsqueeze(1)
        return product


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "one-sample": [(Squeezes, r"got \[16\]")],
    "mates": [(SeesMates, "without the others"), (AttendsAcrossBatch, "without the others")],
    "padding": [(CountsPadding, "more padding"), (TakesLast, "more padding")],
    "removal": [
        (AddsItsBias, "input a is missing in all rows"),
        (CountsInMean, "input a is missing in all rows"),
        (ZeroInMaximum, "is missing in all rows"),
        (WeighsMissing, "input a is missing in all rows"),
        (CountsPresent, "input a is missing in all rows"),
    ],
    "holes": [(TakesPrefix, "mask is x-x-x")],
    "large": [
        (EightRows, "raised RuntimeError"),
        (EightByEight, "rows 8 to 18 of 19 without the others"),
        (SixteenPositions, "raised IndexError"),
        (FirstSixteen, r"the last third is not read"),
    ],
    "penalties": [(PassesOn, "passes on|penalty kit changes"), (AddsTo, "penalty entropy changes")],
    "compares": [(Spreads, "penalty spread of a sample hangs on the others")],
    "vectors": [(FirstToken, "vectors in the place of tokens")],
    "order": [(ByPlace, "another order")],
    "input-counts": [(AtMostThree, "4 inputs: raised IndexError"), (AtMostSix, "7 inputs: raised IndexError")],
    "missing-rows": [
        (DividesByCount, "one of 3 samples is missing, in training"),
        (FiniteForwardOnly, "gradient"),
        (NanInEvaluation, "in evaluation"),
    ],
    "missing-inputs": [(ScalesByBatch, "input a is missing in all 3")],
    "neutral": [(Product, "whatever the others say")],
    "every-count": [(SeesMatesAmongMany, "4 inputs, mates: rows")],
}
HEAVY = {c.name for c in checks_of("fusion", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("fusion", component, spec=SPECS.get(component), names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
