"""Series to padded batches: standardised by channel, with noise and a time mask in training.

Axes: B batch, T steps of the longest series, C channels, N steps of all series of a batch together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor

from mmkit.contract import Batch
from mmkit.errors import DataError


class SeriesTransform:
    """Standardises each channel by the training split, pads to the longest of the batch; augments in training.

    The time mask is that of SpecAugment: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic
    Speech Recognition", Interspeech 2019, https://arxiv.org/abs/1904.08779; here its greatest length is a share of
    the series.

    Args:
        standardize: subtract each channel's mean over the training split and divide by its deviation.
        max_length: steps kept from the start of a series; none keeps all.
        time_mask: greatest share of a series that one mask hides in training; 0 is off.
        noise: deviation of the noise added in training, in deviations of the channel; 0 is off.
    """

    def __init__(
        self,
        *,
        standardize: bool = True,
        max_length: Annotated[int, Gt(0)] | None = None,
        time_mask: Annotated[float, Ge(0), Le(1)] = 0.2,
        noise: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        self.standardize = standardize
        self.max_length = max_length
        self.time_mask = time_mask
        self.noise = noise
        self.augments = time_mask > 0 or noise > 0
        self.mean = torch.zeros(1)  # [C], C is what `fit` found
        self.std = torch.ones(1)

    @property
    def channels(self) -> int:
        """C of the training split."""
        return len(self.mean)

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Learn the channels, their means and deviations.

        Raises:
            DataError: there is no series, or two differ in their number of channels.
        """
        series = [value[: self.max_length] for value in values if value is not None]
        if not series:
            raise DataError("the training split has no series in this input; leave the input out")
        found = sorted({value.shape[1] for value in series})
        if len(found) > 1:
            raise DataError(f"all series of an input have the same channels; got {found} in the training split")
        steps = torch.cat(series).double()  # [N C]
        std, mean = torch.std_mean(steps, 0, correction=0)
        self.mean = mean.float()
        # A channel that never changes stays at 0 instead of being blown up.
        self.std = torch.where(std > 1e-6 * mean.abs().clamp(min=1e-6), std, 1.0).float()

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`steps` [B T C] float32, zero where padded, and `mask` [B T]."""
        series = [value[: self.max_length] for value in values if value is not None]
        for value in series:
            if value.shape[1] != self.channels:
                raise DataError(f"a series has {value.shape[1]} channels; those of the training split {self.channels}")
        lengths = torch.tensor([0 if value is None else len(value[: self.max_length]) for value in values])  # [B]
        longest = max(int(lengths.max()) if len(values) else 0, 1)
        mask = torch.arange(longest) < lengths.unsqueeze(1)  # [B T]
        steps = torch.zeros(len(values), longest, self.channels)
        if series:
            # All real steps stand in one tensor, so that nothing below is done for padding, noise least of all.
            real = torch.cat(series)  # [N C]
            if self.standardize:
                real = (real - self.mean) / self.std
            if generator is not None:
                real = self._augmented(real, lengths, generator)
            steps[mask] = real
        return {"steps": steps, "mask": mask}

    def state(self) -> dict[str, Any]:
        """Mean and deviation of each channel."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean = torch.tensor(state["mean"])
        self.std = torch.tensor(state["std"])

    def _augmented(self, real: Tensor, lengths: Tensor, generator: Generator) -> Tensor:
        """[N C] with noise, then with one span of each series at the channel's mean."""
        if self.noise:
            noise = torch.randn(real.shape, generator=generator)
            real = real + self.noise * (noise if self.standardize else noise * self.std)
        if self.time_mask:
            length, start, position = span(lengths, self.time_mask, generator)
            hidden = (position >= start) & (position < start + length)  # [N]
            real = torch.where(hidden.unsqueeze(1), 0.0 if self.standardize else self.mean, real)
        return real


def span(lengths: Tensor, share: float, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One span to hide in each sequence, drawn evenly up to `share` of its length, at an even place.

    Returns:
        length and start of the span [N], and the position [N] within its own sequence, of each step of all sequences.
    """
    draws = torch.rand(2, len(lengths), generator=generator)
    length = (draws[0] * ((share * lengths).floor() + 1)).long()
    start = (draws[1] * (lengths - length + 1)).long()
    first = lengths.cumsum(0) - lengths
    rows = torch.stack((length, start, first)).repeat_interleave(lengths, 1)  # [3 N]
    return rows[0], rows[1], torch.arange(rows.shape[1]) - rows[2]
