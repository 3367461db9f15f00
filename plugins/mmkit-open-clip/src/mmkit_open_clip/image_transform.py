"""Images as a model of open_clip was trained on them: size, resizing, means and standard deviations.

Axes: B batch, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.image import ImageTransform
from mmkit_open_clip.source import described

MODEL = "ViT-B-32"
PRETRAINED = "laion2b_s34b_b79k"


class OpenClipImageTransform:
    """Crops and resizes images as bytes, the way that the model's own preprocessing says.

    Args:
        model: a model name of open_clip ("ViT-B-32"), "hf-hub:OWNER/NAME", or "local-dir:FOLDER".
        pretrained: a tag of open_clip; a file of weights (safetensors, or a torch file of tensors); or "none" for
            random weights. With hf-hub: and local-dir:, a tag is ignored: they bring their own weights.
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        model: str = MODEL,
        pretrained: str = PRETRAINED,
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.images = ImageTransform(size=1, colour="colour", crop=crop, flip=flip)
        self.augments = self.images.augments
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.restored = False
        """True where a saved model is being built: its weights come from the saved file."""
        self._way: dict[str, Any] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of a batch."""
        return self.images.shape

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Read the configuration; nothing is fitted on the images.

        Raises:
            DataError: there is no image, or the configuration is not available on this machine.
            UsageError: open_clip knows no such model or weights.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no image in this input; leave the input out")
        self._take(*described(self.model, self.pretrained))

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`pixels` [B 3 H W] uint8, 0 where missing, and `mask` [B]."""
        if generator is None or self.images.crop == 1:
            values = [None if value is None else self._prepared(value) for value in values]
        return self.images(values, generator)

    def state(self) -> dict[str, Any]:
        """The configuration of the model, and how its images are prepared."""
        return {"config": self.config, "preparation": self._way}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._take(dict(state["config"]), dict(state["preparation"]))
        self.restored = True

    def _take(self, config: dict[str, Any], way: dict[str, Any]) -> None:
        size = way["size"]
        self.config, self._way = config, way | {"mean": list(way["mean"]), "std": list(way["std"])}
        self.images.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.images.mean, self.images.std = self._way["mean"], self._way["std"]

    def _prepared(self, image: Tensor) -> Tensor:
        height, width = self.size
        how = self._way["resize_mode"]
        smooth = InterpolationMode.BILINEAR if self._way["interpolation"] == "bilinear" else InterpolationMode.BICUBIC
        if how == "longest":  # all of the image, on black
            scale = min(height / image.shape[1], width / image.shape[2])
            size = [max(1, round(side * scale)) for side in image.shape[1:]]
            return vision.center_crop(vision.resize(image, size, smooth, antialias=True), [height, width])
        if how == "shortest":  # the middle is cut out first, and only that is resized
            scale = min(image.shape[1] / height, image.shape[2] / width)
            image = vision.center_crop(image, [max(1, round(height * scale)), max(1, round(width * scale))])
        return vision.resize(image, [height, width], smooth, antialias=True)
