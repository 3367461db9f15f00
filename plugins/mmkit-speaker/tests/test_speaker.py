"""The voice encoder: its frames and vectors against slow forms of their own, and what it refuses."""

import importlib.util
import math
from pathlib import Path

import mmkit_speaker.encoder
import numpy as np
import pytest
import torch
from mmkit_speaker.encoder import SpeakerEncoder
from mmkit_speaker.transform import SpeakerTransform, pieces

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check, tiny_task

PACKAGE = importlib.util.find_spec("resemblyzer")


def voice(pitch, seconds=2.0, rate=16_000, seed=0):
    """A buzz with formants: not a voice, but of its kind."""
    time = torch.arange(int(seconds * rate)) / rate
    wobble = 2 * math.pi * pitch * (time + 0.002 * torch.sin(2 * math.pi * 5 * time))
    buzz = sum(torch.sin(k * wobble) / k for k in range(1, 20))
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(seed))
    return (0.05 * buzz + 0.001 * noise).unsqueeze(0), rate


def slow_mel(wave):
    """[frames 40] by a loop over frames, from the definitions, in float64."""
    padded = np.pad(wave.double().numpy(), 200)
    hz = lambda mel: np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))  # noqa: E731
    corners = hz(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 42))
    bins = np.linspace(0, 8000, 201)
    rows = []
    for start in range(0, len(wave) + 1, 160):
        frame = padded[start : start + 400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
        power = np.abs(np.fft.rfft(frame)) ** 2
        row = []
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
            triangle = np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
            row.append((triangle * 2 / (high - low)) @ power)
        rows.append(row)
    return torch.tensor(np.array(rows))


def test_frames_are_those_of_the_definition():
    wave, rate = voice(120, seconds=1.6)
    loud = (
        wave[0] * (10 ** (-30 / 20) / wave[0].square().mean().sqrt())
        if wave.square().mean().sqrt() < 0.0316
        else wave[0]
    )
    batch = SpeakerTransform()([(wave, rate)])
    assert batch["mel"].shape == (1, 1, 160, 40)
    torch.testing.assert_close(batch["mel"][0, 0].double(), slow_mel(loud)[:160], rtol=1e-3, atol=1e-6)


# A piece is 1.6 s, the second begins at 77 frames, .77 s: three quarters of it are sound from 1.97 s on.
@pytest.mark.parametrize(
    ("seconds", "starts"), [(0.01, [0]), (1.6, [0]), (1.95, [0]), (1.98, [0, 77]), (2.7, [0, 77]), (3.0, [0, 77, 154])]
)
def test_a_clip_is_cut_into_pieces_of_which_the_last_is_mostly_sound(seconds, starts):
    assert pieces(int(seconds * 16_000)) == starts


def test_quiet_clips_are_raised_and_loud_ones_left():
    wave, rate = voice(120)
    transform = SpeakerTransform()
    quiet = [transform([(wave * factor, rate)])["mel"] for factor in (1e-2, 1e-3)]
    torch.testing.assert_close(quiet[0], quiet[1], rtol=1e-3, atol=1e-7)
    loud = [transform([(wave * factor, rate)])["mel"] for factor in (4, 8)]
    torch.testing.assert_close(4 * loud[0], loud[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "rate", "samples"),
    [(8, 96_000, 96_000), (1, 16_000, 1), (2, 8_000, 12_000), (1, 44_100, 441), (1, 44_101, 44_101)],
)
def test_any_rate_length_and_number_of_channels_is_taken(channels, rate, samples):
    wave = 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(0))
    encoder = SpeakerEncoder(SpeakerTransform(), weights="none")
    features = encoder(SpeakerTransform()([(wave, rate), None]))
    assert features.tokens.isfinite().all()
    assert features.present().tolist() == [True, False]
    assert features.vector()[1].abs().max() == 0


def test_sound_of_zero_length_is_named():
    from mmkit.data.splits import Splits
    from mmkit.modalities.audio import Audio

    class Broken:
        inputs, target = {"a": "audio"}, "classes"

        def split(self, name):
            return mmkit.Samples(["first", "second"], {"a": [voice(120), (torch.zeros(1, 0), 16_000)]}, ["x", "y"])

    with pytest.raises(DataError, match=r"second.*holds no sample"):
        Splits(Broken(), {"a": Audio()})("train")


def test_silence_is_finite():
    encoder = SpeakerEncoder(SpeakerTransform(), weights="none")
    assert encoder(SpeakerTransform()([(torch.zeros(1, 16_000), 16_000)])).vector().isfinite().all()


def test_the_contract_is_kept():
    report = check("encoder", "speaker")
    assert report.ok, report


def test_it_stays_frozen_through_training_and_is_saved_whole(tmp_path):
    def call(number, generator):
        return voice(100 + 100 * (number % 2), 0.5, seed=number)

    task = tiny_task({"a": "audio", "b": "table"}, {"a": call}, train=12, held_out=8)
    model, record = mmkit.fit(
        task=task,
        encoders={"a": "speaker:weights=none"},
        fusion="concat",
        training={"epochs": 2, "min_steps": 0},
        device="cpu",
    )
    assert record.encoded_once == ["a"]
    model.save(tmp_path / "model")
    samples = [{"a": voice(150)}, {"b": {"x": 1.0}}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


class TestWeights:
    def test_without_the_package_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(mmkit_speaker.encoder, "PACKAGE", "not_installed_here")
        with pytest.raises(DataError, match="pip install --no-deps not_installed_here; or give a file"):
            SpeakerEncoder(SpeakerTransform())

    def test_a_file_of_something_else_is_refused(self, tmp_path):
        torch.save({"model_state": {"x": torch.ones(1)}}, tmp_path / "x.pt")
        with pytest.raises(DataError, match=r"does not fit the model: it lacks 14: linear\.bias"):
            SpeakerEncoder(SpeakerTransform(), weights=str(tmp_path / "x.pt"))

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
        with pytest.raises(DataError, match="holds no weights that can be read safely"):
            SpeakerEncoder(SpeakerTransform(), weights=str(tmp_path / "evil.pt"))
        assert not (tmp_path / "owned").exists()

    @pytest.mark.skipif(PACKAGE is None, reason="resemblyzer is not installed")
    def test_the_real_weights_against_an_lstm_written_out(self):
        state = torch.load(Path(PACKAGE.submodule_search_locations[0]) / "pretrained.pt", "cpu", weights_only=True)[
            "model_state"
        ]
        batch = SpeakerTransform()([voice(120)])
        features = SpeakerEncoder(SpeakerTransform())(batch)
        x = batch["mel"][0, 0].double()
        for layer in range(3):
            w, u, b, c = (
                state[f"lstm.{n}_l{layer}"].double() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h, cell, states = torch.zeros(256).double(), torch.zeros(256).double(), []
            for frame in x:
                i, f, g, o = (w @ frame + b + u @ h + c).chunk(4)
                cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
                h = o.sigmoid() * cell.tanh()
                states.append(h)
            x = torch.stack(states)
        vector = (state["linear.weight"].double() @ x[-1] + state["linear.bias"].double()).relu()
        torch.testing.assert_close(features.tokens[0, 0].double(), vector / vector.norm(), atol=1e-5, rtol=1e-4)
