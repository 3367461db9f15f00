"""Synthetic tasks whose structure is known, and with it the best score that any method can reach.

What the inputs of a task say of the truth may be redundant (each says the same), unique (each says something that
no other does) or synergistic (only together do they say anything), or an input says nothing at all; the words are those
of Williams and Beer, "Nonnegative Decomposition of Multivariate Information", 2010, https://arxiv.org/abs/1004.2515.
They are for tests and for teaching.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Interval, Lt

from mmkit.contract import Samples, Split
from mmkit.tasks.carriers import LEVELS, Carrier, carry_level, carry_symbol, value_of

NAMES = ("left", "right", "front", "back", "top")
SIZES = {"validation": 256, "test": 512}
LEAST = 32  # so that every class is there: five bits are 32 classes

Inputs = Annotated[int, Interval(ge=2, le=len(NAMES))]
Missing = Annotated[float, Ge(0), Lt(1)]
TrainingSize = Annotated[int, Ge(LEAST)]
Seed = Annotated[int, Ge(0)]

Hidden = Callable[[int, Random], tuple[Sequence[int], Any]]
"""The hidden number of each input, and the truth, of a sample by its number."""


class SyntheticRedundant:
    """Synthetic: every input alone determines the class.

    One of 4 symbols is the class with probability 0.9, else one of the other three; all inputs carry that one symbol.
    The best accuracy is 0.9 for one input and for all, so no fusion can score above the best single input, unless
    values are missing: then (1 - q) 0.9 + q / 4, with q = missing ^ inputs.

    Args:
        inputs: number of inputs.
        modality: modality of all inputs.
        missing: probability that a value is missing, the same for every value.
        train: number of training samples.
        split: seed of all random draws.

    Raises:
        ValueError: an option is out of range.
    """

    description: ClassVar[str] = (
        "Synthetic, public domain. Every input carries the same symbol, which is the class in nine of ten samples: the "
        "inputs are redundant, and no fusion can do better than the best single input, unless values are missing."
    )

    def __init__(
        self,
        *,
        inputs: Inputs = 2,
        modality: Carrier = "series",
        missing: Missing = 0.0,
        train: TrainingSize = 512,
        split: Seed = 0,
    ) -> None:
        self._samples = Drawn("synthetic-redundant", inputs, modality, missing, train, split)
        self.inputs = self._samples.modalities()
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = {}
        self.training: Mapping[str, Any] = {}
        none_left = missing**inputs
        self.best = (1 - none_left) * 0.9 + none_left / 4
        """Bayes accuracy."""

    def split(self, name: Split) -> Samples:
        """The samples of a split; the four classes in turn."""

        def hidden(number: int, draw: Random) -> tuple[Sequence[int], str]:
            label = number % 4
            symbol = label if draw.random() < 0.9 else (label + 1 + int(draw.random() * 3)) % 4
            return [symbol] * len(self.inputs), str(label)

        return self._samples.of(name, hidden, lambda symbol, how, draw: carry_symbol(symbol, 4, how, draw))


class SyntheticNoise:
    """Synthetic: one input determines the class, the others are noise.

    One of 4 symbols is the class with probability 0.9, else one of the other three. The first input carries that
    symbol, every other one a symbol of its own that says nothing. The best accuracy is 0.9 for the first input and for
    all, 0.25 for the others; with missing values (1 - missing) 0.9 + missing / 4.

    Args:
        inputs: number of inputs.
        modality: modality of all inputs.
        missing: probability that a value is missing, the same for every value.
        train: number of training samples.
        split: seed of all random draws.

    Raises:
        ValueError: an option is out of range.
    """

    description: ClassVar[str] = (
        "Synthetic, public domain. The first input carries a symbol, which is the class in nine of ten samples; the "
        "others look the same and say nothing, so that no fusion can do better than the first input alone."
    )

    def __init__(
        self,
        *,
        inputs: Inputs = 2,
        modality: Carrier = "series",
        missing: Missing = 0.0,
        train: TrainingSize = 512,
        split: Seed = 0,
    ) -> None:
        self._samples = Drawn("synthetic-noise", inputs, modality, missing, train, split)
        self.inputs = self._samples.modalities()
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = {}
        self.training: Mapping[str, Any] = {}
        self.best = (1 - missing) * 0.9 + missing / 4
        """Bayes accuracy."""

    def split(self, name: Split) -> Samples:
        """The samples of a split; the four classes in turn."""

        def hidden(number: int, draw: Random) -> tuple[Sequence[int], str]:
            label = number % 4
            symbol = label if draw.random() < 0.9 else (label + 1 + int(draw.random() * 3)) % 4
            return [symbol, *(int(draw.random() * 4) for _ in range(1, len(self.inputs)))], str(label)

        return self._samples.of(name, hidden, lambda symbol, how, draw: carry_symbol(symbol, 4, how, draw))


class SyntheticUnique:
    """Synthetic: each input carries a part of the class that no other carries.

    Each input carries one bit, and the class is the bits of all inputs, one after the other. The best accuracy of all
    inputs is 1, of a single one 2 ^ (1 - inputs); with missing values (1 - missing / 2) ^ inputs.

    Args:
        inputs: number of inputs; there are 2 ^ inputs classes.
        modality: modality of all inputs.
        missing: probability that a value is missing, the same for every value.
        train: number of training samples.
        split: seed of all random draws.

    Raises:
        ValueError: an option is out of range.
    """

    description: ClassVar[str] = (
        "Synthetic, public domain. Every input carries one bit, and the class is all bits together: each input carries "
        "a part that no other carries, and only a fusion can predict the whole."
    )

    def __init__(
        self,
        *,
        inputs: Inputs = 2,
        modality: Carrier = "series",
        missing: Missing = 0.0,
        train: TrainingSize = 512,
        split: Seed = 0,
    ) -> None:
        self._samples = Drawn("synthetic-unique", inputs, modality, missing, train, split)
        self.inputs = self._samples.modalities()
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = {}
        self.training: Mapping[str, Any] = {}
        self.best = (1 - missing / 2) ** inputs
        """Bayes accuracy."""

    def split(self, name: Split) -> Samples:
        """The samples of a split; the classes in turn."""

        def hidden(number: int, draw: Random) -> tuple[Sequence[int], str]:  # noqa: ARG001  (nothing is left to chance)
            bits = bits_of(number, len(self.inputs))
            return bits, "".join(map(str, bits))

        return self._samples.of(name, hidden, lambda symbol, how, draw: carry_symbol(symbol, 2, how, draw))


class SyntheticXor:
    """Synthetic: only all inputs together determine the class.

    Each input carries one bit, and the class is their exclusive or (the parity). The best accuracy of all inputs is 1,
    of any fewer 0.5; with missing values (1 + (1 - missing) ^ inputs) / 2.

    Args:
        inputs: number of inputs.
        modality: modality of all inputs.
        missing: probability that a value is missing, the same for every value.
        train: number of training samples.
        split: seed of all random draws.

    Raises:
        ValueError: an option is out of range.
    """

    description: ClassVar[str] = (
        "Synthetic, public domain. Every input carries one bit, and the class is their exclusive or: the inputs are "
        "synergistic, and without any one of them the class can only be guessed."
    )

    def __init__(
        self,
        *,
        inputs: Inputs = 2,
        modality: Carrier = "series",
        missing: Missing = 0.0,
        train: TrainingSize = 512,
        split: Seed = 0,
    ) -> None:
        self._samples = Drawn("synthetic-xor", inputs, modality, missing, train, split)
        self.inputs = self._samples.modalities()
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = {}
        self.training: Mapping[str, Any] = {}
        self.best = (1 + (1 - missing) ** inputs) / 2
        """Bayes accuracy."""

    def split(self, name: Split) -> Samples:
        """The samples of a split; the combinations of bits in turn."""

        def hidden(number: int, draw: Random) -> tuple[Sequence[int], str]:  # noqa: ARG001  (nothing is left to chance)
            bits = bits_of(number, len(self.inputs))
            return bits, str(sum(bits) % 2)

        return self._samples.of(name, hidden, lambda symbol, how, draw: carry_symbol(symbol, 2, how, draw))


class SyntheticRegression:
    """Synthetic: a number that depends on all inputs.

    Each input carries u, one of 16 numbers between -1 and 1. The truth is the product of 1 + sin(pi u / 2), plus
    Gaussian noise of deviation 0.1. A factor has mean 1 and mean square 1.5, so with k of n inputs the best RMSE is
    sqrt(1.5 ^ n - 1.5 ^ k + 0.01): 0.1 with all of them, and with missing values
    sqrt(1.5 ^ n - (1.5 - missing / 2) ^ n + 0.01).

    Args:
        inputs: number of inputs.
        modality: modality of all inputs.
        missing: probability that a value is missing, the same for every value.
        train: number of training samples.
        split: seed of all random draws.

    Raises:
        ValueError: an option is out of range.
    """

    description: ClassVar[str] = (
        "Synthetic, public domain. Every input carries a number, and the truth is the product of a nonlinear function "
        "of each, with a little noise: each input explains a part, and their interaction the rest."
    )

    def __init__(
        self,
        *,
        inputs: Inputs = 2,
        modality: Carrier = "series",
        missing: Missing = 0.0,
        train: TrainingSize = 512,
        split: Seed = 0,
    ) -> None:
        self._samples = Drawn("synthetic-regression", inputs, modality, missing, train, split)
        self.inputs = self._samples.modalities()
        self.target = "scalar"
        self.metric = "rmse"
        self.encoders: Mapping[str, str] = {}
        self.training: Mapping[str, Any] = {}
        self.best = math.sqrt(1.5**inputs - (1.5 - missing / 2) ** inputs + 0.01)
        """RMSE of the expectation of the truth, given the inputs that are not missing."""

    def split(self, name: Split) -> Samples:
        """The samples of a split."""

        def hidden(number: int, draw: Random) -> tuple[Sequence[int], float]:  # noqa: ARG001  (numbers are drawn)
            levels = [int(draw.random() * LEVELS) for _ in self.inputs]
            product = math.prod(1 + math.sin(math.pi / 2 * value_of(level)) for level in levels)
            return levels, product + 0.1 * gaussian(draw)

        return self._samples.of(name, hidden, carry_level)


@dataclass(frozen=True)
class Drawn:
    """Samples drawn by name, seed and number: each is the same whatever the size of its split, or what is missing.

    Args:
        task: name of the task.
        count: number of inputs.
        modality: of all inputs.
        missing: probability that a value is missing.
        train: number of training samples.
        seed: of all random draws.

    Raises:
        ValueError: one of them is out of range.
    """

    task: str
    count: int
    modality: Carrier
    missing: float
    train: int
    seed: int

    def __post_init__(self) -> None:
        if not 2 <= self.count <= len(NAMES):
            raise ValueError(f"inputs is {self.count}; expected 2 to {len(NAMES)}")
        if self.modality not in {"series", "table", "text"}:
            raise ValueError(f"modality is {self.modality}; expected series, table or text")
        if not 0 <= self.missing < 1:
            raise ValueError(f"missing is {self.missing}; expected 0 or more, and less than 1")
        if self.train < LEAST:
            raise ValueError(f"train is {self.train}; expected {LEAST} or more, so that every class is there")
        if self.seed < 0:
            raise ValueError(f"split is {self.seed}; expected 0 or more")

    def modalities(self) -> dict[str, str]:
        """The modality of each input."""
        return dict.fromkeys(NAMES[: self.count], self.modality)

    def of(self, split: Split, hidden: Hidden, carry: Callable[[int, Carrier, Random], Any]) -> Samples:
        """The samples of a split."""
        ids: list[str] = []
        columns: dict[str, list[Any]] = {name: [] for name in self.modalities()}
        truth: list[Any] = []
        for number in range((SIZES | {"train": self.train})[split]):
            item = f"{self.task}-{split}-{number:05}"
            known, label = hidden(number, self._random("hidden", item))
            for (name, column), symbol in zip(columns.items(), known, strict=True):
                gone = self._random("missing", item, name).random() < self.missing
                column.append(None if gone else carry(symbol, self.modality, self._random("value", item, name)))
            ids.append(item)
            truth.append(label)
        return Samples(ids, columns, truth)

    def _random(self, *what: str) -> Random:
        return Random("/".join((*what, str(self.seed))))  # noqa: S311  (no secret)


def bits_of(number: int, count: int) -> list[int]:
    """The lowest bits, lowest first: numbers that count up give every combination as often."""
    return [number >> place & 1 for place in range(count)]


def gaussian(draw: Random) -> float:
    """A standard normal number; Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958."""
    return math.sqrt(-2 * math.log(1 - draw.random())) * math.cos(2 * math.pi * draw.random())
