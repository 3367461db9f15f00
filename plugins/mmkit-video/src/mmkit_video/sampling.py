"""Which frames of a video are taken.

Axes: T frames of a video, N frames taken of it.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Generator, Tensor

How = Literal["uniform", "segments", "fps"]


class Sampling:
    """Chooses frames of a video by their times.

    "uniform" takes the middles of N equal parts; "segments" one frame at random of each part in training, and the
    middles otherwise: Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition",
    ECCV 2016, https://arxiv.org/abs/1608.00859; "fps" what is shown at 0, 1/fps, 2/fps, ... seconds. A video of fewer
    than N frames gives some of them twice.

    Args:
        how: one of these three.
        frames: N; with "fps" the most, from the start.
        fps: frames per second.
        fill: with "fps", always give N frames; the last one is repeated where the video is too short.

    Raises:
        ValueError: a value that is not possible.
    """

    def __init__(self, how: How, frames: int, fps: float, *, fill: bool = False) -> None:
        if how not in get_args(How) or frames < 1 or not fps > 0:
            raise ValueError(
                f"sampling is {how}, frames {frames}, fps {fps}; "
                f"expected {', '.join(get_args(How))}, and numbers above 0"
            )
        self.how = how
        self.frames = frames
        self.fps = fps
        self.fill = fill

    @property
    def random(self) -> bool:
        """Whether a generator changes anything."""
        return self.how == "segments"

    def __call__(self, times: Tensor, generator: Generator | None = None) -> list[int]:
        """Numbers of frames in ascending order, 1 to `frames` of them.

        Args:
            times: [T] seconds from the first frame, rising.
            generator: of training; nothing else is drawn from.
        """
        count = len(times)
        if self.how == "fps":
            most = min(self.frames, int(float(times[-1]) * self.fps + 1e-6) + 1)
            asked = torch.arange(most, dtype=torch.float64) / self.fps
            numbers = (torch.searchsorted(times, asked + 1e-6, right=True) - 1).tolist()
            return numbers + numbers[-1:] * (self.frames - most) * self.fill
        parts = torch.arange(self.frames)
        if generator is None or not self.random:
            return ((2 * parts + 1) * count // (2 * self.frames)).tolist()
        first = parts * count // self.frames
        size = ((parts + 1) * count // self.frames - first).clamp(min=1)
        return (first + (torch.rand(self.frames, generator=generator) * size).long()).tolist()
