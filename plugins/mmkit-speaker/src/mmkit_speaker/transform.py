"""Waveforms to the mel frames that the voice encoder was trained on.

16 kHz, mono, raised to -30 dBFS where they are quieter; power, not its logarithm, in 40 bands of 25 ms windows, one
every 10 ms.

Axes: B batch, P pieces of a clip, F = 160 frames of a piece, M = 40 mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor
from torchaudio import functional as audio

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.sound import Mix, mono_at

RATE = 16_000
WINDOW, HOP, BANDS = 400, 160, 40
FRAMES = 160
LOUDNESS = 10 ** (-30 / 20)  # root mean square of -30 dBFS
PIECES_PER_S = 1.3
COVERAGE = 0.75
"""Share of the last piece that must be sound; else it is left out, where it is not the only one."""


class SpeakerTransform:
    """Cuts a clip into pieces of 1.6 s, 1.3 a second, and gives their mel frames.

    Args:
        mix: how the channels of a clip become one: their "mean", or the "loudest" of them; where the mean would cancel
            them out, the loudest is taken anyhow.
    """

    augments = False

    def __init__(self, *, mix: Mix = "mean") -> None:
        self.mix: Mix = mix

    def fit(self, values: Sequence[tuple[Tensor, int] | None]) -> None:
        """Nothing is fitted.

        Raises:
            DataError: there is no sound.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no sound in this input; leave the input out")

    def __call__(self, values: Sequence[tuple[Tensor, int] | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`mel` [B P F M] and `mask` [B P], False where a clip has no such piece or is missing."""
        clips = [None if value is None else self._pieces(*value) for value in values]
        most = max([1, *(len(clip) for clip in clips if clip is not None)])
        mel = torch.zeros(len(values), most, FRAMES, BANDS)
        mask = torch.zeros(len(values), most, dtype=torch.bool)
        for row, clip in enumerate(clips):
            if clip is not None:
                mel[row, : len(clip)] = clip
                mask[row, : len(clip)] = True
        return {"mel": mel, "mask": mask}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing is taken back."""

    def _pieces(self, wave: Tensor, rate: int) -> Tensor:
        """[P F M] of one clip [channels time]."""
        mono = mono_at((wave, rate), RATE, self.mix)
        loudness = mono.square().mean().sqrt()
        if 0 < loudness < LOUDNESS:
            mono = mono * (LOUDNESS / loudness)
        starts = pieces(len(mono))
        end = (starts[-1] + FRAMES) * HOP
        if end > len(mono):
            mono = torch.nn.functional.pad(mono, (0, end - len(mono)))
        spectrum = torch.stft(
            mono, WINDOW, HOP, window=self._window, center=True, pad_mode="constant", return_complex=True
        )
        mel = spectrum.abs().square().T @ self._bands  # [frames M]
        return torch.stack([mel[start : start + FRAMES] for start in starts])

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(WINDOW)

    @cached_property
    def _bands(self) -> Tensor:
        """[WINDOW / 2 + 1, M]."""
        return audio.melscale_fbanks(WINDOW // 2 + 1, 0, RATE / 2, BANDS, RATE, norm="slaney", mel_scale="slaney")


def pieces(samples: int) -> list[int]:
    """The first frames of the pieces of a clip of so many samples."""
    frames = math.ceil((samples + 1) / HOP)
    step = round(RATE / PIECES_PER_S / HOP)
    starts = list(range(0, max(1, frames - FRAMES + step + 1), step))
    covered = (samples - starts[-1] * HOP) / (FRAMES * HOP)
    return starts[:-1] if len(starts) > 1 and covered < COVERAGE else starts
