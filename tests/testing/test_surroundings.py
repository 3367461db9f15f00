"""What belongs to the process, hashes of texts, and long samples: each planted defect is caught, sound ones pass."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Batch, Features, Samples
from mmkit.modalities.series import Series
from mmkit.modalities.text import Text
from mmkit.plugin import EncoderSpec, FusionSpec
from mmkit.testing import Examination, checks_of

HERE = {"complete", "global-state", "hash-order", "transform-hash-order", "long-samples", "travels", "course"}
"""Checks whose planted defects are in this file, or, of `travels` and `course`, in a file of their own."""


class Fusion(nn.Module):
    """A sum of projections."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.width = 8
        self.maps = nn.ModuleDict({name: nn.Linear(d, 8) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        return Features.of(
            sum(self.maps[n](features[n].vector()) * features[n].present().unsqueeze(1) for n in self.maps)
        )


def building(change: Callable[[], object], name: str) -> type:
    """A fusion that does something more when it is built."""

    def init(self: Fusion, widths: Mapping[str, int]) -> None:
        Fusion.__init__(self, widths)
        change()

    return type(name, (Fusion,), {"__init__": init})


def running(change: Callable[[], object], name: str) -> type:
    """A fusion that does something more at every call."""

    def forward(self: Fusion, features: Mapping[str, Features]) -> Features:
        change()
        return Fusion.forward(self, features)

    return type(name, (Fusion,), {"forward": forward})


FUSIONS: list[tuple[type, str]] = [
    (building(lambda: np.random.seed(0), "SeedsNumpy"), "building changes numpy's generator"),
    (building(lambda: random.random(), "DrawsFromPython"), "building changes Python's generator"),  # noqa: PLW0108
    (building(lambda: torch.manual_seed(0), "SeedsTorch"), "building changes torch's seed"),
    (building(lambda: torch.set_default_dtype(torch.float64), "SetsDtype"), "building changes default dtype"),
    (building(lambda: torch.set_grad_enabled(False), "TurnsGradOff"), "building changes grad mode"),
    (
        building(lambda: torch.use_deterministic_algorithms(mode=True), "SetsDeterministic"),
        "building changes deterministic algorithms",
    ),
    (
        building(lambda: torch.set_float32_matmul_precision("high"), "SetsPrecision"),
        "changes float32 matmul precision .now high",
    ),
    (building(lambda: setattr(torch.backends.mkldnn, "enabled", False), "TurnsOneDnnOff"), "changes oneDNN"),
    (running(lambda: np.random.rand(2), "DrawsFromNumpy"), "a pass of training changes numpy's generator"),
    (running(lambda: torch.manual_seed(1), "SeedsInForward"), "a pass of training changes torch's seed"),
]


@pytest.mark.parametrize(("component", "message"), FUSIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fusion_that_changes_what_belongs_to_the_process(component: type, message: str) -> None:
    threads, numpy = torch.get_num_threads(), repr(np.random.get_state())
    result = found("fusion", component, "global-state", spec=FusionSpec("f", "", ""))
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.mkldnn.enabled
    assert torch.get_num_threads() == threads
    assert repr(np.random.get_state()) == numpy


class Restores(Fusion):
    """Draws fixed numbers, and gives every generator back."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__(widths)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.register_buffer("fixed", torch.randn(8))


def found(kind: str, component: type, name: str, **given: Any) -> Any:
    examination = Examination(kind, component, **given)
    (check,) = (c for c in checks_of(kind, full=True) if c.name == name)
    return examination.result(check)


@pytest.mark.parametrize("component", [Fusion, Restores])
def test_sound_fusions_pass(component: type) -> None:
    assert found("fusion", component, "global-state", spec=FusionSpec("f", "", "")).status == "passed"


class Words:
    """Numbers words by their first letters, in the order in which they come."""

    augments = False

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def vocabulary(self, words: Sequence[str]) -> Sequence[str]:
        return sorted(set(words))

    def fit(self, values: Sequence[str | None]) -> None:
        words = [word for value in values if value is not None for word in value.split()]
        self.known = {word: i for i, word in enumerate(self.vocabulary(words), 1)}

    def __call__(self, values: Sequence[str | None], generator: Generator | None = None) -> Batch:
        del generator
        rows = [[self.known.get(word, 0) for word in (value or "").split()] for value in values]
        words = torch.zeros(len(rows), max(1, *map(len, rows)), dtype=torch.long)
        for row, numbers in zip(words, rows, strict=True):
            row[: len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        return {"words": words, "mask": torch.arange(words.shape[1]) < torch.tensor([len(r) for r in rows])[:, None]}

    def state(self) -> dict[str, Any]:
        return {"known": self.known}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.known = dict(state["known"])


class Unordered(Words):
    def vocabulary(self, words: Sequence[str]) -> Sequence[str]:
        return list(set(words))


class Sampling(Words):
    def fit(self, values: Sequence[str | None]) -> None:
        random.shuffle(list(values))
        super().fit(values)


class Bag(nn.Module):
    """An embedding of each word."""

    reads: ClassVar[type] = Words

    def __init__(self, transform: Words) -> None:
        super().__init__()
        self.width = 6
        self.table = nn.Embedding(len(transform.known) + 1, 6)

    def tokens(self, batch: Batch) -> Tensor:
        return self.table(batch["words"])

    def forward(self, batch: Batch) -> Features:
        return Features.of(self.tokens(batch), batch["mask"])


class UnorderedBag(Bag):
    reads = Unordered


class SamplingBag(Bag):
    reads = Sampling


class FewPositions(Bag):
    """A table of 512 positions."""

    def __init__(self, transform: Words) -> None:
        super().__init__(transform)
        self.positions = nn.Embedding(512, 6)

    def tokens(self, batch: Batch) -> Tensor:
        return super().tokens(batch) + self.positions(torch.arange(batch["words"].shape[1]))


class CutsByItself(Bag):
    """Reads 64 words, and says nothing of it."""

    def tokens(self, batch: Batch) -> Tensor:
        found = super().tokens(batch)
        return torch.cat([found[:, :64], torch.zeros_like(found[:, 64:])], 1)


class SixteenSteps(nn.Module):
    """Attends to its steps, and has sixteen positions."""

    def __init__(self, transform: Any) -> None:
        super().__init__()
        self.width = 6
        self.map = nn.Linear(transform.channels, 6)
        self.positions = nn.Parameter(torch.randn(16, 6))

    def forward(self, batch: Batch) -> Features:
        steps = self.map(batch["steps"])
        return Features.of(steps + self.positions[: steps.shape[1]], batch["mask"])


TEXT = EncoderSpec("bag", "", "", modality="text")


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (UnorderedBag, "transform-hash-order", "the transform's state is another"),
        (SamplingBag, "global-state", "fitting its transform changes Python's generator"),
        (FewPositions, "long-samples", "raised IndexError"),
        (CutsByItself, "long-samples", "of a sample of 600 steps the last quarter is not read"),
    ],
)
def test_an_encoder_with_a_planted_defect(component: type, check: str, message: str) -> None:
    result = found("encoder", component, check, spec=TEXT, modality=Text)
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


def test_few_positions_of_a_series_are_found() -> None:
    from mmkit.transforms.series import SeriesTransform

    SixteenSteps.reads = SeriesTransform  # type: ignore[attr-defined]
    spec = EncoderSpec("steps", "", "", modality="series")
    examination = Examination("encoder", SixteenSteps, spec=spec, modality=Series)
    assert any(result.check.name in {"large", "long-samples", "shapes"} for result in examination.report().failed())


@pytest.mark.parametrize("check", ["transform-hash-order", "global-state", "long-samples"])
def test_a_sound_encoder_passes(check: str) -> None:
    assert found("encoder", Bag, check, spec=TEXT, modality=Text).status == "passed"


class Letters:
    """A task of a few texts."""

    description = "Which letter comes first"
    inputs: ClassVar[Mapping[str, str]] = {"text": "text"}
    target = "classes"
    metric = "accuracy"
    encoders: ClassVar[Mapping[str, str]] = {}
    training: ClassVar[Mapping[str, Any]] = {}

    def names(self, split: str) -> list[str]:
        return [f"{letter}{number} of {split}" for letter in "abcdefg" for number in range(4)]

    def split(self, name: str) -> Samples:
        texts = self.names(name)
        return Samples([f"{name} {text}" for text in texts], {"text": texts}, [text[0] for text in texts])


class OrderOfASet(Letters):
    """Its samples come in the order of their hashes."""

    def names(self, split: str) -> list[str]:
        return list(set(super().names(split)))


class ChoiceByHash(Letters):
    """Its samples are those whose hash is even."""

    def names(self, split: str) -> list[str]:
        return [name for name in super().names(split) if hash(name) % 2 or name[1] == "0"]


class SetsAsTruth(Letters):
    """Labels are a set, whose order means nothing."""

    target = "labels"

    def split(self, name: str) -> Samples:
        samples = super().split(name)
        return Samples(samples.ids, samples.inputs, [frozenset({text, "letter", "b", "c"}) for text in samples.truth])


class SeedsNumpy(Letters):
    def split(self, name: str) -> Samples:
        np.random.seed(0)
        return super().split(name)


class EndsTheProcess(Letters):
    """Cannot be asked where texts have other hashes."""

    def split(self, name: str) -> Samples:
        if os.environ.get("CHECKED_IN") != str(os.getpid()):
            raise OSError("no file")
        return super().split(name)


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (OrderOfASet, "hash-order", "the split train has other ids"),
        (ChoiceByHash, "hash-order", "the split train has other ids"),
        (EndsTheProcess, "hash-order", "in another process it raised OSError: no file"),
        (SeedsNumpy, "global-state", "asked for a split changes numpy's generator"),
    ],
)
def test_a_task_with_a_planted_defect(
    component: type, check: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHECKED_IN", str(os.getpid()))
    result = found("task", component, check)
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize("component", [Letters, SetsAsTruth])
@pytest.mark.parametrize("check", ["hash-order", "global-state"])
def test_sound_tasks_pass(component: type, check: str) -> None:
    assert found("task", component, check).status == "passed"


def test_what_another_process_cannot_import_is_not_asked() -> None:
    class Local(Letters):
        pass

    result = found("task", Local, "hash-order")
    assert result.status == "not applicable"
    assert "inside a function" in result.message
