"""Series to padded batches: standardised by channel, with noise and a time mask in training.

Axes: B batch, T steps of the longest series, C channels, N steps of all series of a batch together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor

from mmkit.contract import Batch
from mmkit.errors import DataError, ValuesError

AT_ONCE = 2**23
"""Numbers that are in memory at once while a transform is fitted."""
FAR = 1e3
"""Standard deviations from zero, beyond which a channel is centred in float64."""


class Stepwise(Protocol):
    """A transform for encoders of series: its batch is `steps` [B T C] and `mask` [B T]."""

    @property
    def channels(self) -> int:
        """C."""
        ...


class SeriesTransform:
    """Standardises each channel by the training split, pads to the longest series of the batch, augments in training.

    The time mask is that of SpecAugment: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic
    Speech Recognition", Interspeech 2019, https://arxiv.org/abs/1904.08779. What differs: its greatest length is a
    share of the series.

    Args:
        standardize: subtract each channel's mean over the training split, and divide by its standard deviation.
        max_length: longest series in steps, counted from its start; the rest is cut off; none keeps all.
        time_mask: greatest share of a series that one mask hides, in training; 0 is off.
        noise: standard deviation of the noise that is added in training, in standard deviations of the channel; 0 is
            off.
    """

    streams = True

    def __init__(
        self,
        *,
        standardize: bool = True,
        max_length: Annotated[int, Gt(0)] | None = 4096,
        time_mask: Annotated[float, Ge(0), Le(1)] = 0.2,
        noise: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        self.standardize = standardize
        self.max_length = max_length
        self.time_mask = time_mask
        self.noise = noise
        self.augments = time_mask > 0 or noise > 0
        # [C] float64, C is what `fit` found: a large offset would hide a small spread in float32.
        self.mean = torch.zeros(1, dtype=torch.float64)
        self.std = torch.ones(1, dtype=torch.float64)

    @property
    def channels(self) -> int:
        """C of the training split."""
        return len(self.mean)

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Learn the channels, their means and deviations.

        Raises:
            DataError: there is no series.
            ValuesError: some have another number of channels than most.
        """
        channels: dict[int, int] = {}
        moments: _Moments | None = None
        waiting: list[Tensor] = []
        numbers = 0
        for place, value in enumerate(values):
            if value is None:
                continue
            series = self._cut(value)
            channels[place] = series.shape[1]
            if series.shape[1] != next(iter(channels.values())):
                continue  # an error below, whichever of them most have
            waiting.append(series)
            numbers += series.numel()
            if numbers >= AT_ONCE:
                moments, waiting, numbers = _merged(moments, waiting), [], 0
        if not channels:
            raise DataError("the training split has no series in this input; leave the input out")
        ((most, _),) = Counter(channels.values()).most_common(1)
        wrong = {place: count for place, count in channels.items() if count != most}
        if wrong:
            said = f"channels; most of the training split have {most}"
            raise ValuesError({place: f"a series has {count} {said}" for place, count in wrong.items()})
        found = _merged(moments, waiting) if waiting or moments is None else moments
        rounding = 1e-7 if found.single else 1e-12  # of a number, relative to it
        self.mean = found.mean
        # A channel that never changes, but for rounding, stays at 0 instead of being blown up.
        varies = (found.most > found.least) & (found.std > rounding * self.mean.abs())
        self.std = torch.where(varies, found.std, 1.0)

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`steps` [B T C] float32, zero where padded, and `mask` [B T]."""
        series = [self._cut(value) for value in values if value is not None]
        for value in series:
            if value.shape[1] != self.channels:
                raise DataError(f"a series has {value.shape[1]} channels; those of the training split {self.channels}")
        real = iter(series)
        sizes = [0 if value is None else len(next(real)) for value in values]
        longest = max(1, *sizes)
        lengths = torch.tensor(sizes)  # [B]
        mask = torch.arange(longest) < lengths.unsqueeze(1)  # [B T]
        if not series:
            return {"steps": torch.zeros(len(values), longest, self.channels), "mask": mask}
        # All real steps are in one tensor at first, so that no noise is drawn for padding.
        packed = torch.cat(series)  # [N C]
        if self.standardize:
            if (self.mean.abs() > FAR * self.std).any():
                packed = packed.double()  # float32 would round the mean, and with it every step
            packed = (packed - self.mean.to(packed.dtype)) / self.std.to(packed.dtype)
        packed = packed.float()
        if generator is not None and self.noise:
            noise = torch.randn(packed.shape, generator=generator)
            packed = packed.add(noise if self.standardize else noise * self.std.float(), alpha=self.noise)
        steps = padded(packed, lengths, mask)  # [B T C]
        if generator is not None and self.time_mask:
            hidden = span(lengths, longest, self.time_mask, generator).unsqueeze(2)
            steps = steps.masked_fill(hidden, 0) if self.standardize else torch.where(hidden, self.mean.float(), steps)
        return {"steps": steps, "mask": mask}

    def told(self, values: Sequence[Tensor | None]) -> str:
        """What is read of such series, where it is not all."""
        lengths = [len(value) for value in values if value is not None]
        longer = [length for length in lengths if self.max_length is not None and length > self.max_length]
        if not longer:
            return ""
        said = f"{len(longer)} of {len(lengths)} are longer, up to {max(longer):,}"
        return f"the first {self.max_length:,} steps; {said} (max_length)"

    def example(self, generator: Generator) -> Tensor:
        """A random series [T C] of the means and deviations of the training split, T from 4 to 24."""
        length = int(torch.randint(4, 25, (), generator=generator))
        noise = torch.randn(length, self.channels, generator=generator)
        return (self.mean + self.std * noise).float()

    def state(self) -> dict[str, Any]:
        """Mean and deviation of each channel."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean = torch.tensor(state["mean"], dtype=torch.float64)
        self.std = torch.tensor(state["std"], dtype=torch.float64)

    def _cut(self, value: Tensor) -> Tensor:
        return value if self.max_length is None else value[: self.max_length]


@dataclass(frozen=True)
class _Moments:
    """What is known of the steps of some series, by channel: [C] each, float64 but for the extremes."""

    count: int
    mean: Tensor
    std: Tensor
    least: Tensor
    most: Tensor
    single: bool
    """Whether all are float32."""


def _merged(known: _Moments | None, series: Sequence[Tensor]) -> _Moments:
    """The moments of the known steps and of more: Chan et al., "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979, equation 2.1.
    """  # noqa: D205 - one sentence
    steps = torch.cat(list(series))  # [N C]
    std, mean = torch.std_mean(steps.double(), 0, correction=0)
    more = _Moments(len(steps), mean, std, steps.amin(0), steps.amax(0), steps.dtype == torch.float32)
    if known is None:
        return more
    count = known.count + more.count
    apart = more.mean - known.mean
    squares = known.count * known.std**2 + more.count * more.std**2 + apart**2 * (known.count * more.count / count)
    return _Moments(
        count,
        known.mean + apart * (more.count / count),
        (squares / count).sqrt(),
        torch.minimum(known.least, more.least),
        torch.maximum(known.most, more.most),
        known.single and more.single,
    )


def padded(packed: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
    """[B T C] from all real steps in a row [N C], zero where `mask` [B T] is False; one gather, no loop over rows."""
    first = lengths.cumsum(0) - lengths
    place = (first.unsqueeze(1) + torch.arange(mask.shape[1])).clamp(max=len(packed) - 1)  # [B T]
    return packed.index_select(0, place.flatten()).view(*mask.shape, -1).masked_fill_(~mask.unsqueeze(2), 0)


def span(lengths: Tensor, longest: int, share: float, generator: Generator) -> Tensor:
    """One span to hide in each sequence, its length uniform up to `share` of the sequence, its place uniform.

    Args:
        lengths: [B] of each sequence.
        longest: T.
        share: 0 to 1.
        generator: what is drawn from.

    Returns:
        [B T] bool, True where hidden.
    """
    draws = torch.rand(2, len(lengths), generator=generator)
    length = (draws[0] * ((share * lengths).floor() + 1)).long()
    start = (draws[1] * (lengths - length + 1)).long()
    position = torch.arange(longest)
    return (position >= start.unsqueeze(1)) & (position < (start + length).unsqueeze(1))
