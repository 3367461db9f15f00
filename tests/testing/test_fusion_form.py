"""Defects of fusions that each check of construction, options and state catches."""

import re
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.testing import checks_of
from tests.testing.sound_fusions import SPECS, Sound


class Undocumented(Sound):
    """It has an option that nobody explains."""

    def __init__(self, widths, *, rate: float = 0.1):
        super().__init__(widths)


class OpenSignature(Sound):
    """Its options have no names."""

    def __init__(self, widths, **options):
        super().__init__(widths)


class WithoutDefault(Sound):
    """Its option has no default."""

    def __init__(self, widths, *, rate: float):
        super().__init__(widths)


class Widthless(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.width = None


class PlainObject:
    width = 4

    def __init__(self, widths):
        pass


class DropsInEvaluation(Sound):
    def fused(self, features):
        return F.dropout(super().fused(features), 0.5)


class WrongWidth(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.width = 8


class PlainTensor(Sound):
    def forward(self, features):
        return self.fused(features)


class Infinite(Sound):
    def fused(self, features):
        return super().fused(features) / 0


class NotZeroed(Sound):
    def forward(self, features):
        present = torch.stack([f.present() for f in features.values()]).any(0)
        return Features(self.fused(features).unsqueeze(1), present.unsqueeze(1))


class PooledNotZeroed(Sound):
    def forward(self, features):
        present = torch.stack([f.present() for f in features.values()]).any(0)
        fused = self.fused(features)
        return Features(Features.of(fused, present).tokens, present.unsqueeze(1), fused)


class NegativeRate(Sound):
    rates: ClassVar = {"out.weight": -1.0}


class IgnoresDropout(Sound):
    """Its option is read and forgotten.

    Args:
        width: H.
        dropout: in training.
    """

    def __init__(self, widths, *, width: int = 16, dropout: float = 0.1):
        super().__init__(widths, width=width)


class KeepsItsWidth(Sound):
    """It is built for one width.

    Args:
        width: H.
    """

    def __init__(self, widths, *, width: int = 16):
        super().__init__(widths, width=16)
        self.width = width


class SixteenOnly(Sound):
    """It computes with one width.

    Args:
        width: H.
    """

    def __init__(self, widths, *, width: int = 16):
        super().__init__(widths, width=width)
        self.out = nn.Linear(width, 16)


class PlainList(Sound):
    """Factors in a plain list are neither trained nor saved."""

    def __init__(self, widths):
        super().__init__(widths)
        self.factors = [torch.randn(16, 16)]

    def total(self, features):
        return super().total(features) @ self.factors[0].to(next(self.parameters()).dtype)


class DrawsLayers(Sound):
    """A new random layer in every forward."""

    def total(self, features):
        return nn.Linear(16, 16)(super().total(features))


class Clamps(Sound):
    def forward(self, features):
        with torch.no_grad():
            features["a"].tokens.clamp_(-0.5, 0.5)
        return super().forward(features)


class AddsKey(Sound):
    def forward(self, features):
        features["extra"] = features["a"]
        return super().forward(features)


class Rewards(Sound):
    """It is rewarded for large features."""

    def forward(self, features):
        fused = self.fused(features)
        return Features.of(fused, None, None, {"size": -fused.square().mean(1)})


class NoNumber(Sound):
    """Of batches of six, so that it is a number where shapes are checked."""

    def forward(self, features):
        fused = self.fused(features)
        return Features.of(fused, None, None, {"size": fused.square().mean(1) * (torch.nan if len(fused) == 6 else 1)})


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "not-negative": [(Rewards, "a penalty is zero or more"), (NoNumber, "is nan")],
    "options": [(Undocumented, "rate"), (OpenSignature, r"\*\*options"), (WithoutDefault, "default")],
    "builds": [(Widthless, "width"), (PlainObject, "nn.Module")],
    "deterministic": [(DropsInEvaluation, "random number"), (DrawsLayers, "random number")],
    "shapes": [(WrongWidth, r"\[4 T 8\]"), (PlainTensor, "instead of Features"), (Infinite, "NaN or infinite")],
    "masked": [(NotZeroed, "tokens are not zero"), (PooledNotZeroed, "pooled is not zero")],
    "rates": [(NegativeRate, "a share of -1.0")],
    "options-act": [(IgnoresDropout, "option dropout changes nothing")],
    "other-width": [(KeepsItsWidth, "with width=8, in evaluation"), (SixteenOnly, "with width=8, in evaluation")],
    "state-dict": [(PlainList, "after its state is loaded")],
    "mutation": [(Clamps, "changes 0.a.tokens"), (AddsKey, "0.extra")],
}
HEAVY = {c.name for c in checks_of("fusion", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("fusion", component, spec=SPECS.get(component), names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
