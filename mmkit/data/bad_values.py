"""Values that cannot be used: found one by one, named by their samples, and taken out where that is asked for."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Generator

from mmkit.contract import Batch, Samples, Transform
from mmkit.data.subset import select
from mmkit.errors import ContractError, DataError, MmkitError, ValuesError
from mmkit.system.settings import OnError

PROBED = 8
"""Values that are tried alone first: where all of them fail in the very words of the whole, none is at fault."""
TRUTH = "truth"
"""What stands for an input's name where the truth of a sample is refused; an input may have the same name."""


class RejectedError(DataError):
    """Values that cannot be read, or that a transform cannot take.

    Args:
        name: of the input, or `TRUTH`.
        reasons: by the id of the sample.
        of_truth: whether it is the truth.
        unread: whether it could not even be read.
    """

    def __init__(self, name: str, reasons: Mapping[str, str], *, of_truth: bool = False, unread: bool = False) -> None:
        self.name = name
        self.reasons = dict(reasons)
        self.of_truth = of_truth
        self.for_all = of_truth or unread
        """True where the data alone are at fault: no combination can use the values."""
        sample, reason = next(iter(self.reasons.items()))
        more = f" and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        super().__init__(
            f"sample {sample}{more}, {self._what}: {reason}; "
            "--on-error skip leaves out such samples, --on-error missing the values alone"
        )

    @property
    def lines(self) -> list[str]:
        """One a value: its sample, its input, and why."""
        return [f"sample {sample}, {self._what}: {reason}" for sample, reason in self.reasons.items()]

    @property
    def _what(self) -> str:
        return TRUTH if self.of_truth else f"input {self.name}"

    def among(self, samples: Samples) -> bool:
        """Whether any of the values is there in these samples."""
        column = samples.truth if self.of_truth else samples.inputs.get(self.name, [None] * len(samples))
        return any(s in self.reasons and value is not None for s, value in zip(samples.ids, column, strict=True))


def without(samples: Samples, refused: RejectedError, on_error: OnError) -> Samples:
    """The samples without the values that were refused ("missing"), or without the samples of those ("skip").

    Raises:
        RejectedError: on "fail", and where they are no values of these samples.
    """
    if on_error == "fail" or not refused.among(samples):
        raise refused
    if on_error == "skip":
        return select(samples, [i for i, sample in enumerate(samples.ids) if sample not in refused.reasons])

    def blank(column: Sequence[Any]) -> list[Any]:
        return [None if i in refused.reasons else v for i, v in zip(samples.ids, column, strict=True)]

    if refused.of_truth:
        return replace(samples, truth=blank(samples.truth))
    return replace(samples, inputs={**samples.inputs, refused.name: blank(samples.inputs[refused.name])})


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
    """The batch of the values.

    Args:
        name: of the input.
        transform: fitted.
        values: to transform.
        generator: that augmentation is drawn from.
        column: all values of the split: where the transform fails, each of them is tried alone.
        ids: of the column.
        of_truth: whether it is the truth.

    Raises:
        RejectedError: values of the column that the transform does not take.
        ContractError: the transform keeps no bool leaf `mask`, or gives another number of rows.
    """
    try:
        batch = transform(values, generator)
    except Exception as error:  # whatever a transform makes of a value that it was not written for
        reasons = _alone(lambda value: transform([value]), column, ids, error)
        # One that fails on every value, and does not say that it is the data's fault, is broken itself.
        if not reasons or (len(reasons) == _present(column) > 1 and not isinstance(error, DataError)):
            raise
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    return checked(name, batch, len(values))


def fit_transform(
    name: str, transform: Transform, column: Sequence[Any], ids: Sequence[str], *, of_truth: bool = False
) -> None:
    """Fit the transform.

    Raises:
        RejectedError: values that it cannot be fitted on even alone, while it can be on all others; or that it names.
    """
    fresh = copy.deepcopy(transform)
    try:
        transform.fit(column)
    except ValuesError as error:
        reasons = {ids[place]: reason for place, reason in error.reasons.items()}
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    except Exception as error:  # as above

        def alone(value: Any) -> None:
            copy.deepcopy(fresh).fit([value])

        # Weights that are not there fail with any value, and to ask for them may take its time.
        there = [value for value in column if value is not None]
        some = random.Random(0).sample(there, min(len(there), PROBED))  # noqa: S311 (not for cryptography)
        if all(str(_raised(partial(alone, value))) == str(error) for value in some):
            raise
        reasons = _alone(alone, column, ids, error)
        rest = [value for sample, value in zip(ids, column, strict=True) if sample not in reasons]
        if not reasons or len(reasons) == _present(column) or _raised(partial(fresh.fit, rest)):
            raise
        raise RejectedError(name, reasons, of_truth=of_truth) from error


def checked(name: str, batch: Batch, size: int) -> Batch:
    """The batch, if it keeps the contract."""
    mask = batch.get("mask")
    if mask is None or mask.dtype != torch.bool:
        raise ContractError(
            f"the transform of {name} gave no bool leaf `mask`; it gave {', '.join(batch) or 'nothing'}"
        )
    for leaf, tensor in batch.items():
        if tensor.shape[:1] != (size,):
            given = f"{len(tensor)} rows" if tensor.ndim else "a single number"
            raise ContractError(f"the transform of {name} gave {given} of `{leaf}` for {size} values")
    return batch


def _alone(
    call: Callable[[Any], object], column: Sequence[Any], ids: Sequence[str], error: Exception
) -> dict[str, str]:
    """Why a call fails on each value alone, by sample; nothing where the error is none of the data's."""
    if isinstance(error, MmkitError) and not isinstance(error, DataError):
        return {}
    tried = {s: _raised(partial(call, value)) for s, value in zip(ids, column, strict=True) if value is not None}
    return {
        sample: str(why) if isinstance(why, DataError) else f"{type(why).__name__}: {why}"
        for sample, why in tried.items()
        if why is not None
    }


def _present(column: Sequence[Any]) -> int:
    return sum(value is not None for value in column)


def _raised(call: Callable[[], object]) -> Exception | None:
    """What a call raises, or None."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 (any says that the value cannot be used)
        return error
    return None
