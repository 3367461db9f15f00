"""Sound brought to one channel and one rate: what every transform of sound begins with."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor
from torchaudio import functional as sound


def mono_at(clip: tuple[Tensor, int], rate: int) -> Tensor:
    """[time] of a clip ([channels time], samples per second): the mean of its channels, resampled to `rate`."""
    waveform, given = clip
    mono = waveform[0] if len(waveform) == 1 else waveform.mean(0)
    if given == rate:
        return mono
    # A ratio of large numbers would need a filter for each phase: 44101 to 16000 takes gigabytes. Rates in use have
    # small ones (11025 to 16000 is 441 to 640); for others the nearest such ratio is taken.
    ratio = Fraction(given, rate).limit_denominator(1000)
    return sound.resample(mono, ratio.numerator, ratio.denominator)
