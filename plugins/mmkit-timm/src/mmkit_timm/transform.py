"""Images as a model of timm was trained on them: size, crop and its mode, interpolation, means and deviations.

Axes: B batch, H height, W width.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import timm
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from mmkit.contract import Batch
from mmkit.errors import DataError, UsageError, one_of
from mmkit.transforms.image import ImageTransform


class TimmTransform:
    """Crops and resizes images as bytes, the way that the model's data configuration says.

    By its crop_mode the central crop is a square (center), has the shape of the image, which is then stretched
    (squash), or is all of the image, with a border of the mean colour (border).

    Args:
        model: a model name of timm, with a tag where there are several pretrained weights
            ("vit_small_patch16_224.augreg_in1k").
        size: height and width in pixels; none takes the model's own.
        keep: share of the shorter side that the central crop keeps (squash: of each side; border: of the longer one);
            none takes the model's own (crop_pct).
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        model: str = "vit_small_patch16_224.augreg_in21k_ft_in1k",
        size: Annotated[int, Gt(0)] | None = None,
        keep: Annotated[float, Gt(0), Le(1)] | None = None,
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        name = model.partition(".")[0]
        if not timm.is_model(name):
            raise ValueError(f"timm has no model {model}; {one_of(timm.list_models(), name)}")
        found = None
        with contextlib.suppress(RuntimeError):  # the model has no such tag
            found = timm.get_pretrained_cfg(model)
        if found is None:
            tags = one_of(timm.list_pretrained(f"{name}.*"), model)
            raise ValueError(f"timm knows no weights {model}; leave out the tag, or take another: {tags}")
        config = found.to_dict()
        fixed = min(config["input_size"][1:])
        self.model = model
        self.keep = config.get("crop_pct", 1.0) if keep is None else keep
        self.mode = config.get("crop_mode") or "center"
        self.images = ImageTransform(
            size=fixed if size is None else size,
            resize="stretch" if self.mode == "squash" else "crop",
            colour="colour",
            crop=crop,
            flip=flip,
        )
        self.images.mean, self.images.std = list(config["mean"]), list(config["std"])
        if config.get("interpolation") in {"bicubic", "lanczos"}:  # tensors have no Lanczos; bicubic is the closest
            self.images.interpolation = InterpolationMode.BICUBIC
        self.augments = self.images.augments
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""

    @property
    def size(self) -> int:
        """H = W of a batch."""
        return self.images.shape[0]

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Nothing is fitted: the preparation of images was fixed when the model was trained.

        Raises:
            DataError: there is no image.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no image in this input; leave the input out")

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`pixels` [B 3 H W] uint8, 0 where missing, and `mask` [B]."""
        if generator is None or self.images.crop == 1:
            values = [None if value is None else self._middle(value) for value in values]
        return self.images(values, generator)

    def state(self) -> dict[str, Any]:
        """Size, means and deviations."""
        return self.images.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        if len(state["mean"]) != 3:
            raise UsageError(f"the state is of {len(state['mean'])} channels; this transform has 3")
        self.images.restore(state)
        self.restored = True

    def _middle(self, image: Tensor) -> Tensor:
        """The middle of an image that is resized; with crop_mode border all of it, in its size already."""
        if self.mode == "border":
            return self._bordered(image)
        sides = image.shape[1:] if self.mode == "squash" else [min(image.shape[1:])] * 2
        return vision.center_crop(image, [max(1, round(side * self.keep)) for side in sides])

    def _bordered(self, image: Tensor) -> Tensor:
        """[3 H W], the longer side scaled to H / keep."""
        scale = math.floor(self.size / self.keep) / max(image.shape[1:])
        sides = [max(1, round(side * scale)) for side in image.shape[1:]]
        image = vision.resize(image.expand(3, -1, -1), sides, self.images.interpolation, antialias=True)
        h, w = (max(0, self.size - side) for side in sides)  # what is lacking
        fill = [round(255 * mean) for mean in self.images.mean]
        image = vision.pad(image, [w // 2, h // 2, w - w // 2, h - h // 2], fill)
        return vision.center_crop(image, [self.size, self.size])
