"""Cepstral coefficients against torchaudio's own, and the networks over them."""

import pytest
import torch
from mmkit_torchaudio.mfcc import MfccEncoder
from mmkit_torchaudio.mfcc_transform import MfccTransform
from torchaudio.functional import resample
from torchaudio.transforms import MFCC

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check, tiny_task

RATE = 16_000


def noise(samples, channels=1, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


CLIPS = [(noise(9000), RATE), None, (noise(4001, 2, seed=1), 8000), (noise(1, seed=2), RATE)]
REFERENCE = MFCC(
    RATE,
    n_mfcc=13,
    log_mels=True,
    melkwargs={"n_fft": 400, "hop_length": 160, "n_mels": 30, "f_min": 20.0, "center": False},
)


def test_coefficients_are_those_of_torchaudio():
    batch = MfccTransform(coefficients=13, mels=30)(CLIPS)  # not fitted: not standardised
    assert batch["mask"].sum(1).tolist() == [54, 0, 48, 1]
    for row in (0, 2):
        clip, rate = CLIPS[row]
        mono = clip.mean(0) if rate == RATE else resample(clip.mean(0), rate, RATE)
        found = batch["steps"][row][batch["mask"][row]]
        torch.testing.assert_close(found, REFERENCE(mono).T, atol=1e-4, rtol=1e-4)
    assert batch["steps"][1].abs().max() == 0


def test_they_are_standardised_by_the_training_split():
    transform = MfccTransform(coefficients=13, mels=30)
    many = [(noise(3000 + seed, seed=seed), RATE) for seed in range(70)]  # more than are measured together
    transform.fit([*many, None])
    plain = torch.cat([REFERENCE(clip[0]).T for clip, _ in many]).double()
    torch.testing.assert_close(transform.mean.double(), plain.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(transform.std.double(), plain.std(0, correction=0), atol=1e-4, rtol=1e-4)
    batch = transform(many[:2])
    expected = (plain[: len(REFERENCE(many[0][0][0]).T)] - plain.mean(0)) / plain.std(0, correction=0)
    torch.testing.assert_close(batch["steps"][0][batch["mask"][0]].double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("network", ["fcn", "lstm", "gru"])
def test_the_contract_is_kept(network):
    report = check("encoder", "mfcc", {"network": network, "width": 16, "layers": 2})
    assert report.ok, report


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="coefficients 50 are more than mels 40"):
        MfccTransform(coefficients=50)
    with pytest.raises(DataError, match="has no sound in this input"):
        MfccTransform().fit([None])


@pytest.mark.parametrize("values", [[(noise(1), RATE)], [(noise(96_000, 8), 96_000), (noise(1), 44_101)], [None, None]])
def test_any_rate_length_and_number_of_channels_is_taken(values):
    transform = MfccTransform()
    transform.fit(CLIPS)
    features = MfccEncoder(transform, width=16).eval()(transform(values))
    assert features.tokens.isfinite().all()
    assert features.present().tolist() == [value is not None for value in values]


def tone(number, generator):
    """One of two pitches in noise."""
    pitch = 300 + 900 * (number % 2)
    sound = 0.1 * torch.randn(1, 3200, generator=generator)
    return sound + 0.2 * torch.sin(6.2832 * pitch * torch.arange(3200) / RATE), RATE


@pytest.mark.parametrize("network", ["fcn", "gru"])
def test_it_learns_to_tell_pitches_apart(network):
    training = {"epochs": 10, "min_steps": 0, "lr": 0.01}
    encoder = f"mfcc:network={network},width=16,layers=2"
    task = tiny_task({"a": "audio", "b": "table"}, {"a": tone})
    _, record = mmkit.fit(task=task, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record.metrics["accuracy"] > 0.9
