"""Each check of modalities and tasks catches the defect planted for it, and forbids no sound one."""

import re
import time
from typing import Any

import pytest
import torch

from mmkit.contract import Samples
from mmkit.errors import DataError
from mmkit.plugin import TaskSpec
from mmkit.testing import checks_of
from tests.testing.test_surroundings import HERE


class Number:
    """A number, as a tensor."""

    def decode(self, raw):
        if isinstance(raw, torch.Tensor):
            return raw
        if isinstance(raw, str) and raw.isdecimal():
            return torch.tensor(float(raw))
        raise DataError(f"a number is a tensor or digits; got {type(raw).__name__}")

    def example(self, generator):
        return torch.randn((), generator=generator)


class Scales(Number):
    def decode(self, raw):
        return super().decode(raw) * 2


class DrawsGlobally(Number):
    def example(self, generator):
        return torch.randn(())


class Constant(Number):
    def example(self, generator):
        return torch.tensor(1.0)


class TakesAll(Number):
    def decode(self, raw):
        return raw


class RefusesOtherwise(Number):
    def decode(self, raw):
        if not isinstance(raw, torch.Tensor):
            raise TypeError("no")
        return raw


class Reuses(Number):
    """Every value is the one tensor that it keeps."""

    def __init__(self):
        self.buffer = torch.zeros(())

    def decode(self, raw):
        return self.buffer.copy_(super().decode(raw))


class Remembers(Number):
    """It keeps the value between two lines."""

    def decode(self, raw):
        self.value = super().decode(raw)
        time.sleep(0.001)  # as if there were more to do
        return self.value


class Unpicklable(Number):
    """Its values hold what is made when they are asked."""

    def decode(self, raw):
        if isinstance(raw, Made):
            return raw
        raise DataError("it is not made")

    def example(self, generator):
        return Made(float(super().example(generator)))


class Made:
    def __init__(self, value):
        self.value = value
        self.later = lambda: value

    def __eq__(self, other):
        return self.value == other.value

    __hash__ = None


class WithOption(Number):
    """It has an option that nobody explains."""

    def __init__(self, *, rate: float = 0.1):
        pass


class NeedsArgument(Number):
    def __init__(self, rate):
        pass


MODALITY_CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(WithOption, "rate")],
    "builds": [(NeedsArgument, "raised TypeError")],
    "example-decodes": [(Scales, "for the example")],
    "decode-buffer": [(Reuses, "it reuses a buffer")],
    "decode-threads": [(Remembers, "keep nothing of a call in self")],
    "values-pickle": [(Unpicklable, "cannot be pickled")],
    "example-random": [(DrawsGlobally, "different examples"), (Constant, "do not differ")],
    "refuses": [(TakesAll, r"takes an object\(\)"), (RefusesOtherwise, "raised TypeError")],
}


class Sums:
    """Digits and their sum."""

    description = "The sum of two digits."
    inputs = {"left": "number", "right": "number"}  # noqa: RUF012 (as a plugin may write it)
    target = "scalar"
    metric = "rmse"
    encoders = {}  # noqa: RUF012
    training = {}  # noqa: RUF012

    def ids(self, name):
        return [f"{name}-{i}" for i in range(4)]

    def groups(self, name):
        return None

    def split(self, name):
        first = 5 * ("train", "validation", "test").index(name)
        left, right = [str(first + 1), str(first + 2), None, "4"], ["3", None, str(first), str(first)]
        truth = [None if None in pair else int(pair[0]) + int(pair[1]) for pair in zip(left, right, strict=True)]
        return Samples(self.ids(name), {"left": left, "right": right}, truth, self.groups(name))


class Grouped(Sums):
    """Nobody stands on two sides."""

    def groups(self, name):
        return [f"{name} {i % 2}" for i in range(4)]


class Speechless(Sums):
    description = " "


class ContradictsSpec(Sums):
    target = "classes"


class RecommendsStranger(Sums):
    encoders = {"middle": "mlp"}  # noqa: RUF012


class Empty(Sums):
    def split(self, name):
        return Samples([], {"left": [], "right": []}, [])


class Short(Sums):
    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, {**samples.inputs, "left": ["1"]}, samples.truth)


class Stranger(Sums):
    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, {**samples.inputs, "middle": ["1"] * 4}, samples.truth)


class Truthless(Sums):
    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, samples.inputs, [None] * 4)


class Overlaps(Sums):
    def ids(self, name):
        return [f"sample {i}" for i in range(4)]


class Twice(Sums):
    def ids(self, name):
        return [name] * 4


class SharesGroups(Sums):
    def groups(self, name):
        return ["ann", "bob", "ann", "bob"]


class SameAgainElsewhere(Sums):
    """Under other ids all splits hold the same."""

    def split(self, name):
        samples = super().split("train")
        return Samples(self.ids(name), samples.inputs, samples.truth)


class OtherMetric(Sums):
    metric = "accuracy"


class OtherEpochMetric(Sums):
    epoch_metric = "log_loss"


class Mistrained(Sums):
    training = {"epoch": 3}  # noqa: RUF012


class NotFinite(Sums):
    """The sum of what is missing is no number."""

    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, samples.inputs, [float("nan") if t is None else t for t in samples.truth])


class UnseenClass(Sums):
    """Odd or even; training has even ones alone."""

    target, metric = "classes", "accuracy"

    def split(self, name):
        samples = super().split(name)
        parity = [None if t is None else ("odd" if t % 2 and name != "train" else "even") for t in samples.truth]
        return Samples(samples.ids, samples.inputs, [*parity[:-1], "even" if name == "train" else "odd"])


class GivesAway(Sums):
    """The right number is the sum."""

    def split(self, name):
        samples = super().split(name)
        right = [None if truth is None else str(truth) for truth in samples.truth]
        inputs = {"left": samples.inputs["left"], "right": [*right[:3], "8"]}
        return Samples(samples.ids, inputs, [*samples.truth[:3], 8])


class Shuffles(Sums):
    calls = 0

    def ids(self, name):
        Shuffles.calls += 1
        return [f"{name}-{i + Shuffles.calls}" for i in range(4)]


class Unreadable(Sums):
    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, {"left": samples.inputs["left"], "right": ["three"] * 4}, samples.truth)


class TaskOption(Sums):
    """It has an option that nobody explains."""

    def __init__(self, *, rate: float = 0.1):
        pass


class TaskArgument(Sums):
    def __init__(self, folder):
        pass


TASK_CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(TaskOption, "rate")],
    "builds": [(TaskArgument, "raised TypeError")],
    "describes": [
        (Speechless, "description"),
        (ContradictsSpec, "its spec says .* scalar; it says .* classes"),
        (RecommendsStranger, "middle"),
    ],
    "usable": [(Mistrained, "training has no option epoch; did you mean epochs")],
    "truth": [(NotFinite, "the split train, sample train-1 and 1 more: truth is a finite number")],
    "columns": [
        (Empty, "train is empty"),
        (Short, "another length: {'left': 1}"),
        (Stranger, "middle"),
        (Truthless, "has no truth"),
    ],
    "content-apart": [(SameAgainElsewhere, "4 of 4 samples of validation stand in training")],
    "metric": [(OtherMetric, "metric is 'accuracy'"), (OtherEpochMetric, "epoch_metric is 'log_loss'")],
    "seen-classes": [(UnseenClass, "validation holds .'odd'., which training does not")],
    "given-away": [(GivesAway, "input right is the truth in all")],
    "disjoint": [(Overlaps, "train and validation share 4 ids"), (Twice, "3 ids more than once")],
    "groups-apart": [(SharesGroups, "train and validation share 2 groups, such as 'ann'")],
    "same-again": [(Shuffles, "the split test has other ids")],
    "decodes": [(Unreadable, "number cannot decode 'three' of input right")],
}
SPEC = TaskSpec("sums", "", "", modalities=(("left", "number"), ("right", "number")), target="scalar")


def controls():
    for kind, table in (("modality", MODALITY_CONTROLS), ("task", TASK_CONTROLS)):
        for name, planted in table.items():
            for component, message in planted:
                yield pytest.param(kind, name, component, message, id=f"{kind}-{name}-{component.__name__}")


def _found(examine, kind, component, names=None):
    spec = SPEC if kind == "task" else None
    return examine(kind, component, spec=spec, modality=Number, names=names)


@pytest.mark.parametrize(("kind", "table"), [("modality", MODALITY_CONTROLS), ("task", TASK_CONTROLS)])
def test_every_check_has_a_control(kind, table):
    assert set(table) == {c.name for c in checks_of(kind, full=True)} - HERE


@pytest.mark.parametrize(("kind", "name", "component", "message"), list(controls()))
def test_defect_is_caught_by_its_own_check(examine, kind, name, component, message):
    result = _found(examine, kind, component, {name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize(("kind", "component"), [("modality", Number), ("task", Sums), ("task", Grouped)])
def test_nothing_sound_is_forbidden(examine, kind, component):
    results = _found(examine, kind, component)
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []
