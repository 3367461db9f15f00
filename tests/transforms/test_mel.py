"""MelTransform against torchaudio's own spectrogram, and on odd clips."""

import math

import pytest
import torch
import torchaudio

from mmkit.transforms import mel as module
from mmkit.transforms.mel import FLOOR, MelTransform


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "options",
    [{}, {"mels": 64, "window": 0.05, "hop": 0.02}, {"rate": 8000, "mels": 20, "low": 100.0, "high": 3000.0}],
)
def test_the_power_is_torchaudios(options):
    transform = MelTransform(**options)
    clips = [(noise(1, length, seed=length), transform.rate) for length in (800, 5001, 3000)]
    reference = torchaudio.transforms.MelSpectrogram(
        transform.rate,
        transform.samples,
        hop_length=transform.hop,
        f_min=options.get("low", 20.0),
        f_max=options.get("high"),
        n_mels=transform.mels,
        center=False,
    ).double()
    batch = transform(clips)
    for row, (waveform, _) in enumerate(clips):
        expected = torch.log(reference(waveform.double())[0].T + FLOOR).float()
        assert int(batch["mask"][row].sum()) == len(expected)
        torch.testing.assert_close(batch["mel"][row, : len(expected)], expected, atol=1e-4, rtol=1e-4)


def test_chunks_change_nothing(monkeypatch):
    clips = [(noise(1, length, seed=length), 16000) for length in (9000, 400, 30000, 1200)]
    transform = MelTransform()
    whole = transform(clips)["mel"]
    transform.fit(clips)
    mean, std = transform.mean, transform.std
    monkeypatch.setattr(module, "CHUNK", 7)
    again = MelTransform()
    torch.testing.assert_close(again(clips)["mel"], whole)
    again.fit(clips)
    torch.testing.assert_close(again.mean, mean)
    torch.testing.assert_close(again.std, std)


def test_bands_are_standardised_by_the_training_split():
    clips = [(noise(1, 4000, seed=seed), 16000) for seed in range(3)]
    transform = MelTransform()
    transform.fit([*clips, None])
    batch = transform(clips)
    real = batch["mel"][batch["mask"]]
    torch.testing.assert_close(real.mean(0), torch.zeros(40), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.std(0, correction=0), torch.ones(40), atol=1e-4, rtol=0)


def test_silence_alone_is_no_outlier():
    transform = MelTransform()
    transform.fit([(torch.zeros(1, 4000), 16000)])
    assert not transform([(torch.zeros(1, 4000), 16000)])["mel"].any()


@pytest.mark.parametrize(("shape", "rate"), [((1, 1), 16000), ((2, 1), 96000), ((1, 399), 16000), ((8, 2400), 96000)])
def test_a_clip_shorter_than_a_window_is_one_frame(shape, rate):
    batch = MelTransform()([(noise(*shape), rate)])
    assert batch["mel"].shape == (1, 1, 40)
    assert batch["mask"].all()
    assert torch.isfinite(batch["mel"]).all()


def test_channels_are_mixed_and_rates_brought_together():
    def tone(rate, channels):
        time = torch.arange(rate) / rate
        return torch.sin(2 * math.pi * 1000 * time).expand(channels, -1), rate

    transform = MelTransform()
    batch = transform([tone(16000, 1), tone(96000, 8), tone(44100, 2), tone(8000, 1), tone(44101, 1)])
    assert batch["mask"].sum(1).max() - batch["mask"].sum(1).min() <= 1
    middle = batch["mel"][:, 10:80]
    loudest = middle.argmax(2)
    assert (loudest == loudest[0, 0]).all()
    peak = middle.amax(2)
    torch.testing.assert_close(peak, peak[:1].expand_as(peak), atol=0.05, rtol=0)


def test_what_is_too_long_is_cut():
    batch = MelTransform(seconds=0.1)([(noise(1, 16000), 16000)])
    assert batch["mel"].shape[1] == 1 + (1600 - 400) // 160


def test_masks_hide_one_span_of_time_and_one_of_bands():
    clips = [(noise(1, 6000, seed=seed), 16000) for seed in range(4)]
    transform = MelTransform(time_mask=0.4, band_mask=0.4)
    transform.fit(clips)
    clean = transform(clips)["mel"]
    sizes = set()
    for seed in range(10):
        masked = transform(clips, torch.Generator().manual_seed(seed))["mel"]
        hidden = masked != clean
        assert not masked[hidden].any()
        for row in hidden:
            times, bands = row.all(1).nonzero().flatten(), row.all(0).nonzero().flatten()
            assert torch.equal(row, row.all(1, keepdim=True) | row.all(0, keepdim=True))
            for places, size in ((times, len(row)), (bands, 40)):
                assert len(places) <= 0.4 * size
                assert places.tolist() == list(range(places[0], places[-1] + 1)) if len(places) else True
            sizes.add((len(times) > 0, len(bands) > 0))
    assert (True, True) in sizes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.00001}, "window 1e-05 s and hop 0.01 s are 0 and 160 samples"),
        ({"hop": 0.00001}, "are 400 and 0 samples at rate 16000"),
        ({"low": 9000.0}, "low 9000.0 and high 8000.0 Hz do not fit rate 16000"),
        ({"high": 9000.0}, "low < high <= 8000.0 is needed"),
        ({"mels": 300}, "mels 300 leave band 0 without a frequency at rate 16000 and window 0.025 s; take fewer"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MelTransform(**options)
