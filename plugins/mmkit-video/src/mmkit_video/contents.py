"""Where the frames of a file are: their times and keyframes, found with as little decoding as possible.

Axes: T frames, in the order in which they are shown; K keyframes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor

from mmkit.errors import DataError
from mmkit_video.source import Source, name_of, opened, video_stream

UNLIKE = {"vp8"}
"""Codecs of which some packets give no frame."""
MICROSECONDS = 1_000_000
"""The unit in which PyAV gives a container's times."""
USUAL_RATE = 25
"""Frames per second of a stream that does not say."""
SHORTAGE = 0.05
"""Share of the duration said at the start of a file that may lack at its end before it counts as cut off."""


@dataclass(frozen=True)
class Contents:
    """The frames of a file.

    Args:
        times: [T] float64, seconds from the first frame.
        pts: [T] int64, the same in the file's own units; None where the file does not tell frames apart by them.
        keys: [K] int64, those of the keyframes.
    """

    times: Tensor
    pts: Tensor | None
    keys: Tensor


def contents(source: Source) -> Contents:
    """The frames of a source: by its packets where each is a frame and says when it is shown, else by decoding all.

    Raises:
        DataError: it cannot be read, has no video stream or no frame, is damaged or cut off.
    """
    with opened(source) as container:
        stream = video_stream(container, source)
        found = _of_packets(container, stream, source)
    if found is None:
        with opened(source) as container:
            found = _of_frames(container, video_stream(container, source))
    if not len(found.times):
        raise DataError(f"{name_of(source)} has a video stream without a frame")
    return found


def _of_packets(container: InputContainer, stream: VideoStream, source: Source) -> Contents | None:
    """Times and keyframes by the packets; None where packets lack some of it."""
    pts: list[int | None] = []
    keys: list[int | None] = []
    end = 0.0
    for packet in container.demux():
        if not packet.size:
            continue  # the demuxer's way to say that a stream is over
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.is_corrupt:
            raise DataError(f"{name_of(source)} is damaged or cut off after {len(pts)} frames")
        if not packet.is_discard:
            pts.append(packet.pts)
            keys += [packet.pts] * packet.is_keyframe
    _expect_whole(container, stream, source, len(pts), end)
    if stream.codec_context.name in UNLIKE or stream.time_base is None:
        return None
    return _timed(pts, keys, stream.time_base)


def _expect_whole(container: InputContainer, stream: VideoStream, source: Source, frames: int, end: float) -> None:
    """Raise where the header of a file promises more than the file holds."""
    if container.format.name.startswith("mov") and frames < sum(not e.is_discard for e in stream.index_entries):
        raise DataError(f"{name_of(source)} is cut off: it holds {frames} of {len(stream.index_entries)} frames")
    if container.format.name.startswith("matroska") and container.duration:
        # The duration of most files counts from 0, not from their first frame, which may stand much later.
        promised = container.duration / MICROSECONDS
        start = max(0.0, (container.start_time or 0) / MICROSECONDS)
        lacking = promised - end
        if lacking > SHORTAGE * (promised - start if promised > start else promised):
            raise DataError(f"{name_of(source)} is cut off: the last {lacking:.2f} of {promised:.2f} s are not there")


def _of_frames(container: InputContainer, stream: VideoStream) -> Contents:
    """Times and keyframes by decoding all frames; by their number where they have no times."""
    frames = [(frame.pts, frame.key_frame) for frame in container.decode(stream)]
    if stream.time_base is not None:
        found = _timed([pts for pts, _ in frames], [pts for pts, key in frames if key], stream.time_base)
        if found is not None:
            return found
    rate = float(stream.average_rate or USUAL_RATE)
    return Contents(torch.arange(len(frames), dtype=torch.float64) / rate, None, torch.zeros(0, dtype=torch.int64))


def _timed(pts: Sequence[int | None], keys: Sequence[int | None], base: Fraction) -> Contents | None:
    """By time of showing; None where a frame has no time or two have the same."""
    known = [one for one in pts if one is not None]
    if len(known) < len(pts) or len(set(known)) < len(known):
        return None
    shown = torch.tensor(sorted(known), dtype=torch.int64)
    times = (shown - shown[:1]).double() * float(base)
    return Contents(times, shown, torch.tensor(sorted(one for one in keys if one is not None), dtype=torch.int64))
