"""Series: a signal over time, of one or more channels.

Axes: T steps, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import Array, array_of, is_missing

HARDLY = 1e-3
"""Share of its size by which a channel changes, below which it is kept in float64: above, float32 rounds no change by
more than 1e-4 of all changes."""


class Series:
    """A raw value is an array, a tensor or a nested list of numbers, or a part of a table: [T C], or [T] for one
    channel.
    """  # noqa: D205 - one sentence

    def decode(self, raw: Any) -> Tensor | None:
        """A tensor [T C] of its own, T and C at least 1: float32, or float64 where a channel hardly changes beside its
        size (a Unix time, a price in cents), of which float32 would round the changes away.

        None for NaN and other marks of a gap, as tables have them.

        Raises:
            DataError: it is no array of numbers, has another shape, is empty, or holds NaN or infinity.
        """  # noqa: D205 - one sentence
        if is_missing(raw):
            return None
        try:
            steps = array_of(raw)
        except ValueError as error:
            raise DataError(f"a series is an array of numbers [T C] or [T]; got {error}") from error
        if steps.dtype.kind == "c":
            raise DataError("a series holds real numbers; got complex ones: give real and imaginary part as channels")
        if steps.ndim not in {1, 2}:
            raise DataError(f"a series is [T C], or [T] for one channel; got shape {list(steps.shape)}")
        if steps.size == 0:
            raise DataError(
                f"a series has at least one step; got shape {list(steps.shape)}: give None where it is missing"
            )
        steps = steps.reshape(len(steps), -1)  # [T C]
        with np.errstate(over="ignore"):
            single = steps.astype(np.float32)
        finite = np.isfinite(single).all(1)
        if not finite.all():
            step = int((~finite).argmax())
            raise DataError(f"a series holds finite numbers (float32); step {step} does not: fill it or leave it out")
        return torch.from_numpy(steps.astype(np.float64) if _rounded_away(steps, single) else single)

    def example(self, generator: Generator) -> Tensor:
        """A random series [T 3], T from 4 to 24."""
        length = int(torch.randint(4, 25, (), generator=generator))
        return torch.randn(length, 3, generator=generator)

    unit = "steps"

    def length(self, value: Tensor) -> float:
        """Steps of a series."""
        return len(value)

    def joined(self, values: Sequence[Tensor], last: float) -> Tensor:
        """The last steps of series that follow each other.

        Raises:
            DataError: they have several numbers of channels.
        """
        channels = sorted({one.shape[1] for one in values})
        if len(channels) > 1:
            raise DataError(
                f"series that follow each other have one number of channels; got {channels[0]} and {channels[1]}"
            )
        double = any(one.dtype == torch.float64 for one in values)
        whole = torch.cat([one.double() if double else one for one in values])
        return whole[-max(round(last), 1) :]


def _rounded_away(steps: Array, single: Array) -> bool:
    """Whether float32 loses changes of a channel; those from series to series are not known, but no smaller."""
    if steps.dtype.kind == "b" or steps.dtype in (np.float16, np.float32):
        return False
    change = np.ptp(steps.astype(np.float64), axis=0)
    return bool(((change < HARDLY * np.abs(single).max(0)) & (single != steps).any(0)).any())
