"""An exponential moving average of the weights, which is validated and kept in place of the weights themselves.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control and Optimization
1992, https://doi.org/10.1137/0330046; the exponential form, with a decay that rises at the beginning, is that of
TensorFlow's `ExponentialMovingAverage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The average of trained parameters over steps: `average = decay * average + (1 - decay) * parameter`.

    After step t, from 1, the decay is at most (1 + t) / (10 + t), so that the first weights are soon forgotten.
    Buffers, such as running statistics, are no part of it and stay as they are.

    Args:
        parameters: that are trained.
        decay: below 1.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters)
        self._decay = decay
        self.averages = [parameter.detach().clone() for parameter in self._parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after a step."""
        self.steps += 1
        share = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.averages, list[Tensor](self._parameters), share)

    def restore(self, averages: Sequence[Tensor], steps: int) -> None:
        """Take back `averages` after a number of `steps`."""
        self.steps = steps
        for own, kept in zip(self.averages, averages, strict=True):
            own.copy_(kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters are the averages; after it they are what they were."""
        before = [parameter.detach().clone() for parameter in self._parameters]
        self._set(self.averages)
        try:
            yield
        finally:
            self._set(before)

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
