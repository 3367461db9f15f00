"""Sound brought to one channel and one rate: what every transform of sound begins with."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Literal

from torch import Tensor
from torchaudio import functional as sound

from mmkit.errors import DataError

Mix = Literal["mean", "loudest"]
"""How the channels of a sound become one: see `mono`."""

SILENT = 1e-6
"""Power of a channel that counts as silent, as a share of that of the loudest one: -60 dB."""
CANCELLED = 0.25
"""Power of a mean, as a share of that of channels that have nothing to do with each other, below which they cancel each
other: two equally loud ones whose correlation is below -0.75."""


def mono_at(clip: tuple[Tensor, int], rate: int, mix: Mix = "mean") -> Tensor:
    """[time] of a clip ([channels time], samples per second): mixed down, and resampled to `rate`.

    Raises:
        DataError: the clip has less than a thousandth of the samples per second that are asked for.
    """
    waveform, given = clip
    mixed = mono(waveform, mix)
    if given == rate:
        return mixed
    # A ratio of large numbers would need a filter for each phase: 44101 to 16000 takes gigabytes. Rates in use have
    # small ones (11025 to 16000 is 441 to 640); for others the nearest such ratio is taken.
    ratio = Fraction(given, rate).limit_denominator(1000)
    if not ratio:
        raise DataError(f"a sound of {given} samples a second cannot be resampled to {rate}; check its rate")
    return sound.resample(mixed, ratio.numerator, ratio.denominator)


def mono(waveform: Tensor, mix: Mix = "mean") -> Tensor:
    """[time] of [channels time].

    Silent channels are left out, so that they do not lower the level. Channels of opposite phase (a balanced line, a
    cable that is soldered the wrong way) would cancel each other in the mean; of such a sound the loudest channel is
    taken, and a warning says so once.

    Args:
        waveform: of one sound.
        mix: "mean" of the channels, or the "loudest" of them.
    """
    if len(waveform) == 1:
        return waveform[0]
    power = waveform.double().square().mean(1)  # [channels]
    loudest = waveform[int(power.argmax())]
    if mix == "loudest":
        return loudest
    heard = power > SILENT * power.amax()
    if not heard.all():
        waveform, power = (waveform[heard], power[heard]) if heard.any() else (waveform[:1], power[:1])
    mixed = waveform.mean(0)
    # The mean of n channels that have nothing to do with each other has their power by n.
    if mixed.double().square().mean() < CANCELLED * power.mean() / len(power):
        warnings.warn(
            "the channels of a sound cancel each other; its loudest one is taken in place of their mean"
            " (the option mix=loudest does so for every sound)",
            stacklevel=2,
        )
        return loudest
    return mixed
