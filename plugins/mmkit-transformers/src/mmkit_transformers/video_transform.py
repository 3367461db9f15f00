"""Videos as a model was trained on them: its number of frames, and the settings of its own video processor.

Axes: B batch, T frames, H = W height and width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from mmkit_video.sampling import Sampling
from mmkit_video.transform import VideoTransform
from torch import Generator, Tensor
from transformers import AutoConfig, AutoVideoProcessor

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit_transformers.source import read

LEVELS, PIXELS = 2, 0.6
"""By which frames may differ from the processor's: so many levels of 256, and as little of a pixel aside, since
cropping before resizing rounds the place of the crop differently."""


class TransformersVideoTransform:
    """Takes as many frames as the model reads, crops and resizes them as bytes; the encoder normalises.

    Args:
        model: name of a model on the hub, or a folder that `save_pretrained` wrote, with the configuration of its
            processor.
        revision: revision on the hub: a branch, a tag or a commit.
        sampling: which frames are taken: "uniform", the middle of each of as many equal parts as the model takes
            frames; "segments", in training a random frame of each part; "fps", one every 1/`fps` seconds, the last one
            repeated where the video is too short.
        fps: frames per second, with sampling=fps.
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        model: str = "MCG-NJU/videomae-base",
        revision: str | None = None,
        sampling: Literal["uniform", "segments", "fps"] = "uniform",
        fps: Annotated[float, Gt(0)] = 6.25,
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self.fps = fps
        self.videos = VideoTransform(sampling=sampling, fps=fps, crop=crop, flip=flip)
        self.augments = self.videos.augments
        self.scale: list[float] = []
        self.offset: list[float] = []
        """Of each channel: what the model sees is byte * scale + offset."""

    def fit(self, values: Sequence[Mapping[str, Any] | None]) -> None:
        """Read the configuration and the processor; nothing is fitted on the videos.

        Raises:
            DataError: they are not available on this machine, the model is not one of videos, or the processor does
                more than crop, resize and normalise.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no video in this input; leave the input out")
        self.config = read(AutoConfig.from_pretrained, self.model, self.revision).to_dict()
        if not isinstance(self.config.get("num_frames"), int):
            raise DataError(
                f"{self.model} is a {self.config.get('model_type')}, whose configuration has no num_frames; "
                "take a video model (videomae, vivit, timesformer)"
            )
        processor = read(AutoVideoProcessor.from_pretrained, self.model, self.revision)
        black, white = (self._by(processor, torch.full((1, 3, 64, 64), level))[0] for level in (0, 255))  # [3 H W]
        self.scale = ((white - black) / 255).mean((1, 2)).tolist()
        self.offset = black.mean((1, 2)).tolist()
        shortest = (getattr(processor, "size", None) or {}).get("shortest_edge")
        size = black.shape[1]
        self._prepare(size, min(1.0, size / shortest) if shortest else None)
        self._check(processor)

    def _prepare(self, size: int, keep: float | None) -> None:
        videos = self.videos
        videos.sampling = Sampling(videos.sampling.how, int(self.config["num_frames"]), self.fps, fill=True)
        videos.size = size
        videos.resize, videos.keep = ("stretch", 1.0) if keep is None else ("crop", keep)

    def _check(self, processor: Any) -> None:
        ramps = torch.stack(torch.meshgrid(torch.linspace(0, 255, 300), torch.linspace(0, 255, 400), indexing="ij"))
        frame = torch.cat((ramps, ramps.mean(0, keepdim=True))).to(torch.uint8)[None]  # [1 3 300 400], with slopes
        expected = self._by(processor, frame)
        value = {"frames": frame, "times": torch.zeros(1, dtype=torch.float64)}
        found = self([value])["pixels"][0, :1]
        scale, offset = (torch.tensor(values).view(3, 1, 1) for values in (self.scale, self.offset))
        allowed = (LEVELS + PIXELS * 255 / self.videos.size) * scale.abs()  # a slope goes from 0 to 255 over a side
        if found.shape != expected.shape or bool(((found * scale + offset - expected).abs() > allowed).any()):
            raise DataError(
                f"{type(processor).__name__} of {self.model} does more than crop, resize and normalise to a square; "
                "take a model with a plainer processor"
            )

    def _by(self, processor: Any, frames: Tensor) -> Tensor:
        """[T 3 H W], what the processor itself makes of frames [T 3 H W]."""
        try:
            found = processor([frames.to(torch.uint8)], return_tensors="pt", do_sample_frames=False)["pixel_values"]
        except Exception as error:  # whatever its settings make of it
            raise DataError(
                f"the video processor of {self.model} cannot take a video: {type(error).__name__}: {error}"
            ) from error
        return found[0]

    def __call__(self, values: Sequence[Mapping[str, Any] | None], generator: Generator | None = None) -> Batch:
        """`pixels` [B T 3 H W] uint8, 0 where missing, and `mask` [B T], alike for all frames of a video."""
        batch = dict(self.videos(values, generator))
        lacking = self.videos.sampling.frames - batch["mask"].shape[1]
        if lacking:  # nothing but missing ones
            batch = {name: leaf.expand(-1, lacking + 1, *leaf.shape[2:]).clone() for name, leaf in batch.items()}
        return batch

    def state(self) -> dict[str, Any]:
        """How frames are prepared, and the model's configuration: no file and no hub is needed to restore it."""
        keep = None if self.videos.resize == "stretch" else self.videos.keep
        prepared = {"size": self.videos.size, "keep": keep, "scale": self.scale, "offset": self.offset}
        return {**prepared, "config": self.config}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.config = dict(state["config"])
        self._prepare(state["size"], state["keep"])
        self.scale, self.offset = list(state["scale"]), list(state["offset"])
        self.restored = True
