"""A task of a few small samples, on which a test trains for a step or two.

Axes: H height, W width, T steps, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator

from mmkit.contract import Samples, Split, Task
from mmkit.errors import UsageError, one_of

Make = Callable[[int, Generator], Any]
"""The value of a sample by its number in the split, an odd number for the class "yes"."""

INPUTS = {"a": "image", "b": "table"}


def _image(number: int, generator: Generator) -> torch.Tensor:
    """[3 H W] uint8: dark, or bright."""
    return (torch.randint(0, 40, (3, 40, 48), generator=generator) + 40 + 170 * (number % 2)).to(torch.uint8)


def _audio(number: int, generator: Generator) -> tuple[torch.Tensor, int]:
    """[1 T] at 16 kHz: white noise, or its running sum, which is low."""
    noise = 0.1 * torch.randn(1, 2000 + 100 * (number % 5), generator=generator)
    return noise.cumsum(1) if number % 2 else noise, 16_000


def _series(number: int, generator: Generator) -> torch.Tensor:
    """[T C] of 3 channels: noise around 0, or around 2."""
    return torch.randn(8 + number % 5, 3, generator=generator) + 2.0 * (number % 2)


def _text(number: int, _generator: Generator) -> str:
    """Texts in which one word tells the class."""
    return f"number {number} is {'up' if number % 2 else 'down'}"


def _table(number: int, _generator: Generator) -> dict[str, float]:
    """A row that says nothing of the class."""
    return {"x": float(number % 3)}


_MAKERS: Mapping[str, Make] = {"image": _image, "audio": _audio, "series": _series, "text": _text, "table": _table}
_TRUTHS: Mapping[str, tuple[str, tuple[Any, Any]]] = {  # the metric, and the truth of even and odd numbers
    "classes": ("accuracy", ("no", "yes")),
    "labels": ("accuracy", ([], ["yes"])),
    "scalar": ("rmse", (0.0, 1.0)),
    "text": ("exact_match", ("no", "yes")),
}


def tiny_task(
    inputs: Mapping[str, str] | None = None,
    values: Mapping[str, Make] | None = None,
    *,
    target: str = "classes",
    train: int = 24,
    held_out: int = 16,
) -> type[Task]:
    """A task that is learnt within an epoch or two: half of its samples are of one kind, half of the other.

    Images are dark or bright, sounds high or low, series around 0 or 2, and of texts one word differs. A table row says
    nothing, so that what was learnt was learnt from the other inputs. Two calls with the same arguments give the same
    samples. Texts and rows are made from a sample's number alone, so that all splits hold the same ones.

    >>> task = tiny_task({"a": "text", "b": "table"}, train=2)()
    >>> task.split("train")
    Samples(ids=['train-0', 'train-1'], inputs={'a': ['number 0 is down', 'number 1 is up'], 'b': [{'x': 0.0}, {'x': \
1.0}]}, truth=['no', 'yes'], groups=None)

    Args:
        inputs: modality by input; None is an image `a` and a table row `b`.
        values: by input, a function that makes a raw value from the number of a sample in its split and a generator;
            the class is "yes" where the number is odd. Needed for modalities other than mmkit's own.
        target: "classes", "labels", "scalar" or "text".
        train: samples of the training split.
        held_out: samples of each other split.

    Raises:
        UsageError: a kind of target that is not one of these, or an input without values.
    """
    inputs = dict(INPUTS if inputs is None else inputs)
    if target not in _TRUTHS:
        raise UsageError(f"a tiny task has no target of kind {target}; {one_of(_TRUTHS, target)}")
    makers = {name: (values or {}).get(name) or _MAKERS.get(modality) for name, modality in inputs.items()}
    if without := [name for name, make in makers.items() if make is None]:
        raise UsageError(
            f"a tiny task makes no {inputs[without[0]]} for input {without[0]}; "
            f"give values={{{without[0]!r}: lambda number, generator: ...}}"
        )
    return _made(inputs, {name: make for name, make in makers.items() if make is not None}, target, (train, held_out))


def _made(inputs: Mapping[str, str], makers: Mapping[str, Make], kind: str, sizes: tuple[int, int]) -> type[Task]:
    metric, truths = _TRUTHS[kind]

    class TinyTask:
        """Few small samples of two kinds."""

        description: ClassVar[str] = (
            "Which of two kinds is it? Generated anew for every split; there is no noise in it."
        )

        def __init__(self) -> None:
            self.inputs: Mapping[str, str] = dict(inputs)
            self.target = kind
            self.metric = metric
            self.encoders: Mapping[str, str] = {}
            self.training: Mapping[str, Any] = {}

        def split(self, name: Split) -> Samples:
            """Samples of the two kinds in turn."""
            count = sizes[0] if name == "train" else sizes[1]
            columns = {}
            for place, (column, make) in enumerate(makers.items()):
                generator = Generator().manual_seed(10 * place + ("train", "validation", "test").index(name))
                columns[column] = [make(number, generator) for number in range(count)]
            truth = [truths[number % 2] for number in range(count)]
            return Samples([f"{name}-{number}" for number in range(count)], columns, truth)

    TinyTask.__qualname__ = "TinyTask"
    return TinyTask
