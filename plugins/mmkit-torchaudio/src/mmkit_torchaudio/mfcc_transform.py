"""Sound to mel-frequency cepstral coefficients, standardised.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously
Spoken Sentences", IEEE TASSP 1980, https://doi.org/10.1109/TASSP.1980.1163420.

Axes: B batch, T frames of the longest clip, M mel bands, C coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Generator, Tensor
from torchaudio.functional import create_dct

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.sound import Mix

AT_ONCE = 64
"""Clips of the training split that are measured together."""


class MfccTransform:
    """`torchaudio.transforms.MFCC` with log_mels, framed without padding, and standardised by the training split.

    Args:
        coefficients: C, the number of cepstral coefficients.
        rate: samples per second; every clip is resampled to it.
        mels: M, the number of mel bands.
        window: length of a frame, in seconds.
        hop: time from the start of a frame to the start of the next, in seconds.
        low: lowest frequency, in Hz.
        high: highest frequency, in Hz; none is half of `rate`.
        seconds: longest clip in seconds, counted from its start; the rest is cut off; none keeps all.
        mix: how the channels of a clip become one: their "mean", or the "loudest" of them; where the mean would cancel
            them out, the loudest is taken anyhow.

    Raises:
        ValueError: more coefficients than bands, or what the spectrogram cannot be.
    """

    augments = False

    def __init__(
        self,
        *,
        coefficients: Annotated[int, Gt(0)] = 20,
        rate: Annotated[int, Gt(0)] = 16000,
        mels: Annotated[int, Gt(0)] = 40,
        window: Annotated[float, Gt(0)] = 0.025,
        hop: Annotated[float, Gt(0)] = 0.01,
        low: Annotated[float, Ge(0)] = 20.0,
        high: Annotated[float, Gt(0)] | None = None,
        seconds: Annotated[float, Gt(0)] | None = 10.0,
        mix: Mix = "mean",
    ) -> None:
        if coefficients > mels:
            raise ValueError(f"coefficients {coefficients} are more than mels {mels}; take fewer, or more bands")
        # Not fitted, it gives the logarithm without standardisation; the coefficients are a linear function of that.
        self.spectrogram = MelTransform(
            rate=rate, mels=mels, window=window, hop=hop, low=low, high=high, seconds=seconds, mix=mix
        )
        self.cosines = create_dct(coefficients, mels, norm="ortho")  # [M C]
        self.mean = torch.zeros(coefficients)
        self.std = torch.ones(coefficients)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    def fit(self, values: Sequence[tuple[Tensor, int] | None]) -> None:
        """Learn mean and deviation of each coefficient.

        Raises:
            DataError: there is no clip.
        """
        clips = [value for value in values if value is not None]
        if not clips:
            raise DataError("the training split has no sound in this input; leave the input out")
        count, total, square = 0, torch.zeros(self.channels).double(), torch.zeros(self.channels).double()
        for start in range(0, len(clips), AT_ONCE):
            batch = self.spectrogram(clips[start : start + AT_ONCE])
            found = (batch["mel"][batch["mask"]] @ self.cosines).double()
            count += len(found)
            total += found.sum(0)
            square += found.square().sum(0)
        mean = total / count
        std = (square / count - mean.square()).clamp(min=0).sqrt()
        self.mean = mean.float()
        # A coefficient that never changes stays at 0 instead of being blown up.
        self.std = torch.where(std > 1e-4, std, 1.0).float()

    def __call__(self, values: Sequence[tuple[Tensor, int] | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`steps` [B T C] float32, zero where padded, and `mask` [B T]."""
        batch = self.spectrogram(values)
        steps = (batch["mel"] @ self.cosines - self.mean) / self.std
        return {"steps": steps.masked_fill_(~batch["mask"].unsqueeze(2), 0), "mask": batch["mask"]}

    def told(self, values: Sequence[tuple[Tensor, int] | None]) -> str:
        """What is read of such clips, where it is not all."""
        return self.spectrogram.told(values)

    def state(self) -> dict[str, Any]:
        """Mean and deviation of each coefficient."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean = torch.tensor(state["mean"])
        self.std = torch.tensor(state["std"])
