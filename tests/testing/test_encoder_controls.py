"""Each check of encoders catches the defect planted for it, and forbids no sound encoder."""

import random
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.plugin import EncoderSpec
from mmkit.testing import checks_of
from tests.testing.test_surroundings import HERE


class Steps:
    """Sequences of vectors, [T 3]."""

    def decode(self, raw):
        return raw

    def example(self, generator):
        length = int(torch.randint(2, 7, (), generator=generator))
        return 2 + 3 * torch.randn(length, 3, generator=generator)


class Padded:
    """Scales by what it saw, and pads.

    Args:
        noise: added where a generator is given.
    """

    def __init__(self, *, noise: float = 0.0):
        self.noise = noise
        self.augments = noise > 0
        self.mean = 0.0

    def fit(self, values):
        self.mean = float(torch.cat([v for v in values if v is not None]).mean())

    def __call__(self, values, generator=None):
        lengths = [0 if v is None else len(v) for v in values]
        steps = torch.zeros(len(values), max(1, *lengths), 3)
        for row, value in enumerate(values):
            if value is not None:
                steps[row, : len(value)] = value - self.mean
        if generator is not None and self.noise:
            steps = steps + self.noise * torch.randn(steps.shape, generator=generator)
        return {"steps": steps, "mask": torch.arange(steps.shape[1]) < torch.tensor(lengths).unsqueeze(1)}

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]


class Noisy(Padded):
    """Augments by its default.

    Args:
        noise: added where a generator is given.
    """

    def __init__(self, *, noise: float = 0.1):
        super().__init__(noise=noise)


class Sound(nn.Module):
    """A map of each step.

    Args:
        width: D.
        dropout: in training.
    """

    reads = Padded

    def __init__(self, transform, *, width: int = 6, dropout: float = 0.1):
        super().__init__()
        self.width = width
        self.map = nn.Linear(3, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def tokens(self, batch):
        return self.out(self.dropout(torch.tanh(self.map(batch["steps"]))))

    def forward(self, batch):
        return Features.of(self.tokens(batch), batch["mask"])


class Augmenting(Sound):
    """Its transform augments."""

    reads = Noisy


class BatchNormed(Sound):
    """BatchNorm over what is real."""

    def __init__(self, transform):
        super().__init__(transform)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, batch):
        tokens = self.tokens(batch) * batch["mask"].unsqueeze(-1)
        pooled = self.norm(tokens.sum(1) / batch["mask"].sum(1, keepdim=True).clamp(min=1))
        return Features.of(tokens, batch["mask"], pooled)


class SaysRowwise(BatchNormed):
    """It has statistics of the batch, and says that it has none."""

    rowwise = True


class Recurrent(Sound):
    """`torch.compile(fullgraph=True)` cannot take an LSTM, and its spec says so."""

    def __init__(self, transform):
        super().__init__(transform)
        self.cell = nn.LSTM(3, 6, batch_first=True)

    def tokens(self, batch):
        lengths = batch["mask"].sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(batch["steps"], lengths, batch_first=True, enforce_sorted=False)
        states = nn.utils.rnn.pad_packed_sequence(
            self.cell(packed)[0], batch_first=True, total_length=batch["steps"].shape[1]
        )[0]
        return self.out(torch.tanh(self.map(batch["steps"])) + states)


class Embedding(Sound):
    """An embedding whose row of padding is zero and stays it: summing without a mask is right."""

    def __init__(self, transform):
        super().__init__(transform)
        self.table = nn.Embedding(5, 6, padding_idx=0)

    def tokens(self, batch):
        index = (batch["steps"][..., 0].abs().long() % 4 + 1) * batch["mask"]
        summary = self.table(index).sum(1, keepdim=True)
        return super().tokens(batch) + summary


# ---------------------------------------------------------------------------------------------------- planted defects


class Undocumented(Sound):
    """It has an option that nobody explains."""

    def __init__(self, transform, *, rate: float = 0.1):
        super().__init__(transform)


class ReadsNothing(Sound):
    reads = None


class Widthless(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.width = "6"  # type: ignore[assignment]


class NoMask(Padded):
    def __call__(self, values, generator=None):
        return {"steps": super().__call__(values, generator)["steps"]}


class FloatMask(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch | {"mask": batch["mask"].float()}


class MissingIsThere(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch | {"mask": torch.ones_like(batch["mask"])}


class StrayLeaf(Padded):
    def __call__(self, values, generator=None):
        return super().__call__(values, generator) | {"size": torch.tensor([3])}


class AlwaysDraws(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch | {"steps": batch["steps"] + 0.1 * torch.randn(batch["steps"].shape)}


class DrawsGlobally(Padded):
    augments = True

    def __init__(self):
        super().__init__()
        self.augments = True

    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch if generator is None else batch | {"steps": batch["steps"] + torch.randn(batch["steps"].shape)}


class DrawsFromNumpy(Padded):
    def __call__(self, values, generator=None):
        np.random.rand(1)
        return super().__call__(values, generator)


class DrawsFromRandom(Padded):
    def __call__(self, values, generator=None):
        random.random()
        return super().__call__(values, generator)


class ReusesBuffer(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        place = self.buffer[: len(values), : batch["steps"].shape[1]]
        place.copy_(batch["steps"])
        return batch | {"steps": place}

    def fit(self, values):
        super().fit(values)
        self.buffer = torch.zeros(64, 64, 3)


class ShiftsValues(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        for value in values:
            if value is not None:
                value.mul_(1.5)
        return batch


class KeepsCall(Padded):
    """What it is working on stands in self, where another thread puts its own."""

    def __call__(self, values, generator=None):
        self.rows = []
        for number in range(len(values)):
            self.rows.append(values[number])
        rows = self.rows[: len(values)]
        return super().__call__(rows + [None] * (len(values) - len(rows)), generator)


class Accumulates(Padded):
    seen: tuple[Any, ...] = ()

    def fit(self, values):
        self.seen = (*self.seen, *values)
        super().fit(self.seen)


class Silent(Noisy):
    def __init__(self):
        super().__init__(noise=0.1)
        self.augments = False


class Boasts(Padded):
    def __init__(self):
        super().__init__()
        self.augments = True


class Forgets(Padded):
    def state(self):
        return {"mean": 0.0}


class NotJson(Padded):
    def state(self):
        return {"mean": torch.tensor(self.mean)}


class Unpicklable(Padded):
    def __init__(self):
        super().__init__()
        self.shift = lambda x: x


def reading(transform):
    return type(f"Reads{transform.__name__}", (Sound,), {"reads": transform, "__doc__": Sound.__doc__})


class DropsInEvaluation(Sound):
    def tokens(self, batch):
        return F.dropout(super().tokens(batch), 0.5)


class WrongWidth(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.width = 7


class NotZeroed(Sound):
    def forward(self, batch):
        return Features(self.tokens(batch), batch["mask"])


class ClaimsAll(Sound):
    def forward(self, batch):
        return Features.of(self.tokens(batch))


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


class Frozen(Sound):
    """What never changes: no weight, and no batch norm."""

    frozen = True

    def __init__(self, transform):
        super().__init__(transform, dropout=0.0)
        self.norm = nn.BatchNorm1d(6)
        self.requires_grad_(False)  # noqa: FBT003

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def tokens(self, batch):
        return self.norm(super().tokens(batch).flatten(0, 1)).unflatten(0, batch["mask"].shape)


class FrozenInName(Frozen):
    def __init__(self, transform):
        super().__init__(transform)
        self.requires_grad_(True)  # noqa: FBT003


class LiveNorm(Frozen):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


class DropsThough(Frozen):
    def __init__(self, transform):
        super().__init__(transform)
        self.dropout = nn.Dropout(0.5)


class Reversed(torch.autograd.Function):
    """What it computes is the identity, and its gradient has the wrong sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class WrongBackward(Sound):
    def tokens(self, batch):
        return self.out(Reversed.apply(torch.tanh(self.map(batch["steps"]))))


class RawExponential(Sound):
    def tokens(self, batch):
        weights = self.map(batch["steps"]).exp()
        return self.out(weights / weights.sum(-1, keepdim=True))


class FlipsInTraining(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (-1 if self.training else 1)


class Tires(Sound):
    calls = 0

    def tokens(self, batch):
        self.calls += 1
        return super().tokens(batch) * (1 if self.calls < 50 else 0.5)


class ZeroInHalf(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (not torch.is_autocast_enabled("cpu"))


class RateOfNothing(Sound):
    rates: ClassVar = {"maps.weight": 0.1}


class IgnoresDropout(Sound):
    """Its option is read and forgotten.

    Args:
        width: D.
        dropout: in training.
    """

    def __init__(self, transform, *, width: int = 6, dropout: float = 0.1):
        super().__init__(transform, width=width)


class KeepsItsWidth(Sound):
    """It is built for one width.

    Args:
        width: D.
    """

    def __init__(self, transform, *, width: int = 6):
        super().__init__(transform)


class LooksUnderMask(Sound):
    def tokens(self, batch):
        return super().tokens(batch) + batch["steps"].mean(1, keepdim=True) @ self.map.weight.T


class FiniteForwardOnly(Sound):
    def forward(self, batch):
        tokens = super().tokens(batch) * batch["mask"].unsqueeze(-1)
        return Features.of(tokens, batch["mask"], tokens.sum(1) / batch["mask"].sum(1, keepdim=True))


class Unused(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.forgotten = nn.Parameter(torch.ones(3))


class Deaf(Sound):
    def tokens(self, batch):
        return self.out(torch.tanh(self.map(torch.ones_like(batch["steps"]))))


class PlainTensor(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.position = torch.randn(6)

    def tokens(self, batch):
        tokens = super().tokens(batch)
        return tokens + self.position.to(tokens.dtype)


class Clamps(Sound):
    def tokens(self, batch):
        return super().tokens({"steps": batch["steps"].clamp_(-1, 1)})


class AddsKey(Sound):
    def forward(self, batch):
        batch["features"] = self.tokens(batch)
        return Features.of(batch["features"], batch["mask"])


class CastsByHand(Sound):
    def tokens(self, batch):
        tokens = super().tokens(batch)
        return torch.zeros_like(batch["steps"]).repeat(1, 1, 2).index_add(0, torch.arange(len(tokens)), tokens)


class KeepsOnCpu(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.shift = torch.linspace(0, 1, 3)

    def tokens(self, batch):
        return super().tokens({"steps": batch["steps"] + self.shift.to(batch["steps"].dtype)})


class Single(Sound):
    def tokens(self, batch):
        return super().tokens(batch).float()


class Branches(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (2 if batch["mask"].all() else 3)


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate")],
    "builds": [(ReadsNothing, "`reads`"), (Widthless, "`width`")],
    "transform-batch": [
        (reading(NoMask), "the leaf mask"),
        (reading(FloatMask), "torch.float32"),
        (reading(MissingIsThere), "the mask says"),
        (reading(StrayLeaf), "the leaf size"),
    ],
    "transform-repeatable": [
        (reading(AlwaysDraws), "two different batches"),
        (reading(DrawsGlobally), "one seed"),
        (reading(DrawsFromNumpy), "numpy's global"),
        (reading(DrawsFromRandom), "random's global"),
    ],
    "transform-buffer": [(reading(ReusesBuffer), "reuses a buffer"), (reading(ShiftsValues), "changes the values")],
    "transform-threads": [(reading(KeepsCall), "keep nothing of a call in self")],
    "transform-fit": [(reading(Accumulates), "fit accumulates")],
    "transform-augments": [(reading(Silent), "augments is False"), (reading(Boasts), "augments is True")],
    "transform-state": [(reading(Forgets), "lacks something"), (reading(NotJson), "raised TypeError")],
    "transform-pickle": [(reading(Unpicklable), "raised")],
    "deterministic": [(DropsInEvaluation, "random number")],
    "shapes": [(WrongWidth, r"T 7\]")],
    "masked": [(NotZeroed, "tokens are not zero"), (ClaimsAll, "rows there are")],
    "one-sample": [(Squeezes, "raised ValueError")],
    "mates": [(SeesMates, "without the others")],
    "alone": [(CountsLength, "transformed alone"), (PooledCountsPadding, "transformed alone: features.vector")],
    "rowwise": [(SaysRowwise, "in training, rows")],
    "large": [(EightRows, "raised RuntimeError")],
    "frozen": [
        (FrozenInName, "6 parameters ask for a gradient"),
        (LiveNorm, "changes norm.running_mean"),
        (DropsThough, "in training: features"),
    ],
    "rates": [(RateOfNothing, "name 'maps.weight', which is no parameter")],
    "options-act": [(IgnoresDropout, "option dropout changes nothing")],
    "other-width": [(KeepsItsWidth, "with width=3 its attribute width is 6")],
    "garbage": [(LooksUnderMask, "garbage under the mask")],
    "missing-rows": [(FiniteForwardOnly, "gradient: map.weight")],
    "gradients": [(Unused, "forgotten")],
    "influence": [(Deaf, "the sample")],
    "state-dict": [(PlainTensor, "after its state is loaded")],
    "mutation": [(Clamps, "changes 0.steps"), (AddsKey, "0.features")],
    "one-device": [(KeepsOnCpu, "two different devices")],
    "autocast": [(CastsByHand, "raised RuntimeError"), (ZeroInHalf, "bf16: features.tokens is off")],
    "derivative": [(WrongBackward, "a direction of the parameters")],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "one-sign": [(FlipsInTraining, "opposite to that of evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Single, "torch.float32")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
}
HEAVY = {c.name for c in checks_of("encoder", full=True) if c.full}
SPEC = EncoderSpec("steps", "", "", modality="steps")


def test_every_check_has_a_control():
    assert set(CONTROLS) == {c.name for c in checks_of("encoder", full=True)} - HERE


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("encoder", component, spec=SPEC, modality=Steps, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


SOUND = [Sound, Augmenting, BatchNormed, Recurrent, Embedding, Frozen]


@pytest.mark.parametrize("component", SOUND)
def test_no_sound_encoder_is_forbidden(examine, component):
    results = examine("encoder", component, spec=SPEC, modality=Steps)
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []


@pytest.mark.full
@pytest.mark.parametrize("component", [Sound, BatchNormed, Embedding])
def test_sound_encoders_are_captured(examine, component):
    results = examine("encoder", component, spec=SPEC, modality=Steps, names=HEAVY)
    assert {r.status for r in results.values()} == {"passed"}, results


@pytest.mark.full
def test_spec_may_say_that_an_encoder_cannot_be_captured(examine):
    spec = EncoderSpec("steps", "", "", modality="steps", fullgraph=False)
    results = examine("encoder", Recurrent, spec=spec, modality=Steps, names=HEAVY)
    assert {(r.status, r.message) for r in results.values()} == {("not applicable", "its spec says fullgraph=False")}
