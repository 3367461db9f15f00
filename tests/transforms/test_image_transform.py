"""ImageTransform: size, channels, statistics, augmentation."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mmkit.errors import UsageError
from mmkit.transforms import image as module
from mmkit.transforms.image import ImageTransform


def image(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_size_of_the_training_images_is_taken():
    transform = ImageTransform()
    transform.fit([image(1, 6, 8), None])
    assert transform.shape == (6, 8)
    assert torch.equal(transform([image(1, 6, 8)])["pixels"][0], image(1, 6, 8))
    assert transform([image(3, 40, 20)])["pixels"].shape == (1, 1, 6, 8)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [([(8, 8), (6, 8)], 7), ([(300, 200), (90, 400), (640, 480)], 64), ([(9, 5), (20, 70), (300, 200)], 20)],
)
def test_differing_sizes_have_a_usual_one(sizes, side):
    transform = ImageTransform()
    transform.fit([image(1, *size) for size in sizes])
    assert transform.shape == (side, side)
    assert transform([image(1, *sizes[0])])["pixels"].shape == (1, 1, side, side)


def test_differing_sizes_are_brought_to_the_option():
    transform = ImageTransform(size=5)
    transform.fit([image(1, 8, 8), image(1, 6, 8)])
    assert transform([image(1, 8, 8), image(1, 3, 4)])["pixels"].shape == (2, 1, 5, 5)


def test_before_fit_the_size_is_unknown():
    with pytest.raises(UsageError, match="not known before `fit`"):
        _ = ImageTransform().shape


def test_colour():
    grey, colour = image(1, 4, 4), image(3, 4, 4)
    for option, given, channels in (
        ("auto", [grey], 1),
        ("auto", [grey, colour], 3),
        ("grey", [colour], 1),
        ("colour", [grey], 3),
    ):
        transform = ImageTransform(colour=option)
        transform.fit(given)
        assert transform.channels == channels
        assert transform([grey, colour])["pixels"].shape == (2, channels, 4, 4)
    assert torch.equal(transform([grey])["pixels"][0], grey.expand(3, 4, 4))


def test_statistics_are_those_of_the_training_pixels():
    values = [image(3, 4, 5, seed=seed) for seed in range(3)]
    transform = ImageTransform()
    transform.fit([*values, None])
    pixels = torch.stack(values).double().div(255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(transform.mean).double(), pixels.mean(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(transform.std).double(), pixels.std(1, correction=0), atol=1e-6, rtol=0)
    transform.fit([torch.full((1, 4, 5), 7, dtype=torch.uint8)])
    assert transform.std == [1.0]


@pytest.mark.parametrize("colour", ["auto", "grey", "colour"])
@pytest.mark.parametrize("together", [1, 7, 64, 2**20])
def test_statistics_do_not_depend_on_how_many_pixels_are_measured_together(monkeypatch, colour, together):
    values = [image(3, 9, 5, seed=1), image(1, 12, 3, seed=2)]
    monkeypatch.setattr(module, "AT_ONCE", together)
    transform = ImageTransform(colour=colour)
    transform.fit(values)
    whole = [np.asarray(module._channels(value, transform.channels)) / 255 for value in values]
    mean = np.mean([pixels.mean((1, 2)) for pixels in whole], axis=0)
    square = np.mean([np.square(pixels).mean((1, 2)) for pixels in whole], axis=0)
    np.testing.assert_allclose(transform.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(transform.std, np.sqrt(square - mean**2), rtol=1e-9)


HUGE = """
import resource, sys
from mmkit.modalities.image import Image
from mmkit.transforms.image import ImageTransform
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
value = Image().decode(sys.argv[1])
transform = ImageTransform(size=16)
transform.fit([value])
assert transform([value])["pixels"].shape == (1, 1, 16, 16)
print(value.numel(), peak() - before)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak of memory is the system's")
@pytest.mark.parametrize(("mode", "fmt"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG")])
def test_a_huge_picture_takes_its_own_size_in_memory_and_little_more(tmp_path, mode, fmt):
    path = tmp_path / "huge"
    Pillow.new(mode, (12_000, 9_000)).save(path, fmt)
    done = subprocess.run([sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    pixels, kibibytes = map(int, done.stdout.split())
    assert pixels == 108_000_000
    # Itself, its copy in the reader, and four bytes a pixel while it is resized.
    assert kibibytes * 1024 < 8 * pixels


def test_crop_keeps_the_middle_and_stretch_keeps_everything():
    stripes = torch.zeros(1, 4, 12, dtype=torch.uint8)
    stripes[:, :, 4:8] = 200
    for resize, expected in (("crop", 1.0), ("stretch", 1 / 3)):
        transform = ImageTransform(size=4, resize=resize)
        transform.fit([stripes])
        bright = transform([stripes])["pixels"].float().mean() / 200
        torch.testing.assert_close(bright, torch.tensor(expected), atol=0.01, rtol=0)


def test_resizing_does_not_alias():
    board = torch.zeros(1, 64, 64, dtype=torch.uint8)
    board[:, ::2] = 255
    transform = ImageTransform(size=8)
    transform.fit([board])
    assert transform([board])["pixels"][..., 1:-1, :].float().sub(127.5).abs().max() < 8


def test_flips_and_shifts_move_pixels_and_nothing_else():
    values = [image(1, 5, 6, seed=seed) for seed in range(64)]
    flip, shift = ImageTransform(flip=0.5), ImageTransform(shift=1)
    flip.fit(values)
    shift.fit(values)
    flipped = flip(values, torch.Generator().manual_seed(0))["pixels"]
    share = sum(torch.equal(out, value.flip(-1)) for out, value in zip(flipped, values, strict=True)) / 64
    assert all(torch.equal(o, v) or torch.equal(o, v.flip(-1)) for o, v in zip(flipped, values, strict=True))
    assert 0.25 < share < 0.75  # four scatters of 64 fair draws
    shifted = shift(values, torch.Generator().manual_seed(0))["pixels"]
    seen = set()
    for out, value in zip(shifted, values, strict=True):
        padded = torch.nn.functional.pad(value.float(), (1, 1, 1, 1), mode="replicate").to(torch.uint8)
        places = [(y, x) for y in range(3) for x in range(3) if torch.equal(out, padded[:, y : y + 5, x : x + 6])]
        assert places
        seen.update(places)
    assert len(seen) == 9


def test_random_crops_stay_inside_and_keep_their_share():
    # A picture whose value is its own place: what a crop shows says where it was.
    ramp = torch.arange(100).mul(2).to(torch.uint8).expand(1, 100, 100)
    transform = ImageTransform(size=50, crop=0.25)
    transform.fit([ramp])
    crops = transform._crops([ramp] * 300, torch.Generator().manual_seed(0))
    areas = [h * w / 10_000 for _, _, h, w in crops]
    assert all(y >= 0 and x >= 0 and y + h <= 100 and x + w <= 100 for y, x, h, w in crops)
    assert 0.2 < min(areas) < 0.3
    assert max(areas) > 0.9
    shown = transform([ramp] * 8, torch.Generator().manual_seed(0))["pixels"].float() / 2
    drawn = transform._crops([ramp] * 8, torch.Generator().manual_seed(0))
    for out, (_, x, _, w) in zip(shown, drawn, strict=True):
        torch.testing.assert_close(out.mean(), torch.tensor(x + (w - 1) / 2), atol=1.0, rtol=0)
