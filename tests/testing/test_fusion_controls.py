"""Each check of fusions catches the defect planted for it; `test_sound_fusions.py` has what none may forbid."""

import re
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.plugin import FusionSpec
from mmkit.testing import checks_of
from tests.testing.test_surroundings import HERE


class Sound(nn.Module):
    """A sum of projections.

    Args:
        width: H.
        dropout: in training.
    """

    def __init__(self, widths, *, width: int = 16, dropout: float = 0.1):
        super().__init__()
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def vector(self, features, name):
        return features[name].vector()

    def total(self, features):
        return sum(self.maps[n](self.vector(features, n)) * features[n].present().unsqueeze(1) for n in self.maps)

    def fused(self, features):
        return self.out(self.dropout(torch.tanh(self.total(features))))

    def forward(self, features):
        return Features.of(self.fused(features))


class Scorer(nn.Module):
    """Attention over the tokens of all inputs: one token, or one input, has nothing to be scored against.

    Args:
        width: H.
    """

    def __init__(self, widths, *, width: int = 16):
        super().__init__()
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, features):
        tokens = torch.cat([torch.tanh(self.maps[n](features[n].tokens)) for n in self.maps], 1)
        mask = torch.cat([features[n].mask for n in self.maps], 1)
        scores = self.score(tokens).squeeze(-1).masked_fill(~mask, -1e4).softmax(1)
        pooled = ((scores * mask).unsqueeze(-1) * tokens).sum(1)
        return Features.of(tokens, mask, pooled, {"entropy": 0.01 * (scores * mask).square().sum(1)})


class Mean(nn.Module):
    """At decision level, without a parameter."""

    def __init__(self, widths, target):
        super().__init__()
        self.width = target.size

    def forward(self, features):
        count = sum(f.present().float() for f in features.values()).clamp(min=1)
        return Features.of(sum(features[n].vector() for n in sorted(features)) / count.unsqueeze(1))


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


class CountsPresent(Mean):
    """At decision level, the mean counts who is missing."""

    def forward(self, features):
        return Features.of(sum(features[n].vector() for n in sorted(features)) / len(features))


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


class Reversed(torch.autograd.Function):
    """What it computes is the identity, and its gradient has the wrong sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class WrongBackward(Sound):
    def total(self, features):
        return Reversed.apply(super().total(features))


class MostlyDetached(Sound):
    """Three quarters of an input are detached."""

    def vector(self, features, name):
        vector = features[name].vector()
        kept = vector.shape[1] // 4
        return torch.cat([vector[:, :kept], vector[:, kept:].detach()], 1)


class RawExponential(Sound):
    """A softmax by hand."""

    def total(self, features):
        weights = super().total(features).exp()
        return weights / (1 + weights.sum(1, keepdim=True))


class GreatNegative(Scorer):
    """-1e9 is beyond float16."""

    def forward(self, features):
        fused = super().forward(features)
        score = self.score(fused.tokens).squeeze(-1).masked_fill(~fused.mask, -1e9)
        weights = torch.where(fused.mask, score.softmax(1), 0).unsqueeze(-1)
        return Features.of(fused.tokens, fused.mask, (weights * fused.tokens).sum(1))


class ZeroInHalf(Sound):
    """Under autocast its output is zero."""

    def fused(self, features):
        return super().fused(features) * (not torch.is_autocast_enabled("cpu"))


class FlipsInTraining(Sound):
    def fused(self, features):
        return super().fused(features) * (-1 if self.training else 1)


class Tires(Sound):
    """After fifty calls it gives less."""

    calls = 0

    def fused(self, features):
        self.calls += 1
        return super().fused(features) * (1 if self.calls < 50 else 0.5)


class PassesOn(Sound):
    def forward(self, features):
        return Features.of(self.fused(features), penalties=features["a"].penalties)


class AddsTo(Scorer):
    """Its own penalty holds those of its inputs."""

    def forward(self, features):
        fused = super().forward(features)
        theirs = sum(p for f in features.values() for p in f.penalties.values())
        return Features(fused.tokens, fused.mask, fused.pooled, {"entropy": fused.penalties["entropy"] + theirs})


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


class Unused(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.forgotten = nn.Linear(4, 4)


class Deaf(Sound):
    def vector(self, features, name):
        return features[name].vector() * (name != "b")


class Detached(Sound):
    def vector(self, features, name):
        return features[name].vector().detach()


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


class CastsByHand(Sound):
    def fused(self, features):
        fused = super().fused(features)
        place = torch.arange(len(fused))
        return torch.zeros_like(features["a"].vector()[:, :1].expand(-1, 16)).index_add(0, place, fused)


class MakesOnCpu(Sound):
    """What it makes is on the CPU, wherever its inputs are."""

    def fused(self, features):
        fused = super().fused(features)
        return fused + torch.ones(fused.shape, dtype=fused.dtype)


class KeepsOnCpu(Sound):
    """A tensor that is no buffer stays where it was made."""

    def __init__(self, widths):
        super().__init__(widths)
        self.scale = torch.linspace(1, 2, 16)

    def fused(self, features):
        fused = super().fused(features)
        return fused * self.scale.to(fused.dtype)


class AnswersOnCpu(Sound):
    def fused(self, features):
        return super().fused(features).cpu()


class Single(Sound):
    def fused(self, features):
        return super().fused(features).float()


class FirstToken(Sound):
    def vector(self, features, name):
        return features[name].tokens[:, 0]


class Branches(Sound):
    def total(self, features):
        total = super().total(features)
        return total * 2 if features["a"].mask.all() else total * 3


SPECS = {
    Sound: FusionSpec("sound", "", "", vectors=True),
    FirstToken: FusionSpec("first-token", "", "", vectors=True),
    Mean: FusionSpec("mean", "", "", combines="outputs"),
    CountsPresent: FusionSpec("counts-present", "", "", combines="outputs"),
}
CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate"), (OpenSignature, r"\*\*options"), (WithoutDefault, "default")],
    "builds": [(Widthless, "width"), (PlainObject, "nn.Module")],
    "deterministic": [(DropsInEvaluation, "random number"), (DrawsLayers, "random number")],
    "shapes": [(WrongWidth, r"\[4 T 8\]"), (PlainTensor, "instead of Features"), (Infinite, "NaN or infinite")],
    "masked": [(NotZeroed, "tokens are not zero"), (PooledNotZeroed, "pooled is not zero")],
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
    "rates": [(NegativeRate, "a share of -1.0")],
    "options-act": [(IgnoresDropout, "option dropout changes nothing")],
    "other-width": [(KeepsItsWidth, "with width=8, in evaluation"), (SixteenOnly, "with width=8, in evaluation")],
    "large": [
        (EightRows, "raised RuntimeError"),
        (EightByEight, "rows 8 to 18 of 19 without the others"),
        (SixteenPositions, "raised IndexError"),
        (FirstSixteen, r"the last third is not read"),
    ],
    "penalties": [(PassesOn, "passes on|penalty kit changes"), (AddsTo, "penalty entropy changes")],
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
    "gradients": [(Unused, "2 of 10 parameters get no gradient.*forgotten.bias, forgotten.weight")],
    "influence": [(Deaf, "when input b does")],
    "reach": [(Detached, "no gradient reaches input a")],
    "state-dict": [(PlainList, "after its state is loaded")],
    "mutation": [(Clamps, "changes 0.a.tokens"), (AddsKey, "0.extra")],
    "one-device": [
        (MakesOnCpu, "two different devices"),
        (KeepsOnCpu, "two different devices"),
        (AnswersOnCpu, "fused.tokens is on the cpu"),
    ],
    "autocast": [
        (CastsByHand, "raised RuntimeError"),
        (GreatNegative, "without overflow"),
        (ZeroInHalf, "bf16: fused.tokens is off"),
    ],
    "derivative": [
        (WrongBackward, "a direction of .*the gradient says"),
        (MostlyDetached, "a direction of input 0.a.tokens"),
    ],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "one-sign": [(FlipsInTraining, "opposite to that of evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Single, "torch.float32")],
    "every-count": [(SeesMatesAmongMany, "4 inputs, mates: rows")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
}
HEAVY = {c.name for c in checks_of("fusion", full=True) if c.full}


def test_every_check_has_a_control():
    assert set(CONTROLS) == {c.name for c in checks_of("fusion", full=True)} - HERE


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("fusion", component, spec=SPECS.get(component), names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
