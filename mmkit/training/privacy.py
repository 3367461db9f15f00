"""Private training: what a user asks for, and which options of training it refuses.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, https://arxiv.org/abs/1607.00133. In each step every
row takes part by chance, its gradient is clipped, and Gaussian noise is added to the sum. So whoever sees the weights
learns little of whether any one row was there: by (epsilon, delta), whatever else he knows.

The steps: `privacy_descent.py`. The noise: `privacy_noise.py`. What epsilon follows from it: `privacy_accounting.py`.
Which components can take part: `privacy_checks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmkit.errors import UsageError, one_of
from mmkit.registry.notation import split_commas

FORM = "epsilon=E,delta=D"
DEFAULTS: Mapping[str, Any] = {"batch_size": 512, "patience": None}
"""Options of training whose defaults are others here: the noise of a step is the same whatever its batch, so that large
batches drown it; and the number of steps, for which it is made, is fixed."""


@dataclass(frozen=True)
class Private:
    """How private a training is to be.

    Args:
        epsilon: that may be spent; None where the noise is given.
        delta: the probability that more is lost; below 1 / rows of train.
        clip: norm to which the gradient of each row is clipped.
        noise: deviation of the noise in multiples of `clip`; None is the least by which no more than epsilon is spent.

    Raises:
        UsageError: a value that is not possible, or not exactly one of `epsilon` and `noise`.
    """

    epsilon: float | None = None
    delta: float | None = None
    clip: float = 1.0
    noise: float | None = None

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise is None):
            given = "both" if self.noise is not None else "neither"
            raise UsageError(
                f"private takes epsilon, for which the noise is found, or noise, whose epsilon is told; got {given}; "
                f"{FORM} is usual, such as epsilon=3,delta=1e-5"
            )
        if self.delta is None:
            raise UsageError(
                "private needs delta, the probability that more than epsilon is lost; take less than 1 / rows of "
                "train, such as delta=1e-5"
            )
        for name in ("epsilon", "clip", "noise"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"private: {name} is a number above 0; got {value:g}")
        if not 0 < self.delta < 1:
            raise UsageError(f"private: delta is a probability between 0 and 1; got {self.delta:g}")

    @staticmethod
    def of(given: Any) -> Private:
        """From what a user gave: a text such as "epsilon=3,delta=1e-5", or a mapping.

        >>> Private.of("epsilon=3,delta=1e-5")
        Private(epsilon=3.0, delta=1e-05, clip=1.0, noise=None)

        Raises:
            UsageError: it is neither, an entry is unknown, given twice or no number, or the values are not possible.
        """
        if isinstance(given, Private):
            return given
        if isinstance(given, str):
            given = _read(given)
        if not isinstance(given, Mapping):
            raise UsageError(f"private is {FORM}, or a mapping of these; got {given!r}")
        names = [field.name for field in fields(Private)]
        found: dict[str, Any] = {}
        for name, value in given.items():
            if name not in names:
                raise UsageError(f"private has no entry {name}; {one_of(names, str(name))}")
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UsageError(f"private: {name} is a number; got {value!r}")
            found[name] = value if value is None else float(value)
        return Private(**found)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 (an option is read when one is given)

        return core_schema.no_info_plain_validator_function(cls.of)

    def document(self) -> dict[str, float | None]:
        """As plain JSON values; `of` reads them."""
        return asdict(self)

    def __str__(self) -> str:
        """As `of` reads it."""
        return ",".join(f"{name}={value:g}" for name, value in self.document().items() if value is not None)


def _read(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in split_commas(text):
        name, equals, value = (one.strip() for one in part.partition("="))
        if not equals or not name:
            raise UsageError(f"private is {FORM}[,clip=C]; got {text!r}")
        if name in found:
            raise UsageError(f"private: {name} is given twice in {text!r}; give it once")
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"private: {name} is a number; got {value!r}") from None
    return found


def settled(options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The options of a private training: with defaults of its own, in place of those that nobody gave.

    Args:
        options: of training, checked.
        given: the names of those that the user gave.

    Raises:
        UsageError: one that does not go with it.
    """
    found = {**options, **{name: value for name, value in DEFAULTS.items() if name not in given}}
    if "rates" in given:
        raise UsageError(
            "private training searches no learning rate, since each training of a search spends epsilon of its own; "
            "give one by --lr in place of train.rates"
        )
    if found["patience"] is not None:
        raise UsageError(
            "private training has a fixed number of steps, for which its noise is made; leave out train.patience"
        )
    if "clip" in given and found["clip"] is not None:
        raise UsageError(
            "train.clip is of the gradient of a batch, and private training clips that of each row; give clip within "
            f"--private, such as {FORM},clip={found['clip']:g}"
        )
    if found["sampler"] != "shuffle":
        raise UsageError(
            f"sampler={found['sampler']} shows some rows more often than others, and epsilon counts on equal chances; "
            "take sampler=shuffle"
        )
    if found["mixup"]:
        raise UsageError("mixup mixes two rows, whose gradients cannot be clipped each alone; leave out train.mixup")
    return found
