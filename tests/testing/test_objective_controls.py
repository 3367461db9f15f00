"""Each check of objectives catches the defect planted for it, and forbids no sound objective."""

import math
import re
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.plugin import ObjectiveSpec
from mmkit.testing import checks_of
from tests.testing.test_surroundings import HERE


class Sound(nn.Module):
    """Projections of inputs that are there shall agree with the fused features.

    Args:
        weight: of the loss.
    """

    def __init__(self, widths, width, target, *, weight: float = 0.1):
        super().__init__()
        self.weight = weight
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def distance(self, found, name):
        features = found.features[name]
        return (self.maps[name](features.vector()) - found.fused.vector()).square().mean(1) * features.present()

    def forward(self, found, truth):
        return self.weight * sum(self.distance(found, name) for name in self.maps)


class Entropy(nn.Module):
    """It reads the output alone, and trains nothing: how far its entropy lies below the greatest there is."""

    def __init__(self, widths, width, target):
        super().__init__()

    def forward(self, found, truth):
        log = found.output.log_softmax(1)
        return (log.exp() * log).sum(1) + math.log(log.shape[1])


class ForClasses(Entropy):
    """It refuses other kinds of target."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        if target.kind != "classes":
            raise ValueError(f"for classes only; got {target.kind}")


class Single(Entropy):
    """It reads the output of each input."""

    def forward(self, found, truth):
        return sum(output.square().mean(1) * found.shown(name) for name, output in found.unimodal.items())


class CountsHidden(Single):
    """It takes the output of a head that was shown nothing for one of the input."""

    def forward(self, found, truth):
        return sum(output.square().mean(1) * found.features[name].present() for name, output in found.unimodal.items())


class Contrastive(Sound):
    """A batch's samples are set against each other."""

    def forward(self, found, truth):
        fused = found.fused.vector()
        loss = 0
        for name in self.maps:
            there = found.features[name].present()
            scores = self.maps[name](found.features[name].vector()) @ fused.T
            loss = loss - scores.log_softmax(1).diagonal() * there
        return self.weight * loss


class ComparesUnsaid(Contrastive):
    """Its spec does not say so."""


class ComparesTokens(Contrastive):
    """Its spec says that it compares, and not that it reads vectors alone."""


class Dependence(Sound):
    """An estimate over the batch, which of independent numbers falls with the rows: their squared correlations."""

    def forward(self, found, truth):
        fused = found.fused.vector()
        total = fused.new_zeros(())
        for name, layer in self.maps.items():
            there = found.features[name].present().to(fused.dtype).unsqueeze(1)
            count = there.sum().clamp(min=1)
            sides = [
                (side - (side * there).sum(0) / count) * there for side in (layer(found.features[name].vector()), fused)
            ]
            one, other = (side * torch.rsqrt(side.square().sum(0) + 1e-3) for side in sides)
            total = total + (one.T @ other).square().mean()
        return (self.weight * total).expand(len(fused))


# ---------------------------------------------------------------------------------------------------- planted defects


class Undocumented(Sound):
    """It has an option that nobody explains."""

    def __init__(self, widths, width, target, *, rate: float = 0.1):
        super().__init__(widths, width, target)


class RefusesAll(Entropy):
    def __init__(self, widths, width, target):
        raise ValueError("never")


class DropsInEvaluation(Sound):
    def distance(self, found, name):
        return super().distance(found, name) * torch.rand(())


class MeanLoss(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth).mean()


class Squeezes(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth).squeeze()


class ByPlace(Sound):
    def forward(self, found, truth):
        return sum((i + 1) * self.distance(found, name) for i, name in enumerate(found.features))


class AtMostThree(Sound):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, found, truth):
        return sum(self.scale[i] * self.distance(found, name) for i, name in enumerate(self.maps))


class FiniteForwardOnly(Sound):
    def distance(self, found, name):
        return super().distance(found, name) + found.features[name].vector().norm(dim=1).pow(0.5)


class DividesByPresent(Sound):
    """Finite as long as somebody has the input, and as long as nobody has any."""

    def distance(self, found, name):
        shares = [f.present().sum() for f in found.features.values()]
        return super().distance(found, name) / (found.features[name].present().sum() + (sum(shares) == 0))


class PenalisesMissing(Sound):
    """What is missing is pulled towards the fused features as zero."""

    def distance(self, found, name):
        return (self.maps[name](found.features[name].vector()) - found.fused.vector()).square().mean(1)


class CountsAll(Sound):
    """A mean over all inputs, whoever is there."""

    def forward(self, found, truth):
        return super().forward(found, truth) / len(self.maps)


class Reward(Entropy):
    """A reward has the sign of no loss."""

    def forward(self, found, truth):
        return -super().forward(found, truth)


class RewardInTraining(Sound):
    def forward(self, found, truth):
        loss = super().forward(found, truth)
        return -loss if self.training else loss


class TimesBatch(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth) * len(truth["mask"])


class ShareOfMean(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth) / len(truth["mask"])


class Supervised(ForClasses):
    """It reads truth where truth is, whatever stands elsewhere."""

    def forward(self, found, truth):
        label = truth["label"].where(truth["mask"], 0)
        return F.cross_entropy(found.output, label, reduction="none") * truth["mask"]


class ReadsUnknown(ForClasses):
    def forward(self, found, truth):
        return F.cross_entropy(found.output, truth["label"].clamp(min=0), reduction="none")


class ReadsUnknownNumbers(Entropy):
    """NaN times zero is NaN."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        if target.kind != "scalar":
            raise ValueError(f"for numbers only; got {target.kind}")

    def forward(self, found, truth):
        return (found.output - truth["values"]).square().mean(1) * truth["mask"]


class LooksUpUnknown(ForClasses):
    """A memory of all samples, asked for those without truth as well."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.register_buffer("kept", torch.linspace(0, 1, target.samples))

    def forward(self, found, truth):
        return super().forward(found, truth) * self.kept[truth["index"]] * truth["mask"]


class RawExponential(Entropy):
    def forward(self, found, truth):
        return found.output.exp().sum(1).log().square()


class Tires(Sound):
    calls = 0

    def forward(self, found, truth):
        self.calls += 1
        return super().forward(found, truth) * (1 if self.calls < 50 else 0.5)


class ZeroInHalf(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth) * (not torch.is_autocast_enabled("cpu"))


class RateOfNothing(Sound):
    rates: ClassVar = {"map": 0.1}


class IgnoresWeight(Sound):
    """Its option is read and forgotten.

    Args:
        weight: of the loss.
    """

    def __init__(self, widths, width, target, *, weight: float = 0.1):
        super().__init__(widths, width, target)


class EightRows(Sound):
    def forward(self, found, truth):
        loss = super().forward(found, truth)
        return loss * torch.ones(8, dtype=loss.dtype)[: len(loss)]


class Unused(Sound):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.forgotten = nn.Parameter(torch.ones(3))


class Detached(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth).detach()


class PlainTensor(Sound):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.centre = torch.randn(())

    def distance(self, found, name):
        return super().distance(found, name) * self.centre


class AddsKey(Sound):
    def forward(self, found, truth):
        found.features["extra"] = found.fused
        return super().forward(found, truth)


class CastsByHand(Sound):
    def distance(self, found, name):
        mapped = self.maps[name](found.features[name].vector())
        empty = torch.zeros_like(found.fused.vector())
        return empty.index_add(0, torch.arange(len(mapped)), mapped).square().mean(1)


class MakesOnCpu(Sound):
    def forward(self, found, truth):
        loss = super().forward(found, truth)
        return loss * torch.ones(len(loss), dtype=loss.dtype)


class Rounds(Sound):
    def forward(self, found, truth):
        return super().forward(found, truth).float()


class FirstToken(Sound):
    def distance(self, found, name):
        first = found.features[name].tokens[:, 0]
        return (self.maps[name](first) - found.fused.vector()).square().mean(1)


class MeansPadding(Sound):
    """Tokens are averaged with those of padding."""

    def distance(self, found, name):
        tokens = self.maps[name](found.features[name].tokens.mean(1))
        return (tokens - found.fused.vector()).square().mean(1) * found.features[name].present()


class WeighedTwice(Sound):
    """The weight is multiplied in two places."""

    def forward(self, found, truth):
        return self.weight * super().forward(found, truth)


class Taught(nn.Module):
    """What an input says is to be mapped to what its teacher says.

    Args:
        weight: of the loss.
    """

    def __init__(self, widths, width, target, taught, *, weight: float = 0.1):
        super().__init__()
        self.weight = weight
        self.maps = nn.ModuleDict({name: nn.Linear(widths[name], d) for name, d in taught.items()})

    def distance(self, own, its, there):
        return (own - its).square().mean(1) * there

    def forward(self, found, truth):
        losses = [
            self.distance(
                self.maps[name](found.features[name].vector()),
                teacher.fused.vector(),
                found.features[name].present(),
            )
            for name, teacher in found.teachers.items()
        ]
        return self.weight * torch.stack(losses).sum(0)


class TeachesTeachers(Taught):
    """The gradient goes to the teacher, and not to the model."""

    def forward(self, found, truth):
        features = {name: replace(f, tokens=f.tokens.detach(), pooled=None) for name, f in found.features.items()}
        return super().forward(replace(found, features=features), truth)


class DeafToTeachers(Taught):
    def distance(self, own, its, there):
        return own.square().mean(1) * there


class TaughtOfMissing(Taught):
    """An output that is there is compared with that of a teacher who saw nothing."""

    def forward(self, found, truth):
        outputs = [(found.output - teacher.output).square().mean(1) for teacher in found.teachers.values()]
        return super().forward(found, truth) + torch.stack(outputs).sum(0)


TAUGHT = ObjectiveSpec("taught", "", "", teachers=True)
SPECS = {
    Taught: TAUGHT,
    TeachesTeachers: TAUGHT,
    DeafToTeachers: TAUGHT,
    TaughtOfMissing: TAUGHT,
    Sound: ObjectiveSpec("sound", "", "", vectors=True),
    Single: ObjectiveSpec("single", "", "", unimodal=True),
    CountsHidden: ObjectiveSpec("counts-hidden", "", "", unimodal=True),
    Contrastive: ObjectiveSpec("c", "", "", min_inputs=2, vectors=True, compares=True),
    Dependence: ObjectiveSpec("d", "", "", vectors=True, compares=True),
    ComparesTokens: ObjectiveSpec("t", "", "", compares=True),
    FirstToken: ObjectiveSpec("first-token", "", "", vectors=True),
}
CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate")],
    "builds": [(RefusesAll, "raised ValueError: never")],
    "deterministic": [(DropsInEvaluation, "random number")],
    "shapes": [(MeanLoss, r"the loss is torch.float32 \[\]")],
    "one-sample": [(Squeezes, r"one sample in evaluation: the loss is torch.float32 \[\]")],
    "padding": [(MeansPadding, "with more padding")],
    "weight": [(WeighedTwice, "twice the weight")],
    "vectors": [(FirstToken, "vectors in the place of tokens")],
    "order": [(ByPlace, "another order")],
    "input-counts": [(AtMostThree, "4 inputs: raised IndexError")],
    "missing-rows": [(FiniteForwardOnly, "gradient")],
    "missing-inputs": [(DividesByPresent, "input a is missing in all 3")],
    "compares": [
        (ComparesUnsaid, "of 4 without the others"),
        (ComparesTokens, "say vectors=True"),
    ],
    "removal": [
        (PenalisesMissing, "input a is missing in all rows"),
        (CountsAll, "input a is missing in all rows"),
    ],
    "not-negative": [
        (Reward, "in evaluation it gives -"),
        (RewardInTraining, "in training it gives -"),
    ],
    "size-of-loss": [(TimesBatch, "in one of 128"), (ShareOfMean, "in one of 128")],
    "unknown-truth": [
        (ReadsUnknown, "another placeholder"),
        (ReadsUnknownNumbers, "another placeholder"),
        (LooksUpUnknown, "raised IndexError"),
    ],
    "rates": [(RateOfNothing, "name 'map', which is no parameter")],
    "options-act": [(IgnoresWeight, "option weight changes nothing")],
    "large": [(EightRows, "raised RuntimeError")],
    "gradients": [(Unused, "forgotten")],
    "reach": [(Detached, "no gradient to features"), (TeachesTeachers, "no gradient to features")],
    "hidden": [(CountsHidden, "another output of a, which its head did not see: the loss")],
    "teachers": [
        (DeafToTeachers, "whatever the teacher of"),
        (TaughtOfMissing, "which is missing: the loss"),
    ],
    "state-dict": [(PlainTensor, "after its state is loaded")],
    "mutation": [(AddsKey, "extra")],
    "one-device": [(MakesOnCpu, "two different devices")],
    "autocast": [(CastsByHand, "raised RuntimeError"), (ZeroInHalf, "bf16: loss is off")],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Rounds, "torch.float32")],
}


def test_every_check_has_a_control():
    assert set(CONTROLS) == {c.name for c in checks_of("objective", full=True)} - HERE


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("objective", component, spec=SPECS.get(component), names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize("component", [Sound, Entropy, ForClasses, Single, Contrastive, Dependence, Supervised, Taught])
def test_no_sound_objective_is_forbidden(examine, component):
    results = examine("objective", component, spec=SPECS.get(component))
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []
