"""Fits that pass over values once give what all values at once give."""

import numpy as np
import pytest
import torch

from mmkit.transforms import series
from mmkit.transforms.image import ImageTransform
from mmkit.transforms.series import SeriesTransform


class TestSeries:
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_moments_of_parts_are_those_of_all(self, offset, monkeypatch):
        monkeypatch.setattr(series, "AT_ONCE", 50)
        generator = np.random.default_rng(0)
        values = [torch.from_numpy(generator.normal(offset, 3, (1 + i % 7, 2))) for i in range(100)]
        values[4] = None
        transform = SeriesTransform()
        transform.fit(values)
        every = np.concatenate([value.numpy() for value in values if value is not None]).astype(np.longdouble)
        np.testing.assert_allclose(transform.mean.numpy(), every.mean(0).astype(float), rtol=1e-12)
        np.testing.assert_allclose(transform.std.numpy(), every.std(0).astype(float), rtol=1e-10)

    def test_a_channel_that_changes_between_parts_alone_is_no_constant(self, monkeypatch):
        monkeypatch.setattr(series, "AT_ONCE", 1)
        transform = SeriesTransform()
        transform.fit([torch.full((3, 1), 1.0), torch.full((3, 1), 2.0)])
        assert transform.std.item() == pytest.approx(0.5)
        transform.fit([torch.full((3, 1), 0.1), torch.full((3, 1), 0.1)])
        assert transform.std.item() == 1


class TestImages:
    def images(self):
        generator = torch.Generator().manual_seed(0)
        shapes = [(1, 9, 7), (1, 30, 20), (3, 8, 8), (1, 5, 5), (3, 12, 4)]
        return [torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for shape in shapes]

    @pytest.mark.parametrize("colour", ["auto", "colour"])
    def test_an_image_weighs_the_same_whatever_its_size_and_its_place(self, colour):
        images = self.images()
        transform = ImageTransform(colour=colour)
        transform.fit([None, *images])
        pixels = [image.expand(3, -1, -1).double().flatten(1) / 255 for image in images]
        mean = torch.stack([one.mean(1) for one in pixels]).mean(0)
        square = torch.stack([one.square().mean(1) for one in pixels]).mean(0)
        assert transform.mean == pytest.approx(mean.tolist(), rel=1e-12)
        assert transform.std == pytest.approx((square - mean**2).sqrt().tolist(), rel=1e-10)

    def test_none_is_held(self):
        held = []

        class Handed:
            def __len__(self):
                return 50

            def __iter__(self):
                import weakref

                for _ in range(50):
                    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
                    held.append(weakref.ref(image))
                    yield image
                    del image
                    assert sum(one() is not None for one in held) <= 2

        ImageTransform().fit(Handed())
