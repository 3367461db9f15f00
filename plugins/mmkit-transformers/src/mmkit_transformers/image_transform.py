"""Images as a model was trained on them, by the settings of its own image processor.

Axes: B batch, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision
from transformers import AutoConfig, AutoImageProcessor

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.image import ImageTransform
from mmkit_transformers.source import read

TOLERANCE = 4 / 255
"""Of the share of the range from black to white by which our images may differ from the processor's: cropping before
resizing rounds the place of the crop differently."""


class TransformersImageTransform:
    """Crops and resizes images as bytes, the way that the model's processor would; the encoder normalises.

    Args:
        model: name of a model on the hub, or a folder that `save_pretrained` wrote, with its preprocessor_config.json.
        revision: revision on the hub: a branch, a tag or a commit.
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        model: str = "google/vit-base-patch16-224-in21k",
        revision: str | None = None,
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self.images = ImageTransform(resize="stretch", colour="colour", crop=crop, flip=flip)
        self.augments = self.images.augments
        self.shortest: int | None = None
        """Pixels of the shorter side that H x W is cut out of; None where H x W is made of the whole image."""
        self.scale: list[float] = []
        self.offset: list[float] = []
        """Of each channel: what the model sees is byte * scale + offset."""

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Read the configuration and the processor; nothing is fitted on the images.

        Raises:
            DataError: they are not available on this machine, or the processor does more than crop, resize and
                normalise.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no image in this input; leave the input out")
        self.config = read(AutoConfig.from_pretrained, self.model, self.revision).to_dict()
        processor = read(AutoImageProcessor.from_pretrained, self.model, self.revision)
        black, white = (self._by(processor, torch.full((3, 64, 64), level)) for level in (0, 255))  # [3 H W]
        self.images.size = (black.shape[1], black.shape[2])
        self.images.interpolation = _interpolation(processor)
        self.shortest = _shortest(processor)
        self.scale = ((white - black) / 255).mean((1, 2)).tolist()
        self.offset = black.mean((1, 2)).tolist()
        self._check(processor)

    def _check(self, processor: Any) -> None:
        image = torch.stack(torch.meshgrid(torch.linspace(0, 255, 300), torch.linspace(0, 255, 400), indexing="ij"))
        image = torch.cat((image, image.mean(0, keepdim=True))).to(torch.uint8)  # [3 300 400], with slopes
        expected = self._by(processor, image)
        scale, offset = (torch.tensor(values).view(3, 1, 1) for values in (self.scale, self.offset))
        found = self([image])["pixels"][0] * scale + offset
        if found.shape != expected.shape or ((found - expected).abs() > TOLERANCE * 255 * scale.abs()).any():
            raise DataError(
                f"{type(processor).__name__} of {self.model} does more than crop, resize and normalise to one size; "
                "take a model with a plainer processor"
            )

    def _by(self, processor: Any, image: Tensor) -> Tensor:
        """[3 H W], what the processor itself makes of a uint8 image [3 H W]."""
        try:
            found = processor(image.to(torch.uint8), return_tensors="pt")["pixel_values"]
        except Exception as error:  # whatever its settings make of it
            raise DataError(
                f"the image processor of {self.model} cannot take an image: {type(error).__name__}: {error}"
            ) from error
        if found.ndim != 4 or found.shape[:2] != (1, 3):
            raise DataError(
                f"{type(processor).__name__} of {self.model} gives {list(found.shape)} for an image; "
                "expected [1, 3, height, width]"
            )
        return found[0]

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`pixels` [B 3 H W] uint8, 0 where missing, and `mask` [B]."""
        if generator is None or self.images.crop == 1:
            values = [None if value is None else self._kept(value) for value in values]
        return self.images(values, generator)

    def state(self) -> dict[str, Any]:
        """How images are prepared, and the model's configuration: no file and no hub is needed to restore it."""
        return {
            "size": list(self.images.shape),
            "shortest": self.shortest,
            "interpolation": self.images.interpolation.value,
            "scale": self.scale,
            "offset": self.offset,
            "config": self.config,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.images.size = tuple(state["size"])
        self.images.interpolation = InterpolationMode(state["interpolation"])
        self.shortest = state["shortest"]
        self.scale, self.offset = list(state["scale"]), list(state["offset"])
        self.config = dict(state["config"])
        self.restored = True

    def _kept(self, image: Tensor) -> Tensor:
        """The middle of an image that becomes H x W."""
        if self.shortest is None:
            return image
        share = min(image.shape[1:]) / self.shortest
        return vision.center_crop(
            image,
            [
                max(1, min(given, round(side * share)))
                for given, side in zip(image.shape[1:], self.images.shape, strict=True)
            ],
        )


def _shortest(processor: Any) -> int | None:
    """The shorter side of the resized image out of which the middle is cut, in pixels."""
    shortest = (getattr(processor, "size", None) or {}).get("shortest_edge")
    if shortest is None:
        return None
    pct = getattr(processor, "crop_pct", None)
    if pct is None:
        return int(shortest)
    return int(shortest / pct) if shortest < WARPED else None  # as ConvNextImageProcessor does


WARPED = 384
"""Pixels from which on ConvNeXt's processor takes the whole image."""


def _interpolation(processor: Any) -> InterpolationMode:
    plain = {0: InterpolationMode.NEAREST, 2: InterpolationMode.BILINEAR}
    return plain.get(int(getattr(processor, "resample", 2) or 0), InterpolationMode.BICUBIC)
