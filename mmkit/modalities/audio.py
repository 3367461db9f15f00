"""Sound: audio files, and waveforms with their sample rate."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import array_of, is_missing

Clip = tuple[Tensor, int]
"""A float32 tensor [channels time], and its samples per second."""

STREAMED = 0x7FFF0000
"""Bytes of sound in a header: programs that do not know the length yet write a greater number, which says nothing."""
LOUDEST = 16.0
"""A float beyond is none of a sound from -1 to 1, but an integer that was never scaled: mixing, resampling and lossy
coding go beyond 1, by no more than a few."""
FEW, MANY = 8, 64
"""Channels that any sound may have, and that none has: an axis longer than `MANY` is time."""
INTEGERS = (np.uint8, np.int8, np.int16, np.int32)
"""Types whose range is the range of the sound."""
_SHORT = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
"""What libsndfile logs where a header promises more bytes than the file holds."""


class Audio:
    """A raw value is a path or bytes (wav, flac, ogg, mp3), or (waveform [channels time] or [time], rate)."""

    def decode(self, raw: Any) -> Clip | None:
        """A float32 tensor [channels time] of its own, both at least 1, and the samples per second.

        None for NaN and other marks of a gap, as tables have them.

        Waveforms of integers of up to 32 bits are scaled to -1 to 1 by the range of their type. One that is given as
        [time channels], as soundfile reads it, is turned where no sound has so many channels.

        Raises:
            DataError: the file is not there, cannot be read or is cut off (which is not detected for ogg); the waveform
                is of another shape, empty, not finite, or of numbers that do not say how loud it is; the rate is not a
                positive whole number.
        """
        if is_missing(raw):
            return None
        if isinstance(raw, (str, Path)):
            path = Path(raw)
            if path == Path():
                raise DataError("an empty path was given; give None where the sound is missing")
            if not path.is_file():
                raise DataError(f"there is no sound file at {path}")
            return _read(path, str(path))
        if isinstance(raw, (bytes, bytearray, memoryview)):
            return _read(io.BytesIO(raw), f"the {len(raw)} bytes given as sound")
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            return _checked(_waveform(raw[0]), raw[1], "a waveform")
        raise DataError(f"sound is a path, bytes, or (waveform [channels time], rate); got {type(raw).__name__}")

    def example(self, generator: Generator) -> Clip:
        """A tenth to half a second of noise, at 16 kHz."""
        length = int(torch.randint(1600, 8001, (), generator=generator))
        return 0.1 * torch.randn(1, length, generator=generator), 16000

    unit = "seconds"

    def length(self, value: Clip) -> float:
        """Seconds of a sound."""
        waveform, rate = value
        return waveform.shape[1] / rate

    def joined(self, values: Sequence[Clip], last: float) -> Clip:
        """The last seconds of sounds that follow each other.

        Raises:
            DataError: they have several sample rates or numbers of channels.
        """
        waveforms, rates = zip(*values, strict=True)
        kinds = sorted({(rate, len(one)) for one, rate in values})
        if len(kinds) > 1:
            (rate, channels), (other, others) = kinds[:2]
            raise DataError(
                f"sounds that follow each other are of one rate and number of channels; got {rate} Hz with {channels} "
                f"and {other} Hz with {others}"
            )
        return torch.cat(waveforms, 1)[:, -max(round(last * rates[0]), 1) :], rates[0]


def _read(source: Path | io.BytesIO, name: str) -> Clip:
    try:
        with soundfile.SoundFile(source) as file:
            frames, rate, log = file.frames, file.samplerate, file.extra_info
            waveform = file.read(dtype="float32", always_2d=True)  # [time channels]
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        why = getattr(error, "error_string", error)  # without the address of the bytes in memory
        raise DataError(f"{name} cannot be read as sound (wav, flac, ogg and mp3 can): {why}") from error
    said = _SHORT.search(log)
    if len(waveform) < frames or (said and int(said[2]) < int(said[1]) < STREAMED):
        raise DataError(f"{name} is cut off: its end is missing; get the whole file")
    return _checked(torch.from_numpy(np.ascontiguousarray(waveform.T)), rate, name)


def _waveform(raw: Any) -> Tensor:
    """[channels time] or [time] float32, whichever way the axes lie, where that is certain."""
    try:
        numbers = array_of(raw)
    except ValueError as error:
        raise DataError(f"a waveform is an array of numbers; got {error}") from error
    kind, shape = numbers.dtype.kind, list(numbers.shape)
    if numbers.ndim == 0:
        raise DataError(f"a waveform is an array [channels time] or [time]; got {numbers}: give (waveform, rate)")
    if kind in "cb":
        raise DataError(f"a waveform holds real numbers; got {numbers.dtype}")
    if numbers.ndim == 2 and numbers.size and shape[0] > max(shape[1], FEW):
        if shape[0] < MANY or shape[1] > FEW:
            raise DataError(f"a waveform is [channels time]; got {shape[0]} channels of {shape[1]} samples: turn it")
        numbers = numbers.T  # [time channels], as soundfile gives it: no sound has so many channels
    if kind == "f":
        return torch.from_numpy(np.array(numbers, dtype=np.float32, order="C"))
    if numbers.dtype == np.uint8:  # as in 8-bit wav files, silence is 128
        return torch.from_numpy((np.array(numbers, dtype=np.float32, order="C") - 128) / 128)
    least = np.iinfo(numbers.dtype).min
    peak = int(np.abs(numbers.astype(np.float64)).max(initial=0))
    # Of 32 bits the loudest sample uses more than 16, unless the numbers are of 16 bits, in a greater type.
    if peak and (numbers.dtype not in INTEGERS or (numbers.dtype == np.int32 and peak <= 2**15)):
        raise DataError(
            f"a waveform of {numbers.dtype} up to {peak} does not say how loud it is; give int16 or int32 of the whole"
            " range, or floats from -1 to 1 (16-bit numbers divided by 32768)"
        )
    return torch.from_numpy(np.array(numbers, dtype=np.float32, order="C") / -np.float32(least or -1))


def _checked(waveform: Tensor, rate: Any, name: str) -> Clip:
    if waveform.ndim == 1:
        waveform = waveform.unsqueeze(0)
    if waveform.ndim != 2:
        raise DataError(f"{name} is [channels time] or [time]; got shape {list(waveform.shape)}")
    if not waveform.numel():
        raise DataError(f"{name} holds no sample (shape {list(waveform.shape)}); give None where the sound is missing")
    try:
        whole = int(rate)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if whole < 1 or whole != rate:
        raise DataError(f"a rate is a positive whole number of samples per second; got {rate!r}")
    if not torch.isfinite(waveform).all():
        raise DataError(f"{name} holds NaN or infinity; mend it or leave it out")
    peak = float(waveform.abs().max())
    if peak > LOUDEST:
        raise DataError(f"{name} goes up to {peak:g}; sound lies between -1 and 1: divide by the range of its numbers")
    return waveform, whole
