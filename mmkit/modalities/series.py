"""Series: a signal over time, of one or more channels.

Axes: T steps, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.errors import DataError


class Series:
    """A raw value is an array, a tensor or a nested list of numbers, [T C], or [T] for one channel."""

    def decode(self, raw: Any) -> Tensor:
        """A float32 tensor [T C] of its own, T and C at least 1.

        Raises:
            DataError: it is no array of numbers, has another shape, is empty, or holds NaN or infinity.
        """
        try:
            steps = torch.as_tensor(raw)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"a series is an array of numbers [T C] or [T]; got {type(raw).__name__}: {error}"
            ) from error
        if steps.is_complex():
            raise DataError("a series holds real numbers; got complex ones: give real and imaginary part as channels")
        if steps.ndim not in {1, 2}:
            raise DataError(f"a series is [T C], or [T] for one channel; got shape {list(steps.shape)}")
        if steps.numel() == 0:
            raise DataError(
                f"a series has at least one step; got shape {list(steps.shape)}: give None where it is missing"
            )
        steps = steps.detach().to("cpu", torch.float32, copy=True)
        finite = torch.isfinite(steps)
        if not finite.all():
            step = int((~finite.reshape(len(steps), -1).all(1)).nonzero()[0])
            raise DataError(f"a series holds finite numbers (float32); step {step} does not: fill it or leave it out")
        return steps.unsqueeze(1) if steps.ndim == 1 else steps

    def example(self, generator: Generator) -> Tensor:
        """A random series [T 3], T from 4 to 24."""
        length = int(torch.randint(4, 25, (), generator=generator))
        return torch.randn(length, 3, generator=generator)
