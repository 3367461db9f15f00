"""Images, in grey or in colour: files that Pillow reads, and arrays.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing
from mmkit.modalities.plain_images import bare_jpeg, plain

MOST_PIXELS = 178_956_970
"""Pillow's own limit: a file of more is taken for a decompression bomb."""

# What Pillow's parsers raise on files that are cut off or are no images, as far as is known.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class Image:
    """A raw value is a path, the bytes of a file, a Pillow image, or an array or tensor [H W], [H W C] or [C H W]."""

    def decode(self, raw: Any) -> Tensor | None:
        """A uint8 tensor [C H W] of its own: C is 1 for grey, 3 for colour; transparent pixels are put on white.

        None for NaN and other marks of a gap, as tables have them.

        Of a file, the channels of a pixel are adjacent in memory, which is fastest to resize.

        Arrays hold 0 to 255 (integers), 0 to 65535 (uint16) or 0 to 1 (floats and bools); they have 1 to 4
        channels, the last of 2 or 4 being alpha. A file's EXIF orientation is applied; of an animation the first image
        is taken.

        Raises:
            DataError: the file is not there, cannot be read, or has more than 178,956,970 pixels; the array has
                another shape or range, or is empty.
        """
        if is_missing(raw):
            return None
        if isinstance(raw, Pillow.Image):
            return _from_pillow(raw, "image")
        if isinstance(raw, (str, Path)):
            path = Path(raw)
            if path == Path():
                raise DataError("an empty path was given; give None where the image is missing")
            if not path.is_file():
                raise DataError(f"there is no image file at {path}")
            return _read(path, str(path))
        if isinstance(raw, (bytes, bytearray, memoryview)):
            return _read(io.BytesIO(raw), f"the {len(raw)} bytes given as an image")
        if isinstance(raw, (Tensor, np.ndarray)):
            return _from_array(raw)
        raise DataError(f"an image is a path, bytes, a Pillow image, an array or a tensor; got {type(raw).__name__}")

    def example(self, generator: Generator) -> Tensor:
        """A random image [3 16 16]."""
        return torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=generator)


def _read(source: Path | io.BytesIO, name: str) -> Tensor:
    try:
        pixels = bare_jpeg(_content(source), MOST_PIXELS) if _content(source, 3) == b"\xff\xd8\xff" else None
        if pixels is not None:
            return pixels
        with Pillow.open(source) as image:  # reads no more than the header
            if image.format in {"JPEG", "PNG"} and 0 < image.width * image.height <= MOST_PIXELS:
                pixels = plain(image, _content(source))
            return _from_pillow(image, name) if pixels is None else pixels
    except (Pillow.DecompressionBombError, MemoryError) as error:
        raise DataError(f"{name} has more than {MOST_PIXELS:,} pixels; scale it down") from error
    except UnidentifiedImageError as error:  # its words hold the address of the bytes in memory
        why = "of no kind that Pillow knows" if _content(source, 1) else "empty, of zero bytes"
        raise DataError(f"{name} cannot be read as an image: it is {why}") from error
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as an image: {error}") from error


def _content(source: Path | io.BytesIO, size: int | None = None) -> bytes:
    """All of a file, or its first bytes."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(size)
    return source.getvalue() if size is None else source.getvalue()[:size]


def _from_pillow(image: Pillow.Image, name: str) -> Tensor:
    if image.width * image.height > MOST_PIXELS:
        raise DataError(f"{name} has more than {MOST_PIXELS:,} pixels ({image.width} x {image.height}); scale it down")
    if not image.width * image.height:
        raise DataError(f"{name} has no pixel ({image.width} x {image.height})")
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # 16 bits and more: Pillow's own conversion would clip
            return _from_array(_without_range(np.array(image)))
        if image.has_transparency_data:
            grey = image.mode in {"LA", "La"}
            image = image.convert("RGBA")
            white = Pillow.new("RGBA", image.size, "white")
            white.alpha_composite(image)
            image = white.convert("L" if grey else "RGB")
        elif image.mode not in {"L", "RGB"}:
            image = image.convert("L" if image.mode == "1" else "RGB")
        pixels = torch.from_numpy(np.array(image))
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as an image: {error}") from error
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _without_range(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pillow's modes I and F have no range: 16 bits where the values fit, else the maximum of the image."""
    if pixels.dtype == np.uint16:
        return pixels
    if np.isfinite(pixels).all() and pixels.min() >= 0:
        if pixels.dtype.kind in "iu" and pixels.max() <= 65535:
            return pixels.astype(np.uint16 if pixels.max() > 255 else np.uint8)
        if pixels.max() > 1:
            return pixels / pixels.max()
    return pixels


def _from_array(raw: Tensor | np.ndarray[Any, Any]) -> Tensor:
    try:
        pixels = torch.as_tensor(raw).detach().cpu()
    except (TypeError, ValueError) as error:
        raise DataError(f"an image array holds numbers; got {raw.dtype}: {error}") from error
    shape = list(pixels.shape)
    if pixels.ndim not in {2, 3} or not pixels.numel():
        raise DataError(f"an image array is [H W], [H W C] or [C H W], and not empty; got shape {shape}")
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(0)
    else:
        # [4 5 4] fits both: a tensor is read with its channels first, an array with its channels last.
        first, last = shape[0] in {1, 2, 3, 4}, shape[2] in {1, 2, 3, 4}
        if not first and not last:
            raise DataError(f"an image array has 1 to 4 channels, at its first or last axis; got shape {shape}")
        if last and not (first and isinstance(raw, Tensor)):
            pixels = pixels.permute(2, 0, 1)
    pixels = _bytes(pixels)
    if len(pixels) in {2, 4}:
        alpha = pixels[-1:].float() / 255
        pixels = (pixels[:-1] * alpha + 255 * (1 - alpha)).round().to(torch.uint8)
    return pixels.clone(memory_format=torch.contiguous_format)


def _bytes(pixels: Tensor) -> Tensor:
    """uint8 of any range that `Image.decode` names."""
    if pixels.dtype == torch.uint8:
        return pixels
    if pixels.dtype == torch.uint16:
        return (pixels.float() / 257).round().to(torch.uint8)
    if pixels.is_complex():
        raise DataError("an image holds real numbers; got complex ones")
    most = 1 if pixels.is_floating_point() or pixels.dtype == torch.bool else 255
    if not bool(((pixels >= 0) & (pixels <= most)).all()):
        raise DataError(
            f"an image of {str(pixels.dtype).removeprefix('torch.')} holds 0 to {most};"
            f" got {pixels.min().item()} to {pixels.max().item()}"
        )
    return (pixels.float() * (255 // most)).round().to(torch.uint8)
