"""Frames as a chosen image encoder reads images, by its own transform.

Axes: B batch, T frames taken, N = B * T images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Generator, Tensor

import mmkit
from mmkit.contract import Batch, Transform
from mmkit.plugin import Component, EncoderSpec
from mmkit_video.looking import Clips, chosen, decoded, mask_of, to_fit
from mmkit_video.sampling import How, Sampling

CHUNK = 8
"""Videos whose frames are in memory together, in the size in which they were stored."""


class FramesTransform:
    """Takes frames of a video and passes them as images to the transform of an image encoder.

    Augmentation by that transform is random for each frame.

    Args:
        encoder: an image encoder, written as on the command line; in quotes where it has options.
        sampling: which frames are taken: "uniform", the middle of each of `frames` equal parts; "segments", in training
            a random frame of each part; "fps", one every 1/`fps` seconds.
        frames: number of frames; with sampling=fps the greatest number, counted from the start.
        fps: frames per second, with sampling=fps.
    """

    def __init__(
        self,
        *,
        encoder: Annotated[str, Component("encoder")] = "cnn",
        sampling: How = "uniform",
        frames: Annotated[int, Gt(0)] = 8,
        fps: Annotated[float, Gt(0)] = 4.0,
    ) -> None:
        self.choice = mmkit.installed().choose("encoder", encoder)
        if not isinstance(self.choice.spec, EncoderSpec) or self.choice.spec.modality != "image":
            raise ValueError(f"encoder={encoder} reads no images; see mmkit list-plugins --kind encoder")
        reads: Any = self.choice.factories[1]
        self.images: Transform = reads(**self.choice.part(reads))
        self.sampling = Sampling(sampling, frames, fps)
        self.augments = self.sampling.random or self.images.augments

    def fit(self, values: Clips) -> None:
        """Fit the images' transform on frames evenly over the training split.

        Raises:
            DataError: there is no video.
        """
        clips, numbers = to_fit(values, self.sampling)
        self.images.fit([frame for _, frames in decoded(clips, numbers, _same) for frame in frames])

    def __call__(self, values: Clips, generator: Generator | None = None) -> Batch:
        """`mask` [B T], and each leaf [N ...] of the images' batch as `frame_NAME` [B T ...]."""
        numbers = chosen(values, self.sampling, generator)
        mask = mask_of(numbers)
        longest = mask.shape[1]
        parts = []
        for start in range(0, len(values), CHUNK):
            clips, wanted = values[start : start + CHUNK], numbers[start : start + CHUNK]
            images: list[Tensor | None] = [None] * (len(clips) * longest)
            for row, frames in decoded(clips, wanted, _same):
                images[row * longest : row * longest + len(frames)] = frames
            parts.append(self.images(images, generator))
        leaves = {f"frame_{name}": _joined([part[name] for part in parts]) for name in parts[0]}
        return {"mask": mask, **{name: leaf.unflatten(0, (-1, longest)) for name, leaf in leaves.items()}}

    def state(self) -> dict[str, Any]:
        """That of the images' transform."""
        return {"images": self.images.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.images.restore(state["images"])


def _same(frames: list[Tensor], _: int) -> list[Tensor]:
    return frames


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """[N ...] of all parts, each padded to the longest where there are tokens [. T ...]."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.cat([p, p.new_zeros(len(p), longest - p.shape[1], *p.shape[2:])], 1) for p in parts])
