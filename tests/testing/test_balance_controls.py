"""Each check of balance methods catches the defect planted for it, and forbids no sound method."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.layers.border import detached, scaled, without
from mmkit.plugin import BalanceSpec
from mmkit.testing import checks_of
from tests.testing.test_surroundings import HERE


class Sound(nn.Module):
    """Gradients of an input that is ahead are halved.

    Args:
        share: of the gradient that is left.
    """

    def __init__(self, widths, width, target, *, share: float = 0.5):
        super().__init__()
        self.inputs = sorted(widths)
        self.share = share

    def shares(self, features, unimodal, truth):
        size = {name: unimodal[name].square().mean() for name in self.inputs}
        most = torch.stack(list(size.values())).amax()
        return {name: torch.where(size[name] == most, self.share, 1.0) for name in self.inputs}

    def border(self, features, unimodal, truth):
        shares = self.shares(features, unimodal, truth)
        return {name: scaled(features[name], shares[name]) for name in self.inputs}


class Weighs(nn.Module):
    """The loss of the first head counts twice."""

    def __init__(self, widths, width, target):
        super().__init__()
        self.first = f"balance.{min(widths)}"

    def weigh(self, losses, output, truth):
        return {name: 2 * loss if name == self.first else loss for name, loss in losses.items()}


class Stops(nn.Module):
    """The fusion teaches no encoder; the heads do."""

    def __init__(self, widths, width, target):
        super().__init__()

    def border(self, features, unimodal, truth):
        return {name: detached(part) for name, part in features.items()}


class Clears(Stops):
    """An input is left out of the fusion."""

    def border(self, features, unimodal, truth):
        first = min(features)
        part = features[first]
        return {**features, first: without(part, torch.zeros_like(part.present()))}


class Draws(Stops):
    """Rows of an input are left out at random."""

    def border(self, features, unimodal, truth):
        kept = {
            name: torch.rand(len(features[name].mask), device=features[name].mask.device) < 0.5
            for name in sorted(features)
        }
        return {name: without(part, kept[name]) for name, part in features.items()}


class Halves(Stops):
    """What the first input gives to the output has half the gradient."""

    border = None

    def output(self, subsets, features, truth):
        names = tuple(sorted(features))
        changed = subsets[names] - subsets[names[:1]] / 2
        return subsets[names].detach() + changed - changed.detach()


class TwoPasses(Stops):
    """The heads teach with twice the weight, by a pass of their own."""

    border = None

    def backward(self, losses, parameters):
        own = [loss for name, loss in losses.items() if name.startswith("balance.")]
        (2 * torch.stack(own).sum()).backward(retain_graph=True)
        losses["head"].backward()


class Learns(Stops):
    """It has a weight of its own, and counts epochs."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("epochs", torch.zeros(()))

    def epoch(self, number, measure):
        self.epochs.fill_(number + measure("train")["head"])

    def weigh(self, losses, output, truth):
        return {name: loss * self.weight.square() * (1 + self.epochs) for name, loss in losses.items()}


class Turns(nn.Module):
    """An input after the other; the head learns half as fast."""

    def __init__(self, widths, width, target):
        super().__init__()
        self.turns = [[name] for name in sorted(widths)]

    def turned(self, turn, head):
        head.weight.grad.mul_(0.5)


class Later(Weighs):
    """It acts once an epoch with batches is over."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("epochs", torch.zeros(()))

    def epoch(self, number, measure):
        self.epochs.copy_(self.epochs + (self.batches > 0))
        self.batches.zero_()

    def weigh(self, losses, output, truth):
        if self.training:
            self.batches.add_(1)
        return {name: loss * (1 + self.epochs) if name == self.first else loss for name, loss in losses.items()}


# ---------------------------------------------------------------------------------------------------- planted defects


class Undocumented(Sound):
    """It has an option that nobody explains."""

    def __init__(self, widths, width, target, *, rate: float = 0.1):
        super().__init__(widths, width, target)


class RefusesAll(Stops):
    def __init__(self, widths, width, target):
        raise ValueError("never")


class MeasuresAnything(Sound):
    def epoch(self, number, measure):
        measure("test")


class MeanLoss(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss.mean() for name, loss in losses.items()}


class Squeezes(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss.squeeze() for name, loss in losses.items()}


class ByPlace(Weighs):
    def weigh(self, losses, output, truth):
        first = next(iter(output.features))
        return {name: loss * 2 if name.endswith(first) else loss for name, loss in losses.items()}


class AtMostThree(Weighs):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.names = [f"balance.{name}" for name in widths]
        self.register_buffer("weights", torch.ones(3) * 2)

    def weigh(self, losses, output, truth):
        return {**losses, **{name: losses[name] * self.weights[i] for i, name in enumerate(self.names)}}


class Divides(Sound):
    """By what is zero where all is missing, of which nothing comes through but for the gradient."""

    def border(self, features, unimodal, truth):
        rows = {name: part.present().sum() for name, part in features.items()}
        return {name: scaled(part, 1 / rows[name].float()) for name, part in features.items()}


class DividesByOthers(Sound):
    """Only where an input is missing in all rows, and others are not."""

    def border(self, features, unimodal, truth):
        rows = torch.stack([part.present().sum() for part in features.values()])
        gone = (rows == 0).any() & (rows > 0).any()
        return {name: scaled(part, torch.where(gone, torch.inf, 0.5)) for name, part in features.items()}


class Believes(Sound):
    """What is complete is treated in another way."""

    def weigh(self, losses, output, truth):
        return {name: loss * (3 if output.features["a"].complete else 1) for name, loss in losses.items()}


class AddsKey(Sound):
    def border(self, features, unimodal, truth):
        found = super().border(features, unimodal, truth)
        features["extra"] = features["a"]
        return found


class MakesOnCpu(Sound):
    def border(self, features, unimodal, truth):
        return {name: scaled(part, torch.ones(len(part.mask)) * 0.5) for name, part in features.items()}


class Rounds(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss.float() for name, loss in super().weigh(losses, output, truth).items()}


class Exponential(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss * loss.detach().exp() for name, loss in losses.items()}


class IgnoresShare(Sound):
    """Its option is read and forgotten.

    Args:
        share: of the gradient that is left.
    """

    def __init__(self, widths, width, target, *, share: float = 0.5):
        super().__init__(widths, width, target)


class ChangesOutput(Halves):
    def output(self, subsets, features, truth):
        return super().output(subsets, features, truth) * 1.01


class ForgetsTurn(Turns):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.turns = self.turns[1:]


class TurnOfNobody(Turns):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.turns = [*self.turns, ["nobody"]]


class Explodes(Turns):
    def turned(self, turn, head):
        head.weight.grad.div_(0)


class NoTurns(Sound):
    def turned(self, turn, head):
        pass


class TakesGradient(Turns):
    def turned(self, turn, head):
        head.weight.grad = None


class MeanOutput(Halves):
    def output(self, subsets, features, truth):
        return super().output(subsets, features, truth).mean(0)


class Unused(Sound):
    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.forgotten = nn.Parameter(torch.ones(3))


class ReadsUnknown(Weighs):
    def weigh(self, losses, output, truth):
        leaf = next(leaf for name, leaf in truth.items() if name != "mask")
        return {name: loss * (1 + leaf.float().square().mean()) for name, loss in losses.items()}


class Nothing(nn.Module):
    def __init__(self, widths, width, target):
        super().__init__()


class NoChange(Nothing):
    def border(self, features, unimodal, truth):
        return dict(features)


class EpochAlone(Nothing):
    def epoch(self, number, measure):
        self.number = number


class ScalesValues(Sound):
    def border(self, features, unimodal, truth):
        return {name: replace(part, tokens=part.tokens * 0.5) for name, part in features.items()}


class Unmasks(Sound):
    def border(self, features, unimodal, truth):
        return {name: replace(part, mask=torch.ones_like(part.mask)) for name, part in features.items()}


class ForgetsInner(Sound):
    def border(self, features, unimodal, truth):
        return {name: Features.of(part.tokens, part.mask, part.pooled) for name, part in features.items()}


class MasksTokensAlone(Sound):
    def border(self, features, unimodal, truth):
        return {name: replace(without(part, part.mask[:, 0]), inner=part.inner) for name, part in features.items()}


class StopsTokensAlone(Sound):
    def border(self, features, unimodal, truth):
        return {name: replace(detached(part), inner=part.inner) for name, part in features.items()}


class DropsInput(Weighs):
    def split(self, features):
        return {name: features[name] for name in sorted(features)}, features

    def border(self, features, unimodal, truth):
        return {**features, "more": features["a"]}


class Forgets(Weighs):
    def weigh(self, losses, output, truth):
        return {"head": losses["head"]}


class Negative(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss - 5 for name, loss in losses.items()}


class NoNumbers(Sound):
    """Of batches of five, so that they are numbers where shapes are checked."""

    def border(self, features, unimodal, truth):
        given = super().border(features, unimodal, truth)
        factor = torch.nan if len(given["a"].mask) == 5 else 1
        return {name: replace(part, tokens=part.tokens * factor) for name, part in given.items()}


class NoNumberOfALoss(Weighs):
    def weigh(self, losses, output, truth):
        return {name: loss * torch.nan for name, loss in losses.items()}


class TeachesNone(Stops):
    def split(self, features):
        return features, {name: detached(part) for name, part in features.items()}


class BackwardOfNothing(TwoPasses):
    def backward(self, losses, parameters):
        for name in parameters:
            for one in parameters[name]:
                one.grad = torch.zeros_like(one)


class PlainNumber(Sound):
    """What it knows of epochs is no buffer."""

    factor = 1.0

    def epoch(self, number, measure):
        self.factor = 1 / number

    def shares(self, features, unimodal, truth):
        return {name: share * self.factor for name, share in super().shares(features, unimodal, truth).items()}


TRAINED = BalanceSpec("trained", "", "", unimodal="trained")
CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate")],
    "builds": [
        (RefusesAll, "raised ValueError: never"),
        (MeasuresAnything, "it measures on 'test'"),
        (TakesGradient, "leaves the head without a gradient"),
        (MeanOutput, r"is \[6, 3\]; it gives \[3\]"),
    ],
    "shapes": [(MeanLoss, r"the loss is torch.float32 \[\]")],
    "one-sample": [(Squeezes, r"one sample in evaluation: the loss is torch.float32 \[\]")],
    "order": [(ByPlace, "another order")],
    "input-counts": [(AtMostThree, "4 inputs: raised IndexError|5 inputs: raised IndexError")],
    "missing-rows": [(Divides, "all 3 samples are missing")],
    "missing-inputs": [(DividesByOthers, "input a is missing in all 3")],
    "mutation": [(AddsKey, "extra")],
    "one-device": [(MakesOnCpu, "two different devices")],
    "float64": [(Rounds, "torch.float32")],
    "large-numbers": [(Exponential, "inputs times 100")],
    "options-act": [(IgnoresShare, "option share changes nothing")],
    "gradients": [(Unused, "forgotten")],
    "unknown-truth": [(ReadsUnknown, "another placeholder")],
    "acts": [
        (Nothing, "it has none of the methods split, border, output, weigh, backward, epoch"),
        (EpochAlone, "it has `epoch` alone"),
        (NoChange, "gradients are those that encoders have without it"),
    ],
    "values": [
        (ScalesValues, "tokens of a are other values"),
        (Unmasks, "is unmasked"),
        (DropsInput, "'more'"),
        (NoNumbers, "tokens of a are other"),
    ],
    "inner": [
        (ForgetsInner, "inner of a is lost"),
        (MasksTokensAlone, "inner of [abc] are other values"),
        (StopsTokensAlone, "of a it changes the gradient of tokens, and that of inner passes beside it"),
    ],
    "output": [(ChangesOutput, "outputs are other values")],
    "turns": [
        (ForgetsTurn, "its turns name b, c; the inputs are a, b, c"),
        (TurnOfNobody, "its turns name a, b, c, nobody"),
        (Explodes, "after the turn of a a gradient of the head is not finite"),
        (NoTurns, "it has a method turned, and no turns"),
    ],
    "weighed": [
        (Forgets, "of the losses balance.a, balance.b, balance.c nothing is left"),
        (Negative, "becomes -"),
        (NoNumberOfALoss, "becomes nan"),
    ],
    "teaches": [
        (TeachesNone, "no gradient reaches input a, b, c"),
        (BackwardOfNothing, "no gradient reaches input a, b, c"),
    ],
    "remembers": [(PlainNumber, "after its state is loaded, the gradient of")],
}


def test_every_check_has_a_control():
    assert set(CONTROLS) == {c.name for c in checks_of("balance", full=True)} - HERE


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("balance", component, spec=TRAINED, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


def test_what_is_told_complete_gives_the_same(examine):
    result = examine("balance", Believes, spec=TRAINED, names={"complete"})["complete"]
    assert result.status == "failed", result


@pytest.mark.parametrize("component", [Sound, Weighs, Stops, Clears, Draws, Halves, Learns, Later, Turns, TwoPasses])
def test_no_sound_method_is_forbidden(examine, component):
    results = examine("balance", component, spec=TRAINED)
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []


def test_heads_that_measure_alone_teach_no_encoder(examine):
    spec = BalanceSpec("measured", "", "", unimodal="measured")
    assert examine("balance", Stops, spec=spec, names={"teaches"})["teaches"].status == "failed"
    assert examine("balance", Sound, spec=spec, names={"teaches"})["teaches"].status == "passed"
