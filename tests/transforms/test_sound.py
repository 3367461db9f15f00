"""Sound of any rate and number of channels becomes one channel at one rate."""

import warnings

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from mmkit.errors import DataError
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.sound import mono, mono_at


def test_channels_are_averaged_and_a_clip_at_the_rate_is_left():
    wave = torch.randn(3, 50)
    assert torch.equal(mono_at((wave, 8000), 8000), wave.mean(0))


@pytest.mark.parametrize(("rate", "samples"), [(96_000, 9600), (44_100, 4410), (8000, 800), (11_025, 1103)])
def test_a_clip_is_resampled_as_torchaudio_does(rate, samples):
    wave = torch.randn(8, samples)
    found = mono_at((wave, rate), 16_000)
    torch.testing.assert_close(found, resample(wave.mean(0), rate, 16_000))


def test_a_rate_that_is_none_of_sound_is_refused():
    with pytest.raises(DataError, match="a sound of 7 samples a second cannot be resampled to 16000; check its rate"):
        mono_at((torch.zeros(1, 50), 7), 16_000)


def test_a_rate_without_a_small_ratio_costs_no_gigabytes():
    time = torch.arange(44_101) / 44_101
    found = mono_at((torch.sin(2 * torch.pi * 440 * time).unsqueeze(0), 44_101), 16_000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(len(found)) / 16_000)
    assert abs(len(found) - 16_000) <= 1
    assert (found - expected)[100:8000].abs().max() < 0.01


def sine(hertz, phase=0.0):
    return torch.sin(2 * torch.pi * hertz * torch.arange(1600) / 16_000 + phase)


def level(wave):
    """Root mean square, by numpy."""
    return float(np.sqrt(np.square(wave.double().numpy()).mean()))


@pytest.mark.parametrize("second", [-1.0, -0.9, -0.5])
def test_channels_of_opposite_phase_do_not_become_silence(second):
    left = 0.3 * sine(440)
    with pytest.warns(UserWarning, match="the channels of a sound cancel each other; its loudest one is taken"):
        found = mono(torch.stack((second * left, left)))
    assert torch.equal(found.abs(), left.abs())


@pytest.mark.parametrize("silent", [1, 5])
def test_silent_channels_do_not_lower_the_level(silent):
    left = 0.3 * sine(440)
    assert torch.equal(mono(torch.stack([left, *[torch.zeros(1600)] * silent])), left)
    dither = torch.randn(1600, generator=torch.Generator().manual_seed(0)) / 2**15
    assert level(mono(torch.stack((dither, left)))) == pytest.approx(level(left))


def test_other_channels_are_averaged_without_a_word():
    noise = torch.randn(16, 1600, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for wave in (
            torch.stack((sine(440), sine(440))),
            torch.stack((sine(440), sine(440, phase=2.0))),
            torch.stack((sine(440), 0.1 * sine(900))),
            torch.stack((sine(440), -0.05 * sine(440))),
            noise,
            torch.zeros(2, 1600),
        ):
            torch.testing.assert_close(mono(wave), torch.from_numpy(wave.numpy().mean(0)))


def test_the_loudest_channel_is_an_option():
    wave = torch.stack((0.2 * sine(440), 0.3 * sine(900), 0.1 * sine(1300)))
    assert torch.equal(mono(wave, "loudest"), wave[1])
    assert torch.equal(mono_at((wave, 16_000), 16_000, "loudest"), wave[1])


@pytest.mark.parametrize("seed", range(3))
def test_a_transform_takes_the_option(seed):
    generator = torch.Generator().manual_seed(seed)
    left, right = 0.3 * torch.randn(8000, generator=generator), 0.1 * torch.randn(8000, generator=generator)
    both, alone = (torch.stack((left, right)), 16_000), (left.unsqueeze(0), 16_000)
    assert torch.equal(MelTransform(mix="loudest")([both])["mel"], MelTransform()([alone])["mel"])
    assert not torch.equal(MelTransform()([both])["mel"], MelTransform()([alone])["mel"])
