"""Images to batches of one size, as bytes: the encoder normalises them, where it is fastest.

Axes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from mmkit.contract import Batch
from mmkit.errors import DataError, UsageError

USUAL = 64
"""Height and width of images of different sizes, unless another size is given: what an encoder learns from scratch."""
AT_ONCE = 2**20
"""Pixels that are measured together."""


class ImageTransform:
    """Brings images to one size and number of channels; crops, shifts and flips them in training.

    The random crop is that of Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
    https://arxiv.org/abs/1409.4842: a share of the area, at an aspect ratio between 3/4 and 4/3.

    Args:
        size: height and width in pixels; none takes the size of the training images where all are the same, else 64, or
            the median of their shorter sides where that is less.
        resize: how an image of another shape is resized: "crop" cuts out its middle first, "stretch" changes the aspect
            ratio.
        colour: "grey", "colour", or "auto", which is colour where any training image has colour.
        crop: least share of the area that a random crop keeps, in training; 1 is off.
        shift: greatest random shift in each direction, in pixels, in training; the border is repeated; 0 is off.
        flip: probability of a flip from left to right, in training.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, Gt(0)] | None = None,
        resize: Literal["crop", "stretch"] = "crop",
        colour: Literal["auto", "grey", "colour"] = "auto",
        crop: Annotated[float, Gt(0), Le(1)] = 1.0,
        shift: Annotated[int, Ge(0)] = 0,
        flip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.size = None if size is None else (size, size)  # (H, W)
        self.resize = resize
        self.colour = colour
        self.crop = crop
        self.shift = shift
        self.flip = flip
        self.augments = crop < 1 or shift > 0 or flip > 0
        self.interpolation = InterpolationMode.BILINEAR  # a transform for pretrained models sets another
        self.mean = [0.5] * (3 if colour == "colour" else 1)  # of each channel, 0 to 1
        self.std = [0.25] * len(self.mean)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a batch.

        Raises:
            UsageError: it is neither an option nor fitted.
        """
        if self.size is None:
            raise UsageError(
                "the size of the images is not known before `fit`; set it where the encoder is named, as in cnn:size=64"
            )
        return self.size

    def fit(self, values: Sequence[Tensor | None]) -> None:
        """Learn the size and the number of channels where the options leave them open, means and deviations.

        Raises:
            DataError: there is no image.
        """
        sizes: list[tuple[int, int]] = []
        coloured = self.colour == "colour"
        # An image weighs the same whatever its size; sums of bytes are exact in float64. Images of an input are in grey
        # until one has colour, so sums are kept for both.
        grey, colour = torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
        for image in values:
            if image is None:
                continue
            sizes.append((image.shape[1], image.shape[2]))
            coloured = coloured or (self.colour == "auto" and len(image) == 3)
            if self.colour == "grey" or not coloured:
                of_image = _sums(image, 1)
                grey += of_image
                colour += of_image if self.colour == "auto" else 0
            else:
                colour += _sums(image, 3)
        if not sizes:
            raise DataError("the training split has no image in this input; leave the input out")
        if self.size is None:
            side = min(USUAL, round(statistics.median(map(min, sizes))))
            self.size = sizes[0] if len(set(sizes)) == 1 else (side, side)
        mean, square = (colour if coloured else grey) / len(sizes)
        self.mean = mean.tolist()
        # A channel that never changes stays at 0 instead of being blown up.
        self.std = [
            deviation if deviation > 1e-4 else 1.0 for deviation in (square - mean**2).clamp(min=0).sqrt().tolist()
        ]

    def __call__(self, values: Sequence[Tensor | None], generator: Generator | None = None) -> Batch:
        """`pixels` [B C H W] uint8, 0 where missing, and `mask` [B]."""
        mask = torch.tensor([value is not None for value in values], dtype=torch.bool)
        images = [value for value in values if value is not None]
        crops = iter(self._crops(images, generator))
        pixels = torch.zeros(len(values), self.channels, *self.shape, dtype=torch.uint8)
        for row, value in zip(pixels, values, strict=True):
            if value is not None:
                row.copy_(_channels(self._resized(value, next(crops)), self.channels))
        if images and generator is not None:
            pixels[mask] = self._moved(pixels[mask], generator)
        return {"pixels": pixels, "mask": mask}

    def told(self, values: Sequence[Tensor | None]) -> str:
        """To which size such images are brought, and why."""
        sizes = [(image.shape[2], image.shape[1]) for image in values if image is not None]
        height, width = self.shape
        if len(set(sizes)) == 1:
            return (
                "" if sizes[0] == (width, height) else f"{width}x{height} pixels; they have {sizes[0][0]}x{sizes[0][1]}"
            )
        middle = "x".join(f"{statistics.median(side):.0f}" for side in zip(*sizes, strict=True))
        return f"{width}x{height} pixels; they have several sizes, the median is {middle} (size)"

    def state(self) -> dict[str, Any]:
        """The size, and each channel's mean and deviation."""
        return {"size": None if self.size is None else list(self.size), "mean": self.mean, "std": self.std}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.size = None if state["size"] is None else tuple(state["size"])
        self.mean = list(state["mean"])
        self.std = list(state["std"])

    def _crops(self, images: Sequence[Tensor], generator: Generator | None) -> list[tuple[int, int, int, int] | None]:
        """Top, left, height and width of each random crop; None where nothing is cropped."""
        if generator is None or self.crop == 1:
            return [None] * len(images)
        crops: list[tuple[int, int, int, int] | None] = []
        for image, (area, ratio, y, x) in zip(
            images, torch.rand(len(images), 4, generator=generator).tolist(), strict=True
        ):
            height, width = image.shape[1:]
            kept = math.sqrt((self.crop + (1 - self.crop) * area) * height * width)
            root = (4 / 3) ** (ratio - 0.5)  # square root of the aspect ratio, drawn evenly on a logarithmic scale
            h, w = max(1, min(height, round(kept / root))), max(1, min(width, round(kept * root)))
            crops.append((int(y * (height - h + 1)), int(x * (width - w + 1)), h, w))
        return crops

    def _resized(self, image: Tensor, crop: tuple[int, int, int, int] | None) -> Tensor:
        """[C H W] of one image, or of a crop of it."""
        height, width = self.shape
        if crop is None and self.resize == "crop":
            # The middle that has the wanted shape is cut first, and only that is resized.
            scale = min(image.shape[1] / height, image.shape[2] / width)
            h, w = max(1, round(height * scale)), max(1, round(width * scale))
            crop = (round((image.shape[1] - h) / 2), round((image.shape[2] - w) / 2), h, w)
        if crop is not None:
            top, left, h, w = crop
            image = image[:, top : top + h, left : left + w]
        if image.shape[1:] == self.shape:
            return image
        mode = self.interpolation.value
        smooth = mode in {"bilinear", "bicubic"}  # the others have no antialiasing
        return F.interpolate(image.unsqueeze(0), self.shape, mode=mode, antialias=smooth).squeeze(0)

    def _moved(self, pixels: Tensor, generator: Generator) -> Tensor:
        """[B C H W], each image shifted and flipped by its own draw."""
        rows = torch.arange(len(pixels)).view(-1, 1, 1)
        if self.shift:
            height, width = self.shape
            by = torch.randint(-self.shift, self.shift + 1, (2, len(pixels), 1, 1), generator=generator)
            y = (torch.arange(height).view(1, -1, 1) + by[0]).clamp(0, height - 1)  # [B H 1]
            x = (torch.arange(width).view(1, 1, -1) + by[1]).clamp(0, width - 1)  # [B 1 W]
            pixels = pixels[rows, :, y, x].movedim(-1, 1)
        if self.flip:
            flipped = torch.rand(len(pixels), 1, 1, 1, generator=generator) < self.flip
            pixels = torch.where(flipped, pixels.flip(-1), pixels)
        return pixels


def _sums(image: Tensor, channels: int) -> Tensor:
    """[2 C] float64: the mean over the pixels of an image, and that of their squares, from 0 to 1."""
    found = torch.zeros(2, channels, dtype=torch.float64)
    # A part at a time: in float64, a picture of 100 megapixels takes gigabytes.
    for part in image.split(max(1, AT_ONCE // image.shape[2]), dim=1):
        pixels = _channels(part, channels).flatten(1).double() / 255
        found += torch.stack((pixels.sum(1), pixels.square().sum(1)))
    return found / (image.shape[1] * image.shape[2])


def _channels(image: Tensor, channels: int) -> Tensor:
    """[C H W] in grey or in colour."""
    if len(image) == channels:
        return image
    return vision.rgb_to_grayscale(image) if channels == 1 else image.expand(3, -1, -1)
