"""What an image may be given as, and what is refused."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mmkit.errors import DataError
from mmkit.modalities import image as module
from mmkit.modalities import plain_images
from mmkit.modalities.image import Image


def encoded(pixels, mode=None, fmt="PNG", **options):
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, Pillow.Image) else Pillow.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_path_bytes_and_pillow_agree(tmp_path, colour):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(colour))
    expected = torch.from_numpy(colour).permute(2, 0, 1)
    for raw in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Pillow.fromarray(colour)):
        value = Image().decode(raw)
        assert value.dtype == torch.uint8
        assert torch.equal(value, expected)


def test_arrays_of_every_layout_agree(colour):
    first = torch.from_numpy(colour).permute(2, 0, 1)
    for raw in (
        colour,
        colour.astype(np.int64),
        first,
        first / 255,
        colour.astype(np.uint16) * 257,
        first.contiguous().numpy(),
    ):
        assert torch.equal(Image().decode(raw), first)
    assert Image().decode(colour[..., 0]).shape == (1, 5, 7)
    assert Image().decode(colour > 127).max() == 255


def test_channels_first_in_tensors_and_last_in_arrays_where_both_fit():
    raw = torch.arange(36, dtype=torch.uint8).view(3, 4, 3)
    assert torch.equal(Image().decode(raw), raw)
    assert torch.equal(Image().decode(raw.numpy()), raw.permute(2, 0, 1))


def test_the_value_is_the_callers_no_longer(colour):
    value = Image().decode(colour)
    before = value.clone()
    colour[:] = 0
    assert torch.equal(value, before)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("CMYK", 3), ("LA", 1), ("RGBA", 3)])
def test_modes(colour, mode, channels):
    raw = encoded(colour, mode, fmt="TIFF" if mode == "CMYK" else "PNG")
    assert Image().decode(raw).shape == (channels, 5, 7)


def test_what_is_transparent_lies_on_white():
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[0, 0, 3] = 255
    for raw in (encoded(rgba), rgba):
        value = Image().decode(raw)
        assert value[:, 0, 0].tolist() == [0, 0, 0]
        assert value[:, 1, 1].tolist() == [255, 255, 255]


def test_sixteen_bits_keep_their_range():
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert Image().decode(encoded(deep)).flatten().tolist() == [0, 1, 128, 255]


def big_endian_tiff(pixels):
    """A grey TIFF of 16 bits, as microscopes write them; its bytes are in the order that Pillow does not write."""
    data = pixels.astype(">u2").tobytes()
    height, width = pixels.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 3, height), (279, 4, len(data))]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + struct.pack(">H", len(tags)) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("most", [255, 65535])
@pytest.mark.parametrize("form", ["array", "big-endian array", "PNG", "TIFF", "big-endian TIFF", "Pillow", "PPM"])
def test_sixteen_bits_are_sixteen_bits_however_dark(most, form):
    deep = np.random.default_rng(0).integers(0, most + 1, (6, 5)).astype(np.uint16)
    raw = {
        "array": lambda: deep,
        "big-endian array": lambda: deep.astype(">u2"),
        "PNG": lambda: encoded(deep),
        "TIFF": lambda: encoded(deep, fmt="TIFF"),
        "big-endian TIFF": lambda: big_endian_tiff(deep),
        "Pillow": lambda: Pillow.fromarray(deep),
        "PPM": lambda: b"P5\n5 6\n65535\n" + deep.astype(">u2").tobytes(),
    }[form]()
    assert np.array_equal(Image().decode(raw)[0].numpy(), np.rint(deep.astype(float) / 257))


@pytest.mark.parametrize("fmt", ["TIFF", None])
def test_numbers_without_a_range_are_read_as_arrays_of_their_type(fmt):
    def raw(pixels):
        picture = Pillow.fromarray(pixels)
        return picture if fmt is None else encoded(picture, fmt=fmt)

    grey = np.array([[0, 7, 100]])
    assert Image().decode(raw(grey.astype(np.int32))).tolist() == [grey.tolist()]
    assert Image().decode(raw((grey / 255).astype(np.float32))).tolist() == [grey.tolist()]
    with pytest.raises(DataError, match=r"an image \(Pillow's mode I\) of int32 holds 0 to 255; got 0 to 25700: scale"):
        Image().decode(raw((grey * 257).astype(np.int32)))
    with pytest.raises(DataError, match=r"an image \(Pillow's mode F\) of float32 holds 0 to 1; got 0.0 to 100.0: div"):
        Image().decode(raw(grey.astype(np.float32)))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[..., ::-1].copy()[..., ::-1],
        lambda a: a[:, ::-1].copy()[:, ::-1],
        lambda a: np.rot90(np.rot90(a, -1).copy()),
        lambda a: a.astype(">i4"),
        lambda a: a.astype(np.uint32),
        lambda a: a.astype(np.uint64),
        lambda a: a.astype(">u2") * np.uint16(257),
        lambda a: (a / 255).astype(">f8"),
        lambda a: (a / 255).astype(np.float16),
        lambda a: a.astype(object),
        np.asfortranarray,
    ],
)
def test_arrays_of_any_make_are_read_by_their_numbers(colour, change):
    raw = change(colour)
    raw.flags.writeable = False
    assert np.array_equal(Image().decode(raw).permute(1, 2, 0).numpy(), colour)


def test_integers_beyond_eight_bits_do_not_say_their_range():
    for kind in (np.uint32, np.uint64, np.int32):
        with pytest.raises(DataError, match="holds 0 to 255; got 0 to 300: scale it, or give uint16 up to 65535"):
            Image().decode(np.array([[0, 300]], dtype=kind))


def test_exif_orientation_is_applied(colour):
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    assert Image().decode(encoded(colour, fmt="JPEG", exif=exif)).shape == (3, 7, 5)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("/no/such.png", "there is no image file at /no/such.png"),
        (b"", "the 0 bytes given as an image cannot be read"),
        (b"GIF89a nothing", "cannot be read as an image"),
        (12, "an image is a path, bytes, a Pillow image, an array or a tensor; got int"),
        (np.zeros((0, 4), dtype=np.uint8), r"not empty; got shape \[0, 4\]"),
        (np.zeros((9, 9, 9), dtype=np.uint8), "1 to 4 channels"),
        (np.full((4, 4), 300), "an image of int64 holds 0 to 255; got 300 to 300"),
        (np.full((4, 4), 7.5), "an image of float64 holds 0 to 1; got 7.5 to 7.5"),
        (np.full((4, 4), np.nan), "holds 0 to 1; got nan"),
        (np.full((4, 4), 1j), "real numbers"),
        (np.array([["a", "b"]]), "holds numbers"),
    ],
)
def test_what_is_no_image_is_refused(raw, message):
    with pytest.raises(DataError, match=message):
        Image().decode(raw)


def photograph(size=(50, 37), mode="RGB", fmt="JPEG", **options):
    """A smooth picture with noise, as bytes."""
    draw = np.random.default_rng(0)
    small = Pillow.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size, Pillow.Resampling.BICUBIC)
    noisy = np.asarray(small, dtype=float) + draw.normal(0, 8, (size[1], size[0], 3))
    return encoded(noisy.clip(0, 255).astype(np.uint8), mode, fmt, **options)


class TestTheFastReaders:
    """What they read is what Pillow reads, and what they would read wrongly is left to Pillow."""

    @pytest.fixture(params=["simplejpeg", "torchvision"], autouse=True)
    def reader(self, request, monkeypatch):
        if request.param == "torchvision":
            monkeypatch.setattr(plain_images, "simplejpeg", None)
        elif vars(plain_images)["simplejpeg"] is None:
            pytest.skip("simplejpeg is not installed")

    @pytest.fixture
    def by_pillow(self, monkeypatch):
        """Whether Pillow had to look."""
        seen, of_pillow = [], module._from_pillow
        monkeypatch.setattr(module, "_from_pillow", lambda *given: (seen.append(given), of_pillow(*given))[1])
        return seen

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize(
        "options",
        [{"quality": 95}, {"quality": 40, "subsampling": 2}, {"subsampling": 0}, {"progressive": True}, {"fmt": "PNG"}],
    )
    def test_plain_files_are_read_to_within_two_levels_of_pillow(self, by_pillow, tmp_path, mode, options):
        file = photograph(mode=mode, **options)
        path = tmp_path / "file"
        path.write_bytes(file)
        expected = torch.from_numpy(np.array(Pillow.open(io.BytesIO(file)))).int()
        expected = expected.unsqueeze(0) if mode == "L" else expected.permute(2, 0, 1)
        for raw in (file, path):
            value = Image().decode(raw)
            assert value.dtype == torch.uint8
            assert value.shape == expected.shape
            assert (value.int() - expected).abs().max() <= (0 if "fmt" in options else 2)
        assert by_pillow == []

    @pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
    def test_an_orientation_is_applied(self, by_pillow, fmt):
        exif = Pillow.Exif()
        exif[0x0112] = 6  # a quarter turn
        assert Image().decode(photograph(fmt=fmt, exif=exif)).shape == (3, 50, 37)
        assert by_pillow

    @pytest.mark.parametrize("before", [b"\xff\xfe\0\x05\xff\xda!", b"\xff\xff\xfe\0\x02", "thumbnail"])
    def test_so_is_one_that_stands_behind_other_metadata(self, before):
        if before == "thumbnail":
            inside = b"JFXX\0\x10" + photograph((10, 7))
            before = b"\xff\xe0" + (len(inside) + 2).to_bytes(2) + inside
        exif = Pillow.Exif()
        exif[0x0112] = 6
        file = photograph(exif=exif)
        first = 4 + int.from_bytes(file[4:6])  # behind the first part
        assert Image().decode(file[:first] + before + file[first:]).shape == (3, 50, 37)

    def test_other_metadata_keep_nothing_from_the_fast_reader(self, by_pillow):
        exif = Pillow.Exif()
        exif[0x010F] = "a maker of cameras"
        assert Image().decode(photograph(exif=exif)).shape == (3, 37, 50)
        assert by_pillow == []

    def test_a_transparent_colour_lies_on_white(self):
        pixels = np.zeros((2, 2, 3), dtype=np.uint8)
        pixels[0, 0] = 9
        value = Image().decode(encoded(pixels, transparency=(9, 9, 9)))
        assert value[:, 0, 0].tolist() == [255, 255, 255]
        assert value[:, 1, 1].tolist() == [0, 0, 0]

    def test_sixteen_bits_and_four_inks_are_read(self):
        grey = np.array([[0, 257 * 100], [65535, 257 * 7]], dtype=np.uint16)
        assert Image().decode(encoded(grey)).tolist() == [[[0, 100], [255, 7]]]
        assert Image().decode(photograph(mode="CMYK")).shape == (3, 37, 50)

    def test_so_are_sixteen_bits_of_each_colour(self):
        def chunk(kind, content):
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        pixel = struct.pack(">HHH", 257 * 9, 257 * 100, 65535)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        file = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + pixel)) + chunk(b"IEND", b"")
        assert Image().decode(file).flatten().tolist() == [9, 100, 255]

    def test_the_value_can_be_written_to_and_is_its_own(self):
        file = photograph()
        value = Image().decode(file)
        value.zero_()
        assert Image().decode(file).any()


def test_a_torn_file_is_refused():
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for length in (20, 60, len(whole) // 2):
        with pytest.raises(DataError, match=f"the {length} bytes given as an image cannot be read"):
            Image().decode(whole[:length])


def test_too_many_pixels_are_refused(monkeypatch, colour):
    monkeypatch.setattr(module, "MOST_PIXELS", 34)
    with pytest.raises(DataError, match=r"more than 34 pixels \(7 x 5\); scale it down"):
        Image().decode(encoded(colour))


def test_a_decompression_bomb_is_refused(monkeypatch, colour):
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 8)
    with pytest.raises(DataError, match="pixels; scale it down"):
        Image().decode(encoded(colour))


class TestPillowsWarning:
    """Of more pixels than Pillow thinks usual, and fewer than it refuses."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 30)

    @pytest.mark.parametrize("options", [{}, {"fmt": "JPEG", "quality": 100}, {"fmt": "TIFF"}, {"mode": "1"}])
    def test_it_is_not_shown(self, colour, options):
        file = encoded(colour, **options)
        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert Image().decode(file).shape[1:] == (5, 7)
        assert caught == []
        assert warnings.filters == before

    def test_other_warnings_of_a_file_are(self, colour, monkeypatch):
        opened = Pillow.open

        def worried(source):
            warnings.warn("something else", stacklevel=1)
            return opened(source)

        monkeypatch.setattr(Pillow, "open", worried)
        with pytest.warns(UserWarning, match="something else"):
            Image().decode(encoded(colour))

    @pytest.mark.parametrize("options", [{}, {"fmt": "TIFF"}])
    def test_as_an_error_it_is_one_of_the_data(self, colour, options):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DataError, match="more than 30 pixels, of which Pillow warns, and warnings are errors"):
                Image().decode(encoded(colour, **options))


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (300, 200), (17, 999)])
def test_the_size_is_read_off_the_header(fmt, size):
    exif = Pillow.Exif()
    exif[0x010F] = "a maker of cameras"
    file = photograph(size, fmt=fmt, **({"exif": exif} if fmt in {"PNG", "JPEG"} else {}))
    assert module._pixels(file) == (size[0] * size[1] if fmt in {"PNG", "JPEG"} else 0)


def test_examples_are_values():
    value = Image().example(torch.Generator().manual_seed(0))
    assert torch.equal(Image().decode(value), value)
