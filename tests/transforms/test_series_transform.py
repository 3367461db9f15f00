"""SeriesTransform: scaling, padding, the time mask."""

import numpy as np
import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.series import Series
from mmkit.transforms.series import SeriesTransform, span


def test_channels_are_standardised_by_the_training_split():
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(t, 3, generator=generator) * torch.tensor([1.0, 20.0, 0.0]) + 5 for t in (4, 9, 2)]
    transform = SeriesTransform()
    transform.fit(values)
    batch = transform(values)
    real = batch["steps"][batch["mask"]].double()
    torch.testing.assert_close(real.mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(real.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-5, rtol=0)
    assert batch["mask"].sum(1).tolist() == [4, 9, 2]
    plain = SeriesTransform(standardize=False)
    plain.fit(values)
    assert torch.equal(plain(values)["steps"][1], values[1])


def test_what_is_too_long_is_cut():
    transform = SeriesTransform(max_length=3, standardize=False)
    values = [torch.arange(5.0).unsqueeze(1), torch.ones(2, 1)]
    transform.fit(values)
    assert transform(values)["steps"].squeeze(2).tolist() == [[0.0, 1.0, 2.0], [1.0, 1.0, 0.0]]


def test_other_channels_are_refused():
    with pytest.raises(DataError, match="a series has 3 channels; most of the training split have 2"):
        SeriesTransform().fit([torch.zeros(4, 2), torch.zeros(4, 3)])
    transform = SeriesTransform()
    transform.fit([torch.zeros(4, 2)])
    with pytest.raises(DataError, match="a series has 3 channels; those of the training split 2"):
        transform([torch.zeros(4, 3)])


@pytest.mark.parametrize("standardize", [True, False])
def test_the_time_mask_is_one_span_of_the_mean(standardize):
    values = [10 + torch.randn(t, 2, generator=torch.Generator().manual_seed(t)) for t in range(1, 41)]
    transform = SeriesTransform(time_mask=0.3, noise=0.0, standardize=standardize)
    transform.fit(values)
    clean = transform(values)["steps"]
    hidden_ever = False
    for seed in range(20):
        steps = transform(values, torch.Generator().manual_seed(seed))["steps"]
        for row, value in enumerate(values):
            changed = (steps[row] != clean[row]).any(1).nonzero().flatten().tolist()
            assert len(changed) <= 0.3 * len(value)
            if changed:
                hidden_ever = True
                assert changed == list(range(changed[0], changed[-1] + 1))
                fill = torch.zeros(2) if standardize else transform.mean.float()
                assert torch.equal(steps[row, changed[0]], fill)
    assert hidden_ever


def test_spans_reach_every_length_and_place():
    hidden = span(torch.full((4000,), 5), 7, 0.6, torch.Generator().manual_seed(0))
    drawn = {tuple(row.nonzero().flatten().tolist()) for row in hidden}
    assert drawn == {tuple(range(start, start + n)) for n in range(4) for start in range(5 - n + 1)}


def test_noise_has_the_deviation_asked_for():
    values = [torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50.0])]
    for standardize, expected in ((True, [0.5, 0.5]), (False, [0.5, 25.0])):
        transform = SeriesTransform(noise=0.5, time_mask=0.0, standardize=standardize)
        transform.fit(values)
        noise = transform(values, torch.Generator().manual_seed(1))["steps"] - transform(values)["steps"]
        # The deviation of 4000 draws scatters by 1.1 % of itself; one of five scatters is allowed.
        torch.testing.assert_close(noise[0].std(0), torch.tensor(expected), rtol=0.056, atol=0)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9, 1e12])
def test_series_far_from_zero_keep_their_spread(offset):
    rng = np.random.default_rng(0)
    # One channel changes within a series, the other from series to series only.
    raw = [offset + 30 * np.stack([rng.uniform(-1, 1, 6), np.full(6, rng.uniform(-1, 1))], 1) for _ in range(40)]
    values = [Series().decode(one) for one in raw]
    transform = SeriesTransform()
    transform.fit(values)
    steps = np.concatenate(raw)
    expected = (steps - steps.mean(0)) / steps.std(0)
    found = transform(values)["steps"]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.reshape(-1, 2).numpy(), expected, atol=2e-4 if offset else 1e-6)


def test_whole_numbers_that_float32_holds_keep_their_spread():
    raw = 10_000_000 + np.random.default_rng(0).integers(0, 6, (300, 1))
    value = Series().decode(raw)
    assert value.dtype == torch.float32
    transform = SeriesTransform()
    transform.fit([value])
    np.testing.assert_allclose(transform([value])["steps"][0].numpy(), (raw - raw.mean()) / raw.std(), atol=1e-6)


def test_a_channel_that_changes_by_rounding_alone_stays_at_zero():
    value = torch.full((50, 1), 0.1)
    value[::2] = torch.nextafter(value[::2], torch.ones(25, 1))
    transform = SeriesTransform()
    transform.fit([value])
    assert transform([value])["steps"].abs().max() < 1e-6
