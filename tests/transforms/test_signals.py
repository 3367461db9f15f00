"""What holds of the transforms of images, sound and series alike."""

import json
import pickle

import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.audio import Audio
from mmkit.modalities.image import Image
from mmkit.modalities.series import Series
from mmkit.transforms.image import ImageTransform
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.series import SeriesTransform

AUGMENTING = [
    (Image, ImageTransform, {"crop": 0.5}),
    (Image, ImageTransform, {"shift": 2}),
    (Image, ImageTransform, {"flip": 0.5}),
    (Audio, MelTransform, {"time_mask": 0.5}),
    (Audio, MelTransform, {"band_mask": 0.5}),
    (Series, SeriesTransform, {"time_mask": 0.5, "noise": 0.0}),
    (Series, SeriesTransform, {"time_mask": 0.0, "noise": 0.5, "standardize": False}),
]
augmenting = pytest.mark.parametrize(("modality", "kind", "options"), AUGMENTING)
STILL = [
    (Image, ImageTransform, {}),
    (Image, ImageTransform, {"size": 9, "resize": "stretch", "colour": "grey"}),
    (Audio, MelTransform, {}),
    (Series, SeriesTransform, {"time_mask": 0.0, "noise": 0.0}),
]


def values_of(modality, count=6):
    generator = torch.Generator().manual_seed(1)
    values = [modality().example(generator) for _ in range(count)]
    return [*values[:2], None, *values[2:]]


def fitted(modality, kind, options):
    transform = kind(**options)
    transform.fit(values_of(modality))
    return transform


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@augmenting
def test_augmentation_is_drawn_from_the_generator_alone(modality, kind, options):
    transform = fitted(modality, kind, options)
    values = values_of(modality)
    assert transform.augments
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(draws))
        before = torch.get_rng_state()
        draws.append(transform(values, torch.Generator().manual_seed(seed)))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(draws[0], draws[1])
    assert not same(draws[0], draws[2])
    assert same(transform(values), transform(values))
    assert not same(transform(values), draws[0])
    assert all(torch.equal(draws[0]["mask"], draw["mask"]) for draw in draws)


@pytest.mark.parametrize(("modality", "kind", "options"), STILL)
def test_without_augmenting_options_a_generator_changes_nothing(modality, kind, options):
    transform = fitted(modality, kind, options)
    assert not transform.augments
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert same(transform(values_of(modality), generator), transform(values_of(modality)))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("modality", "kind", "options"), [*AUGMENTING, *STILL])
def test_state_survives_json_and_pickle(modality, kind, options):
    transform = fitted(modality, kind, options)
    restored = kind(**options)
    restored.restore(json.loads(json.dumps(transform.state())))
    unpickled = pickle.loads(pickle.dumps(transform))
    expected = transform(values_of(modality), torch.Generator().manual_seed(1))
    for other in (restored, unpickled):
        assert same(other(values_of(modality), torch.Generator().manual_seed(1)), expected)
        assert other.state() == transform.state()


@pytest.mark.parametrize(("modality", "kind", "options"), [*AUGMENTING, *STILL])
def test_missing_values_are_rows_of_false(modality, kind, options):
    transform = fitted(modality, kind, options)
    values = values_of(modality)
    for generator in (None, torch.Generator().manual_seed(1)):
        for given in (values, [None, None]):
            batch = transform(given, generator)
            mask = batch["mask"]
            assert mask.dtype == torch.bool
            assert mask.view(len(given), -1).any(1).tolist() == [value is not None for value in given]
            for name, leaf in batch.items():
                assert len(leaf) == len(given), name
                assert not leaf[~mask].any(), name


@pytest.mark.parametrize(
    ("modality", "kind"), [(Image, ImageTransform), (Audio, MelTransform), (Series, SeriesTransform)]
)
def test_an_input_without_any_value_cannot_be_fitted(modality, kind):
    with pytest.raises(DataError, match="leave the input out"):
        kind().fit([None, None])
