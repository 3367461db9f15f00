"""Values that cannot be read or transformed: which they are, and how to drop them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Generator

from mmkit.contract import Batch, Samples, Transform
from mmkit.data.columns import Column
from mmkit.data.decoded import Decoded
from mmkit.data.subset import select
from mmkit.errors import ContractError, DataError, MmkitError, ValuesError
from mmkit.system.settings import OnError

PROBED = 8
"""How many values are tried alone first: if all fail with the message of the whole column, no value is at fault."""
MOST_FITTED, MOST_TEXTS = 20_000, 200_000
"""Values, and texts, of a lazy column on which a transform is fitted that does not stream."""
MOST_ALONE = 1_000_000
"""Values that are tried alone at most: to fit a transform on each of more takes hours."""
ENOUGH = 20
"""Values of which more than half must not be broken; of fewer they may be so by chance."""
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

    def __reduce__(self) -> tuple[Any, ...]:
        unread = self.for_all and not self.of_truth
        return partial(RejectedError, of_truth=self.of_truth, unread=unread), (self.name, self.reasons)

    @property
    def lines(self) -> list[BadValue]:
        """One line per value: its sample, its input, and the reason."""
        return [BadValue(sample, self._what, reason) for sample, reason in self.reasons.items()]

    @property
    def _what(self) -> str:
        return TRUTH if self.of_truth else f"input {self.name}"

    def among(self, samples: Samples) -> bool:
        """Whether any of the values occurs in these samples."""
        rows = [row for row, sample in enumerate(samples.ids) if sample in self.reasons]
        column = samples.truth if self.of_truth else samples.inputs.get(self.name)
        if column is None:
            return False
        if (lazy := _lazy(column)) is not None:  # a value that cannot be read is not to be tried again
            return not all(lazy.blank(row) for row in rows)
        return any(column[row] is not None for row in rows)


class MostlyBrokenError(RejectedError):
    """More than half of the values of an input cannot be used: an error whatever is done with single ones.

    Args:
        rejected: the values, or the last of them.
        broken: how many there are, at least.
        values: of the input that are there.
    """

    def __init__(self, rejected: RejectedError, broken: int, values: int) -> None:
        super().__init__(rejected.name, rejected.reasons, of_truth=rejected.of_truth)
        self.for_all = rejected.for_all
        self.args = (mostly_broken(self._what, next(iter(rejected.lines)), broken, values),)

    def among(self, samples: Samples) -> bool:  # noqa: ARG002 (whatever they are)
        """Never: what is left of such an input is not to be used."""
        return False


def mostly_broken(what: str, example: str, broken: int, values: int) -> str:
    """The message that more than half of an input is broken."""
    return (
        f"{what}: {broken:,} of the {values:,} values looked at cannot be used, more than half ({example}); that is an "
        "error whatever --on-error says: see whether the column is of this kind, and whether its files are the right "
        "ones"
    )


def is_mostly_broken(broken: int, values: int) -> bool:
    """Whether so many broken values are more than half of an input.

    >>> is_mostly_broken(11, 20), is_mostly_broken(10, 20), is_mostly_broken(3, 4)
    (True, False, False)
    """
    return values >= ENOUGH and 2 * broken > values


def without(samples: Samples, rejected: RejectedError, on_error: OnError, *, whole: bool = True) -> Samples:
    """The samples without the rejected values ("missing"), or without the samples that have them ("skip").

    Args:
        samples: decoded.
        rejected: values of one input, or of truth.
        on_error: what to do with them.
        whole: whether these are all samples; of a part of them more than half may be broken.

    Raises:
        RejectedError: if `on_error` is "fail", or the values do not occur in these samples.
        MostlyBrokenError: they are more than half of an input.
    """
    if on_error == "fail" or not rejected.among(samples):
        raise rejected
    if whole and not rejected.of_truth and len(rejected.reasons) >= ENOUGH / 2:
        column = samples.inputs[rejected.name]
        values = int((~Column.of(column).gaps()).sum())
        if is_mostly_broken(len(rejected.reasons), values):
            raise MostlyBrokenError(rejected, len(rejected.reasons), values)
    if on_error == "skip":
        return select(samples, [i for i, sample in enumerate(samples.ids) if sample not in rejected.reasons])

    def blank(column: Sequence[Any]) -> Sequence[Any]:
        if (lazy := _lazy(column)) is not None:
            return Column(lazy.without(row for row, sample in enumerate(samples.ids) if sample in rejected.reasons))
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
        column: all values of the split, or of a part of it that holds them: one that is lazy is read for it.
        ids: of the samples of the column.
        of_truth: whether the values are truth.

    Raises:
        RejectedError: the transform rejects values of the column.
        ContractError: the batch has no bool leaf `mask`, or another number of rows.
    """
    if (lazy := _lazy(values)) is not None and lazy.arrow is None:
        values = list(values)  # read once, whatever the transform does with them
    try:
        batch = transform(values, generator)
    except RejectedError:
        raise  # a value that cannot be read
    except Exception as error:  # a transform may raise anything on a value that it was not written for
        reasons = _alone(lambda value: transform([value]), column, ids, error)
        # A transform that fails on every value without blaming the data is broken itself.
        if not reasons or (len(reasons) == _present(column) > 1 and not isinstance(error, DataError)):
            raise
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    return checked(name, batch, len(values))


class Rejected:
    """What a transform rejects of a lazy column, part by part: all of it is named at once in the end.

    Args:
        name: of the input.
        of_truth: whether the values are truth.
    """

    def __init__(self, name: str, *, of_truth: bool = False) -> None:
        self.name = name
        self.of_truth = of_truth
        self._reasons: dict[str, str] = {}

    def part(
        self, transform: Transform, values: Sequence[Any], ids: Sequence[Any], start: int, size: int
    ) -> Batch | None:
        """The batch of the values from `start`, at most `size`; None if some are rejected, which is remembered.

        Raises:
            ContractError: the batch has no bool leaf `mask`, or another number of rows.
        """
        stop = min(start + size, len(values))
        part = values[start:stop]
        try:
            return transform_batch(
                self.name, transform, part, column=part, ids=Ids(ids, start, stop), of_truth=self.of_truth
            )
        except RejectedError as error:
            if error.for_all:
                raise
            self._reasons |= error.reasons
            return None

    @property
    def any(self) -> bool:
        """Whether anything was rejected so far."""
        return bool(self._reasons)

    def raise_any(self) -> None:
        """Raise if anything was rejected.

        Raises:
            RejectedError: the transform rejects values.
        """
        if self._reasons:
            raise RejectedError(self.name, self._reasons, of_truth=self.of_truth)


class Ids(Sequence[Any]):
    """The ids from `start` to `stop`, of which none is read before it is asked for."""

    def __init__(self, ids: Sequence[Any], start: int, stop: int) -> None:
        self._ids, self._range = ids, range(start, stop)

    def __getitem__(self, index: Any) -> Any:
        return self._ids[self._range[index]]

    def __len__(self) -> int:
        return len(self._range)


def fit_transform(
    name: str, transform: Transform, column: Sequence[Any], ids: Sequence[str], *, of_truth: bool = False
) -> None:
    """Fit the transform: on all values, but see `fitted_on`.

    Raises:
        RejectedError: values that the transform names, or that it cannot be fitted on alone while it can on all others.
    """
    if (chosen := _fitted_on(transform, column)) is not None:
        column, ids = Column.of(column).take(chosen), [ids[i] for i in chosen]
    unfitted = copy.deepcopy(transform)
    try:
        transform.fit(column)
    except ValuesError as error:
        reasons = {ids[place]: reason for place, reason in error.reasons.items()}
        raise RejectedError(name, reasons, of_truth=of_truth) from error
    except RejectedError:
        raise
    except Exception as error:  # as above
        if len(column) > MOST_ALONE:
            raise

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


def fitted_on(transform: Transform, column: Sequence[Any]) -> int:
    """How many values a transform is fitted on.

    All, unless they are decoded when they are asked for and the transform does not say that its `fit` streams: then at
    most 20,000, or 200,000 texts, that are drawn with seed 0.
    """
    chosen = _fitted_on(transform, column)
    return len(column) if chosen is None else len(chosen)


def _fitted_on(transform: Transform, column: Sequence[Any]) -> list[int] | None:
    if _lazy(column) is None or getattr(transform, "streams", False):
        return None
    first = next((value for value in column if value is not None), None)
    most = MOST_TEXTS if isinstance(first, str) else MOST_FITTED
    if len(column) <= most:
        return None
    drawn = np.random.default_rng(0).choice(len(column), most, replace=False)
    drawn.sort()
    return [int(i) for i in drawn]


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


def _lazy(column: Sequence[Any]) -> Decoded | None:
    return column.lazy if isinstance(column, Column) else None


def _present(column: Sequence[Any]) -> int:
    return sum(value is not None for value in column)


def _raised(call: Callable[[], object]) -> Exception | None:
    """The exception that a call raises, or None."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it raises, the value cannot be used)
        return error
    return None
