"""Frames of a video by their numbers, with as little decoding as possible.

Axes: T frames, H height, W width.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from av import VideoFrame
from torch import Tensor

from mmkit.errors import DataError
from mmkit_video.source import Source, name_of, opened, video_stream

SEEKABLE = ("mov", "matroska", "avi")
"""Formats with an index of their keyframes; the others are read from their start."""


def frames_of(video: Mapping[str, Any], numbers: Sequence[int]) -> list[Tensor]:
    """The frames of those numbers, each uint8 [3 H W], as a viewer sees them: rotation is applied.

    Args:
        video: a value in memory, see `mmkit_video.modality`.
        numbers: 0 to T - 1, in any order, repeated at will.

    Raises:
        DataError: a frame cannot be decoded.
    """
    if "frames" in video:
        return [video["frames"][number] for number in numbers]
    source, wanted = video["source"], sorted(set(numbers))
    if video["pts"] is None:
        found = _counted(source, wanted)
    else:
        shown = video["pts"].tolist()
        pts = [shown[number] for number in wanted]
        at = _sought(source, pts, video["keys"].tolist())
        if len(at) < len(pts):  # the index of the file did not lead there
            at = _sought(source, pts, [])
        found = {number: at[one] for number, one in zip(wanted, pts, strict=True) if one in at}
    for number in wanted:
        if number not in found:
            raise DataError(f"frame {number} of {name_of(source)} no longer exists, or cannot be decoded")
    return [found[number] for number in numbers]


def _counted(source: Source, wanted: Sequence[int]) -> dict[int, Tensor]:
    """Frames by their place in the whole."""
    found: dict[int, Tensor] = {}
    with opened(source) as container:
        for number, frame in enumerate(container.decode(video_stream(container, source))):
            if number in wanted:
                found[number] = _pixels(frame)
            if number == wanted[-1]:
                break
    return found


def _sought(source: Source, pts: Sequence[int], keys: Sequence[int]) -> dict[int, Tensor]:
    """Frames by their times, sorted; those that a jump to a keyframe did not lead to are left out.

    Args:
        source: of the video.
        pts: wanted times, sorted.
        keys: those of the keyframes, sorted; nothing reads from the start.
    """
    found: dict[int, Tensor] = {}
    with opened(source) as container:
        jumps = container.format.name.startswith(SEEKABLE)
        stream = video_stream(container, source)
        frames = container.decode(stream)
        position = None  # of the frame decoded last
        for target in pts:
            key = keys[max(bisect_right(keys, target) - 1, 0)] if keys and jumps else None
            if key is not None and key > (keys[0] if position is None else position):
                container.seek(key, stream=stream)
                frames = container.decode(stream)
            for frame in frames:
                position = frame.pts
                if position is None or position >= target:
                    break
            if position == target:
                found[target] = _pixels(frame)
    return found


def _pixels(frame: VideoFrame) -> Tensor:
    """[3 H W] of a frame, upright."""
    pixels = torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1)).permute(2, 0, 1)
    return torch.rot90(pixels, round(frame.rotation / 90) % 4, (1, 2)).contiguous()
