"""Defects of encoders that each check of construction, transforms, options and state catches."""

import random
import re
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.testing import checks_of
from tests.testing.sound_encoders import SPEC, Frozen, Noisy, Padded, Sound, Steps


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


class WantsList(Padded):
    def fit(self, values):
        super().fit(values.copy())


class OtherOfLazy(Padded):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch if isinstance(values, list) else batch | {"steps": batch["steps"] + 1}


class ReadsTwice(Padded):
    streams = True

    def fit(self, values):
        super().fit(values)
        super().fit(values)


class KeepsValues(Padded):
    streams = True

    def fit(self, values):
        super().fit(values)
        self.kept = list(values)

    def state(self):
        return super().state()


class CountsMissing(Padded):
    """What is missing counts as a step of zeros."""

    def fit(self, values):
        super().fit([torch.zeros(1, 3) if value is None else value for value in values])


class Rewards(Sound):
    """It is rewarded for large features."""

    def forward(self, batch):
        found = super().forward(batch)
        return Features.of(found.tokens, found.mask, None, {"size": -found.tokens.square().mean((1, 2))})


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
    "transform-lazy": [(reading(WantsList), "no list: AttributeError"), (reading(OtherOfLazy), "something else")],
    "transform-streams": [(reading(ReadsTwice), "reads a value 2 times"), (reading(KeepsValues), "still held")],
    "transform-missing": [(reading(CountsMissing), "leave them out in fit")],
    "not-negative": [(Rewards, "a penalty is zero or more")],
    "transform-augments": [(reading(Silent), "augments is False"), (reading(Boasts), "augments is True")],
    "transform-state": [(reading(Forgets), "lacks something"), (reading(NotJson), "raised TypeError")],
    "transform-pickle": [(reading(Unpicklable), "raised")],
    "deterministic": [(DropsInEvaluation, "random number")],
    "shapes": [(WrongWidth, r"T 7\]")],
    "masked": [(NotZeroed, "tokens are not zero"), (ClaimsAll, "rows there are")],
    "frozen": [
        (FrozenInName, "6 parameters ask for a gradient"),
        (LiveNorm, "changes norm.running_mean"),
        (DropsThough, "in training: features"),
    ],
    "rates": [(RateOfNothing, "name 'maps.weight', which is no parameter")],
    "options-act": [(IgnoresDropout, "option dropout changes nothing")],
    "other-width": [(KeepsItsWidth, "with width=3 its attribute width is 6")],
    "state-dict": [(PlainTensor, "after its state is loaded")],
    "mutation": [(Clamps, "changes 0.steps"), (AddsKey, "0.features")],
}
HEAVY = {c.name for c in checks_of("encoder", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("encoder", component, spec=SPEC, modality=Steps, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
