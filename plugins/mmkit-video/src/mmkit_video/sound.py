"""The sound of a video, read by every audio encoder.

Axes: N samples of a waveform.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av import AudioResampler
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing
from mmkit.modalities.audio import Audio
from mmkit_video.source import Source, name_of, opened, source_of

Sound = tuple[Tensor, int]
"""What the modality audio holds in memory: a float32 tensor [channels N], and samples per second."""


def audio_track(source: str | Path | bytes) -> Sound | None:
    """The first audio track of a file: a float32 waveform [channels N], -1 to 1, and its samples per second.

    A track that changes them on its way, as broadcasts do, keeps those that it begins with. It is also a raw value of
    the modality `audio`.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        None where the file has no audio track.

    Raises:
        DataError: the file is not there, cannot be read, or has a track without a sample or with NaN.
    """
    given = source_of(source)
    if given is None:
        raise DataError(f"a file with sound is a path or bytes; got {type(source).__name__}")
    return _track(given)


class VideoAudio:
    """A raw value is a path or the bytes of a file that PyAV reads, video or not, or (waveform, rate).

    The same path can be the raw value of two inputs, one of modality `video` and one of `video-audio`.
    """

    def decode(self, raw: Any) -> Sound | None:
        """A float32 tensor [channels N] and the samples per second.

        None, so missing, where a file has no audio track, and for NaN and other marks of a gap, as tables have them.

        Raises:
            DataError: as `audio_track`, and as the modality audio raises it of a waveform; or it is something else.
        """
        if is_missing(raw):
            return None
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            return Audio().decode(raw)
        return audio_track(raw)

    def example(self, generator: Generator) -> Sound:
        """A tenth to half a second of noise, at 16 kHz."""
        length = int(torch.randint(1600, 8001, (), generator=generator))
        return 0.1 * torch.randn(1, length, generator=generator), 16000

    unit = Audio.unit

    def length(self, value: Sound) -> float:
        """Seconds of a sound."""
        return Audio().length(value)

    def joined(self, values: Sequence[Sound], last: float) -> Sound:
        """The last seconds of sounds that follow each other, as those of the modality audio."""
        return Audio().joined(values, last)


def _track(source: Source) -> Sound | None:
    parts: list[np.ndarray[Any, Any]] = []
    rate = 0
    with opened(source) as container:
        if not container.streams.audio:
            if not container.streams.video:
                raise DataError(f"{name_of(source)} has neither pictures nor sound")
            return None
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        frames = container.decode(stream)
        for (layout, given, _), alike in groupby(frames, lambda f: (f.layout.name, f.sample_rate, f.format.name)):
            if not parts:
                first, rate = layout, given
            resampler = AudioResampler("fltp", first, rate)
            for frame in chain(alike, [None]):
                parts += [part.to_ndarray() for part in resampler.resample(frame)]
    waveform = torch.from_numpy(np.concatenate(parts, 1)) if parts else torch.zeros(0, 0)
    if not waveform.numel():
        raise DataError(f"{name_of(source)} has an audio track without a sample")
    return _finite(waveform, f"the audio track of {name_of(source)}"), int(rate)


def _finite(waveform: Tensor, name: str) -> Tensor:
    if not torch.isfinite(waveform).all():
        raise DataError(f"{name} holds NaN or infinity; mend it or leave it out")
    return waveform
