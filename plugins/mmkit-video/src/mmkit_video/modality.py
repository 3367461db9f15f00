"""Video without its sound: files, and arrays of frames.

The frames of a file stay encoded until a transform asks for some.

Axes: T frames, H height, W width, C = 3 channels, K keyframes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import file_digest
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import array_of, is_missing
from mmkit.modalities.image import bytes_of
from mmkit_video.contents import contents
from mmkit_video.reading import frames_of
from mmkit_video.source import Source, source_of

Clip = Mapping[str, Any]
"""A value in memory, which always has `times` [T] float64, seconds from the first frame. Of an array: `frames` uint8
[T 3 H W]. Of a file: `source`, its path or bytes; `content`, a hash of them; `pts` [T] and `keys` [K] int64, the times
of all frames and of the keyframes in the file's units, `pts` being None where frames can only be counted."""

JOINED = 2**29
"""Bytes of frames that are joined: a small file may hold very many."""


class Video:
    """A raw value is a path or the bytes of a file of any format that PyAV reads, or (frames, frames per second).

    Frames are [T H W C] or [T C H W], with 1 or 3 channels.
    """

    def decode(self, raw: Any) -> Clip | None:
        """A mapping, see `Clip`. Of a file, every packet is looked at, and the first and the last frame are decoded.

        None for NaN and other marks of a gap, as tables have them.

        Arrays hold 0 to 255 (integers), 0 to 65535 (uint16) or 0 to 1 (floats and bools); grey ones become three equal
        channels. Pixels that are not square stay as they are stored.

        Raises:
            DataError: the file is not there, cannot be read, has no video stream, no frame, or too large ones, is
                damaged or cut off; the array has another shape or range, or is empty; the rate is not above 0.
        """
        if is_missing(raw):
            return None
        if isinstance(raw, Mapping) and "times" in raw and ("frames" in raw or "source" in raw):
            return raw
        source = source_of(raw)
        if source is not None:
            return _of_file(source)
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            return _of_array(*raw)
        raise DataError(
            f"a video is a path, the bytes of a file, or (frames, frames per second); got {type(raw).__name__}"
        )

    def example(self, generator: Generator) -> Clip:
        """Random frames [T 3 16 16], 12 to 24 of them, 8 a second."""
        count = int(torch.randint(12, 25, (), generator=generator))
        return _of_array(torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator), 8)

    unit = "seconds"

    def length(self, value: Clip) -> float:
        """Seconds of a clip, its last frame being shown as long as the others on average; of one frame 1/25."""
        times = value["times"]
        return float(times[-1]) * len(times) / (len(times) - 1) if len(times) > 1 else 1 / 25

    def joined(self, values: Sequence[Clip], last: float) -> Clip:
        """The frames of the last seconds of clips that follow each other, in memory.

        Raises:
            DataError: frames cannot be decoded, are of several sizes, or would take more than half a GB.
        """
        ends = [0.0, *accumulate(self.length(one) for one in values)]
        times = torch.cat([one["times"] + start for one, start in zip(values, ends, strict=False)])  # [T]
        first = min(int((times < ends[-1] - last - 1e-6).sum()), len(times) - 1)
        (newest,) = frames_of(values[-1], [len(values[-1]["times"]) - 1])
        if (size := newest.numel() * (len(times) - first)) > JOINED:
            raise DataError(
                f"{len(times) - first} frames of {newest.shape[2]} x {newest.shape[1]} would take {size / 2**20:,.0f} "
                f"MB of memory; {JOINED / 2**20:,.0f} is the most: send smaller or fewer ones"
            )
        frames: list[Tensor] = []
        passed = 0
        for one in values:
            numbers = range(max(first - passed, 0), len(one["times"]))
            frames += frames_of(one, numbers) if numbers else []
            passed += len(one["times"])
        sizes = sorted({tuple(frame.shape[1:]) for frame in frames})
        if len(sizes) > 1:
            raise DataError(f"clips that follow each other have frames of one size; got {sizes[0]} and {sizes[1]}")
        return {"times": times[first:] - times[first], "frames": torch.stack(frames)}


def _of_file(source: Source) -> Clip:
    found = contents(source)
    clip = {
        "times": found.times,
        "source": source,
        "content": _hash(source),
        "pts": found.pts,
        "keys": found.keys,
    }
    frames_of(clip, [0, len(found.times) - 1])  # says now what cannot be decoded
    return clip


def _hash(source: Source) -> str:
    """Identifies the content of a file: cached features of a path are not taken for those of a new
    file there.
    """  # noqa: D205 - one sentence
    if isinstance(source, bytes):
        return ""  # they speak for themselves
    with Path(source).open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()


def _of_array(frames: Any, rate: Any) -> Clip:
    try:
        numbers = array_of(frames)
    except ValueError as error:
        raise DataError(f"a video is (array of frames, frames per second); got {error}") from error
    try:
        per_second = float(rate)
    except (TypeError, ValueError):
        per_second = 0.0
    if not 0 < per_second < float("inf"):
        raise DataError(f"frames per second are a number above 0; got {rate!r}")
    shape = list(numbers.shape)
    if numbers.ndim != 4 or not numbers.size:
        raise DataError(f"frames are [T H W C] or [T C H W], and not empty; got shape {shape}")
    # [T 3 5 3] fits both: a tensor is read with its channels first, an array with its channels last.
    first, last = shape[1] in {1, 3}, shape[3] in {1, 3}
    if not first and not last:
        raise DataError(f"frames have 1 or 3 channels, at their second or last axis; got shape {shape}")
    pixels = torch.from_numpy(bytes_of(numbers, "an array of frames"))
    if last and not (first and isinstance(frames, Tensor)):
        pixels = pixels.permute(0, 3, 1, 2)
    pixels = pixels.expand(-1, 3, -1, -1).clone(memory_format=torch.contiguous_format)
    return {"times": torch.arange(len(pixels), dtype=torch.float64) / per_second, "frames": pixels}
