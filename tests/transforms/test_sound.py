"""Sound of any rate and number of channels becomes one channel at one rate."""

import pytest
import torch
from torchaudio.functional import resample

from mmkit.transforms.sound import mono_at


def test_channels_are_averaged_and_a_clip_at_the_rate_is_left():
    wave = torch.randn(3, 50)
    assert torch.equal(mono_at((wave, 8000), 8000), wave.mean(0))


@pytest.mark.parametrize(("rate", "samples"), [(96_000, 9600), (44_100, 4410), (8000, 800), (11_025, 1103)])
def test_a_clip_is_resampled_as_torchaudio_does(rate, samples):
    wave = torch.randn(8, samples)
    found = mono_at((wave, rate), 16_000)
    torch.testing.assert_close(found, resample(wave.mean(0), rate, 16_000))


def test_a_rate_without_a_small_ratio_costs_no_gigabytes():
    time = torch.arange(44_101) / 44_101
    found = mono_at((torch.sin(2 * torch.pi * 440 * time).unsqueeze(0), 44_101), 16_000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(len(found)) / 16_000)
    assert abs(len(found) - 16_000) <= 1
    assert (found - expected)[100:8000].abs().max() < 0.01
