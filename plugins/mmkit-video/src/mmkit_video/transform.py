"""Videos to batches of one size, as bytes: the encoder normalises them.

Axes: B batch, T frames taken, C = 3 channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as vision

from mmkit.contract import Batch
from mmkit_video.looking import Clips, chosen, decoded, mask_of, to_fit
from mmkit_video.sampling import How, Sampling


class VideoTransform:
    """Takes frames of a video and resizes them; crops and flips whole videos in training.

    The random crop is that of Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
    https://arxiv.org/abs/1409.4842: a share of the area, at an aspect ratio between 3/4 and 4/3.

    Args:
        sampling: which frames are taken: "uniform", the middle of each of `frames` equal parts; "segments", in training
            a random frame of each part; "fps", one every 1/`fps` seconds.
        frames: number of frames; with sampling=fps the greatest number, counted from the start.
        fps: frames per second, with sampling=fps.
        size: height and width in pixels.
        resize: how a frame of another shape is resized: "crop" cuts out its middle first, "stretch" changes the aspect
            ratio.
        keep: share of the shorter side that the central crop keeps, with resize=crop.
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        sampling: How = "uniform",
        frames: Annotated[int, Gt(0)] = 8,
        fps: Annotated[float, Gt(0)] = 4.0,
        size: Annotated[int, Gt(0)] = 64,
        resize: Literal["crop", "stretch"] = "crop",
        keep: Annotated[float, Gt(0), Le(1)] = 1.0,
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.sampling = Sampling(sampling, frames, fps)
        self.size = size
        self.resize = resize
        self.keep = keep
        self.crop = crop
        self.flip = flip
        self.augments = self.sampling.random or crop < 1 or flip > 0
        self.mean = [0.5] * 3  # of each channel, 0 to 1
        self.std = [0.25] * 3

    def fit(self, values: Clips) -> None:
        """Learn mean and deviation of each channel, of frames evenly over the training split.

        Raises:
            DataError: there is no video.
        """
        clips, numbers = to_fit(values, self.sampling)
        sums = torch.zeros(2, 3, dtype=torch.float64)
        for _, frames in decoded(clips, numbers, lambda frames, _: self._brought(frames)):
            pixels = frames.transpose(0, 1).flatten(1).double() / 255  # [C T*H*W]
            sums += torch.stack((pixels.mean(1), pixels.square().mean(1)))
        mean, square = sums / len(clips)
        self.mean = mean.tolist()
        # A channel that never changes stays at 0 instead of being blown up.
        self.std = [
            deviation if deviation > 1e-4 else 1.0 for deviation in (square - mean**2).clamp(min=0).sqrt().tolist()
        ]

    def __call__(self, values: Clips, generator: Generator | None = None) -> Batch:
        """`pixels` [B T 3 H W] uint8, 0 where padded or missing, and `mask` [B T]."""
        numbers = chosen(values, self.sampling, generator)
        mask = mask_of(numbers)
        pixels = torch.zeros(*mask.shape, 3, self.size, self.size, dtype=torch.uint8)
        draws: list[list[float]] | None = None
        if generator is not None and (self.crop < 1 or self.flip > 0):
            draws = torch.rand(len(values), 5, generator=generator).tolist()
        change = partial(self._moved, draws) if draws else lambda frames, _: self._brought(frames)
        for row, frames in decoded(values, numbers, change):
            pixels[row, : len(frames)] = frames
        return {"pixels": pixels, "mask": mask}

    def state(self) -> dict[str, Any]:
        """Mean and deviation of each channel."""
        return {"mean": self.mean, "std": self.std}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean, self.std = list(state["mean"]), list(state["std"])

    def _brought(self, frames: list[Tensor]) -> Tensor:
        """[T 3 H W] of the frames of one video; each may have a size of its own."""
        return torch.stack([resized(frame, self.size, self.resize, self.keep) for frame in frames])

    def _moved(self, draws: list[list[float]], frames: list[Tensor], row: int) -> Tensor:
        """[T 3 H W], all frames cropped and flipped by the one draw of their video."""
        area, ratio, y, x, flip = draws[row]
        if self.crop < 1:
            frames = [_cropped(frame, self.crop + (1 - self.crop) * area, ratio, y, x) for frame in frames]
            found = torch.stack([vision.resize(frame, [self.size] * 2, antialias=True) for frame in frames])
        else:
            found = self._brought(frames)
        return found.flip(-1) if flip < self.flip else found


def resized(frame: Tensor, size: int, how: str, keep: float = 1.0) -> Tensor:
    """[C size size] of a frame [C H W], as bytes; with `how` "crop", of a square in its middle."""
    if how == "crop":
        frame = vision.center_crop(frame, [max(1, round(keep * min(frame.shape[1:])))] * 2)
    if frame.shape[1:] == (size, size):
        return frame
    return vision.resize(frame, [size, size], antialias=True)


def _cropped(frame: Tensor, share: float, ratio: float, y: float, x: float) -> Tensor:
    """A part of a frame: that share of its area, at an aspect ratio and a place by draws from 0 to 1."""
    height, width = frame.shape[1:]
    kept = math.sqrt(share * height * width)
    root = (4 / 3) ** (ratio - 0.5)  # square root of the aspect ratio, drawn evenly on a logarithmic scale
    h, w = max(1, min(height, round(kept / root))), max(1, min(width, round(kept * root)))
    return vision.crop(frame, int(y * (height - h + 1)), int(x * (width - w + 1)), h, w)
