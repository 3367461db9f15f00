"""Sound to log-mel spectrograms: mixed down, resampled, framed, standardised by band.

Axes: B batch, T frames of the longest clip, M mel bands, N frames of all clips of a batch together, W samples of a
frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torchaudio import functional as sound

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.series import padded, span
from mmkit.transforms.sound import Mix, mono_at

FLOOR = 1e-6
"""Added before the logarithm, so that silence is no outlier: about the power of the rounding noise of 16 bits."""
CHUNK = 1024
"""Frames transformed at once: few enough to stay in the cache of the CPU from one step to the next."""


class MelTransform:
    """Log-mel spectrograms: the power of `torchaudio.transforms.MelSpectrogram` framed without padding, its logarithm,
    and each band standardised by the training split.

    A clip shorter than a frame is filled up with silence. The masks are those of SpecAugment: Park et al.,
    "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech 2019,
    https://arxiv.org/abs/1904.08779. They are off by default: without them the spectrograms are computed once instead
    of in every epoch.

    Args:
        rate: samples per second; every clip is resampled to it.
        mels: M, the number of mel bands.
        window: length of a frame, in seconds.
        hop: time from the start of a frame to the start of the next, in seconds.
        low: lowest frequency, in Hz.
        high: highest frequency, in Hz; none is half of `rate`.
        seconds: longest clip in seconds, counted from its start; the rest is cut off; none keeps all.
        mix: how the channels of a clip become one: their "mean", or the "loudest" of them; where the mean would cancel
            them out, the loudest is taken anyhow.
        time_mask: greatest share of the frames of a clip that one mask hides, in training; 0 is off.
        band_mask: greatest share of the mel bands that one mask hides, in training; 0 is off.

    Raises:
        ValueError: a window shorter than two samples, a hop shorter than one, low not below high, high above half of
            the rate, or bands so narrow that no frequency of the window's falls into one.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        *,
        rate: Annotated[int, Gt(0)] = 16000,
        mels: Annotated[int, Gt(0)] = 40,
        window: Annotated[float, Gt(0)] = 0.025,
        hop: Annotated[float, Gt(0)] = 0.01,
        low: Annotated[float, Ge(0)] = 20.0,
        high: Annotated[float, Gt(0)] | None = None,
        seconds: Annotated[float, Gt(0)] | None = 10.0,
        mix: Mix = "mean",
        time_mask: Annotated[float, Ge(0), Le(1)] = 0.0,
        band_mask: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.rate = rate
        self.mels = mels
        self.samples = round(window * rate)  # W
        self.hop = round(hop * rate)
        self.longest = None if seconds is None else max(1, round(seconds * rate))
        self.mix: Mix = mix
        self.time_mask = time_mask
        self.band_mask = band_mask
        self.augments = time_mask > 0 or band_mask > 0
        if self.samples < 2 or self.hop < 1:
            raise ValueError(
                f"window {window} s and hop {hop} s are {self.samples} and {self.hop} samples at rate {rate};"
                " a window needs two, a hop one: take longer ones"
            )
        most = rate / 2 if high is None else high
        if not low < most <= rate / 2:
            raise ValueError(f"low {low} and high {most} Hz do not fit rate {rate}: low < high <= {rate / 2} is needed")
        self.frame = torch.hann_window(self.samples)
        self.filters = _filters(self.samples // 2 + 1, low, most, mels, rate)  # [W/2+1 M]
        empty = (self.filters.amax(0) == 0).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"mels {mels} leave band {empty[0]} without a frequency at rate {rate} and window {window} s;"
                " take fewer mels or a longer window"
            )
        self.mean = torch.zeros(mels)
        self.std = torch.ones(mels)

    def fit(self, values: Sequence[tuple[Tensor, int] | None]) -> None:
        """Learn mean and deviation of each band.

        Raises:
            DataError: there is no clip.
        """
        count, total, square = 0, torch.zeros(self.mels).double(), torch.zeros(self.mels).double()
        for mels in self._log_mels(self._framed(value) for value in values if value is not None):
            count += len(mels)
            total += mels.double().sum(0)
            square += mels.double().square().sum(0)
        if not count:
            raise DataError("the training split has no sound in this input; leave the input out")
        mean = total / count
        std = (square / count - mean.square()).clamp(min=0).sqrt()
        self.mean = mean.float()
        # A band that never changes stays at 0 instead of being blown up.
        self.std = torch.where(std > 1e-4, std, 1.0).float()

    def __call__(self, values: Sequence[tuple[Tensor, int] | None], generator: Generator | None = None) -> Batch:
        """`mel` [B T M] float32, zero where padded, and `mask` [B T]."""
        framed = [self._framed(value) for value in values if value is not None]
        frames = iter(framed)
        sizes = [0 if value is None else len(next(frames)) for value in values]
        longest = max(1, *sizes)
        lengths = torch.tensor(sizes)  # [B]
        mask = torch.arange(longest) < lengths.unsqueeze(1)  # [B T]
        if not framed:
            return {"mel": torch.zeros(len(values), longest, self.mels), "mask": mask}
        real = torch.cat(list(self._log_mels(framed))).sub_(self.mean).div_(self.std)  # [N M]
        mel = padded(real, lengths, mask)  # [B T M]
        # What is hidden is at the band's mean, which is 0.
        if generator is not None and self.time_mask:
            mel = mel.masked_fill(span(lengths, longest, self.time_mask, generator).unsqueeze(2), 0)
        if generator is not None and self.band_mask:
            bands = torch.full_like(lengths, self.mels)
            mel = mel.masked_fill(span(bands, self.mels, self.band_mask, generator).unsqueeze(1), 0)
        return {"mel": mel, "mask": mask}

    def told(self, values: Sequence[tuple[Tensor, int] | None]) -> str:
        """What is read of such clips, where it is not all."""
        lasting = [clip.shape[-1] / rate for clip, rate in (value for value in values if value is not None)]
        most = None if self.longest is None else self.longest / self.rate
        longer = [seconds for seconds in lasting if most is not None and seconds > most]
        if not longer:
            return ""
        return f"the first {most:g} s; {len(longer)} of {len(lasting)} last longer, up to {max(longer):.0f} s (seconds)"

    def state(self) -> dict[str, Any]:
        """Mean and deviation of each band."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean = torch.tensor(state["mean"])
        self.std = torch.tensor(state["std"])

    def _framed(self, value: tuple[Tensor, int]) -> Tensor:
        """[T W], a view of one clip in mono and at the rate."""
        mono = mono_at(value, self.rate, self.mix)[: self.longest]
        if len(mono) < self.samples:
            mono = torch.nn.functional.pad(mono, (0, self.samples - len(mono)))
        return mono.unfold(0, self.samples, self.hop)

    def _log_mels(self, framed: Iterable[Tensor]) -> Iterator[Tensor]:
        """[. M] of the frames of all clips in turn: one FFT and one product for many clips at once."""
        for frames in _chunks(framed):
            # Real and imaginary parts are squared and added as they lie: the absolute value would take a needless root.
            parts = torch.view_as_real(torch.fft.rfft(frames.mul_(self.frame))).flatten(1).square_()  # [. 2 (W/2+1)]
            yield torch.mm(parts[:, ::2] + parts[:, 1::2], self.filters).add_(FLOOR).log_()


def _filters(bins: int, low: float, high: float, mels: int, rate: int) -> Tensor:
    """[bins M]: torchaudio's triangles, even on the mel scale. Of empty ones it warns; the constructor raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
        return sound.melscale_fbanks(bins, low, high, mels, rate)


def _chunks(framed: Iterable[Tensor]) -> Iterator[Tensor]:
    """The frames of all clips in order, `CHUNK` at a time or fewer, copied."""
    waiting: list[Tensor] = []
    count = 0
    for frames in framed:
        for part in (frames[start : start + CHUNK] for start in range(0, len(frames), CHUNK)):
            if count + len(part) > CHUNK and waiting:
                yield torch.cat(waiting)
                waiting, count = [], 0
            waiting.append(part)
            count += len(part)
    if waiting:
        yield torch.cat(waiting)
