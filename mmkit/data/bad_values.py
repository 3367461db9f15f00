"""Values that cannot be read or transformed: which they are, and how to drop them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import torch
from torch import Generator

from mmkit.contract import Batch, Samples, Transform
from mmkit.data.subset import select
from mmkit.errors import ContractError, DataError, MmkitError, ValuesError
from mmkit.system.settings import OnError

PROBED = 8
"""How many values are tried alone first: if all fail with the message of the whole column, no value is at fault."""
TRUTH = "truth"
"""The name of the truth where that of an input is expected; an input may have the same name."""


class BadValue(str):
    """A line on a value that cannot be used, with its parts.

    Args:
        sample: id of its sample.
        column: "truth", or "input NAME".
        reason: why.
    """

    __slots__ = ("column", "reason", "sample")

    sample: Any
    column: str
    reason: str

    def __new__(cls, sample: Any, column: str, reason: str) -> Self:
        """The line, made of its parts."""
        line = super().__new__(cls, f"sample {sample}, {column}: {reason}")
        line.sample, line.column, line.reason = sample, column, reason
        return line


class RejectedError(DataError):
    """Values that cannot be read, or that a transform rejects.

    Args:
        name: of the input, or `TRUTH`.
        reasons: why, by id of the sample.
        of_truth: whether the values are truth.
        unread: whether the values could not be read.
    """

    def __init__(self, name: str, reasons: Mapping[str, str], *, of_truth: bool = False, unread: bool = False) -> None:
        self.name = name
        self.reasons = dict(reasons)
        self.of_truth = of_truth
        self.for_all = of_truth or unread
        """Whether no combination can use the values, because the fault is not that of one transform."""
        sample, reason = next(iter(self.reasons.items()))
        more = f" and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        super().__init__(
            f"sample {sample}{more}, {self._what}: {reason}; "
            "--on-error skip drops such samples, --on-error missing drops only the values"
        )

    @property
    def lines(self) -> list[BadValue]:
        """One line per value: its sample, its input, and the reason."""
        return [BadValue(sample, self._what, reason) for sample, reason in self.reasons.items()]

    @property
    def _what(self) -> str:
        return TRUTH if self.of_truth else f"input {self.name}"

    def among(self, samples: Samples) -> bool:
        """Whether any of the values occurs in these samples."""
        column = samples.truth if self.of_truth else samples.inputs.get(self.name, [None] * len(samples))
        return any(s in self.reasons and value is not None for s, value in zip(samples.ids, column, strict=True))


def without(samples: Samples, rejected: RejectedError, on_error: OnError) -> Samples:
    """The samples without the rejected values ("missing"), or without the samples that have them ("skip").

    Raises:
        RejectedError: if `on_error` is "fail", or the values do not occur in these samples.
    """
    if on_error == "fail" or not rejected.among(samples):
        raise rejected
    if on_error == "skip":
        return select(samples, [i for i, sample in enumerate(samples.ids) if sample not in rejected.reasons])

    def blank(column: Sequence[Any]) -> list[Any]:
        return [None if i in rejected.reasons else v for i, v in zip(samples.ids, column, strict=True)]

    if rejected.of_truth:
        return replace(samples, truth=blank(samples.truth))
    return replace(samples, inputs={**samples.inputs, rejected.name: blank(samples.inputs[rejected.name])})


def transform_batch(
    name: str,
    transform: Transform,
    values: Sequence[Any],
    generator: Generator | None = None,
    *,
    column: Sequence[Any],
    ids: Sequence[str],
    of_truth: bool = False,
) -> Batch:
    """Transform values to a batch. If that fails, each value of the column is tried alone, to name the bad ones.

    Args:
        name: of the input.
        transform: fitted.
        values: to transform.
        generator: random generator of the augmentation.
        column: all values of the split.
        ids: of the samples of the column.
        of_truth: whether the values are truth.

    Raises:
        RejectedError: the transform rejects values of the column.
        ContractError: the batch has no bool leaf `mask`, or another number of rows.
    """
    try:
        batch = transform(values, generator)
    except Exception as error:  # a transform may raise anything on a value that it was not written for
        reasons = _alone(lambda value: transform([value]), column, ids, error)
        # A transform that fails on every value without blaming the data is broken itself.
        if not reasons or (len(reasons) == _present(column) > 1 and not isinstance(error, DataError)):
            raise
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    return checked(name, batch, len(values))


def fit_transform(
    name: str, transform: Transform, column: Sequence[Any], ids: Sequence[str], *, of_truth: bool = False
) -> None:
    """Fit the transform.

    Raises:
        RejectedError: values that the transform names, or that it cannot be fitted on alone while it can on all others.
    """
    unfitted = copy.deepcopy(transform)
    try:
        transform.fit(column)
    except ValuesError as error:
        reasons = {ids[place]: reason for place, reason in error.reasons.items()}
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    except Exception as error:  # as above

        def alone(value: Any) -> None:
            copy.deepcopy(unfitted).fit([value])

        # Missing weights fail with any value, and each attempt to get them may be slow: a few values are enough.
        present = [value for value in column if value is not None]
        probed = random.Random(0).sample(present, min(len(present), PROBED))  # noqa: S311 (not for cryptography)
        if all(str(_raised(partial(alone, value))) == str(error) for value in probed):
            raise
        reasons = _alone(alone, column, ids, error)
        others = [value for sample, value in zip(ids, column, strict=True) if sample not in reasons]
        if not reasons or len(reasons) == _present(column) or _raised(partial(unfitted.fit, others)):
            raise
        raise RejectedError(name, reasons, of_truth=of_truth) from error


def checked(name: str, batch: Batch, size: int) -> Batch:
    """The batch itself, after a check that it keeps the contract.

    Raises:
        ContractError: it has no bool leaf `mask`, or another number of rows.
    """
    mask = batch.get("mask")
    if mask is None or mask.dtype != torch.bool:
        raise ContractError(
            f"the transform of {name} gave no bool leaf `mask`; it gave {', '.join(batch) or 'nothing'}"
        )
    for leaf, tensor in batch.items():
        if tensor.shape[:1] != (size,):
            rows = f"{len(tensor)} rows" if tensor.ndim else "a single number"
            raise ContractError(
                f"the transform of {name} gave {rows} of `{leaf}` for {size} values; expected {size} rows"
            )
    return batch


def _alone(
    call: Callable[[Any], object], column: Sequence[Any], ids: Sequence[str], error: Exception
) -> dict[str, str]:
    """Why a call fails on single values, by sample; empty if the error is not about the data."""
    if isinstance(error, MmkitError) and not isinstance(error, DataError):
        return {}
    errors = {s: _raised(partial(call, value)) for s, value in zip(ids, column, strict=True) if value is not None}
    return {
        sample: str(why) if isinstance(why, DataError) else f"{type(why).__name__}: {why}"
        for sample, why in errors.items()
        if why is not None
    }


def _present(column: Sequence[Any]) -> int:
    return sum(value is not None for value in column)


def _raised(call: Callable[[], object]) -> Exception | None:
    """The exception that a call raises, or None."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it raises, the value cannot be used)
        return error
    return None
