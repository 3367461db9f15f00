"""Images, in grey or in colour: files that Pillow reads, and arrays.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit.modalities.arrays import Array, array_of, is_missing
from mmkit.modalities.plain_images import bare_jpeg, plain

MOST_PIXELS = 178_956_970
"""Pillow's own limit: a file of more is taken for a decompression bomb."""

_ALONE = threading.Lock()

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
        channels, the last of 2 or 4 being alpha. So do pictures and files whose pixels are numbers without a range of
        their own (Pillow's modes I and F), but for 16 bits in PNG and PNM files. A file's EXIF orientation is applied;
        of an animation the first image is taken.

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
        with _opened(source) as image:  # reads no more than the header
            if image.format in {"JPEG", "PNG"} and 0 < image.width * image.height <= MOST_PIXELS:
                pixels = plain(image, _content(source))
            return _from_pillow(image, name) if pixels is None else pixels
    except (Pillow.DecompressionBombError, MemoryError) as error:
        raise DataError(f"{name} has more than {MOST_PIXELS:,} pixels; scale it down") from error
    except Pillow.DecompressionBombWarning as error:  # where the user has made errors of warnings
        most = f"{Pillow.MAX_IMAGE_PIXELS:,}"
        raise DataError(
            f"{name} has more than {most} pixels, of which Pillow warns, and warnings are errors here; scale it down, "
            "or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnidentifiedImageError as error:  # its words hold the address of the bytes in memory
        why = "of no kind that Pillow knows" if _content(source, 1) else "empty, of zero bytes"
        raise DataError(f"{name} cannot be read as an image: it is {why}") from error
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as an image: {error}") from error


def _opened(source: Path | io.BytesIO) -> Pillow.Image:
    """The image, its header read, without the warning that Pillow gives of more than half of `MOST_PIXELS`.

    The state of warnings belongs to the whole process, so it is left alone where the size is known to be less.
    """
    usual = Pillow.MAX_IMAGE_PIXELS or MOST_PIXELS
    if 0 < _pixels(_content(source, 2**16)) <= usual:
        return Pillow.open(source)
    with _ALONE, warnings.catch_warnings(record=True) as caught:
        image = Pillow.open(source)
        if usual < image.width * image.height <= MOST_PIXELS and image.format not in {"JPEG", "PNG"}:
            image.load()  # some formats are checked again here
    for one in caught:
        if not issubclass(one.category, Pillow.DecompressionBombWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno, source=one.source)
    return image


def _pixels(head: bytes) -> int:
    """Pixels of a JPEG or PNG by the beginning of the file; 0 where it does not say."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return int(width * height)
    place = 2
    while head.startswith(b"\xff\xd8") and place + 9 <= len(head) and head[place] == 0xFF:
        kind, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4])
        if 0xC0 <= kind <= 0xCF and kind not in {0xC4, 0xC8, 0xCC}:  # a start of frame
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return int(width * height)
        place += 2 + length
    return 0


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
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"})  # 16 bits
    try:
        image = ImageOps.exif_transpose(image)
        if deep or image.mode in {"I", "F"}:  # Pillow's own conversion would clip
            numbers = array_of(np.array(image))
            return _from_array(numbers.astype(np.uint16) if deep else numbers, f" (Pillow's mode {image.mode})")
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


def _from_array(raw: Tensor | np.ndarray[Any, Any], kind: str = "") -> Tensor:
    try:
        numbers = array_of(raw)
    except ValueError as error:
        raise DataError(f"an image array holds numbers; got {error}") from error
    shape = list(numbers.shape)
    if numbers.ndim not in {2, 3} or not numbers.size:
        raise DataError(f"an image array is [H W], [H W C] or [C H W], and not empty; got shape {shape}")
    pixels = torch.from_numpy(bytes_of(numbers, f"an image{kind}"))
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(0)
    else:
        # [4 5 4] fits both: a tensor is read with its channels first, an array with its channels last.
        first, last = shape[0] in {1, 2, 3, 4}, shape[2] in {1, 2, 3, 4}
        if not first and not last:
            raise DataError(f"an image array has 1 to 4 channels, at its first or last axis; got shape {shape}")
        if last and not (first and isinstance(raw, Tensor)):
            pixels = pixels.permute(2, 0, 1)
    if len(pixels) in {2, 4}:
        alpha = pixels[-1:].float() / 255
        pixels = (pixels[:-1] * alpha + 255 * (1 - alpha)).round().to(torch.uint8)
    return pixels.clone(memory_format=torch.contiguous_format)


def bytes_of(numbers: Array, what: str) -> Array:
    """uint8 of numbers of any range that `Image.decode` names.

    Args:
        numbers: of any shape, as `array_of` gives them; uint8 is returned as it is.
        what: how messages call them.

    Raises:
        DataError: they are complex, or lie outside of the range.
    """
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype.kind == "c":
        raise DataError(f"{what} holds real numbers; got complex ones")
    if numbers.dtype == np.uint16:
        return (numbers / np.float32(257)).round().astype(np.uint8)
    most = 1 if numbers.dtype.kind in "fb" else 255
    if not ((numbers >= 0) & (numbers <= most)).all():  # NaN is not
        scale = "divide by its greatest possible value" if most == 1 else "scale it, or give uint16 up to 65535"
        raise DataError(f"{what} of {numbers.dtype} holds 0 to {most}; got {numbers.min()} to {numbers.max()}: {scale}")
    return (numbers.astype(np.float32) * (255 // most)).round().astype(np.uint8)
