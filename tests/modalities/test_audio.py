"""What sound may be given as, and what is refused."""

import io

import numpy as np
import pytest
import soundfile
import torch

from mmkit.errors import DataError
from mmkit.modalities.audio import Audio


def encoded(waveform, rate=16000, fmt="WAV", **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format=fmt, **options)
    return buffer.getvalue()


@pytest.fixture
def stereo():
    return 0.3 * np.sin(np.arange(3200).reshape(1600, 2) / 20)


def test_path_bytes_and_waveform_agree(tmp_path, stereo):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(stereo, 8000, subtype="FLOAT"))
    expected = torch.from_numpy(stereo).float().T
    for raw in (path, str(path), path.read_bytes(), (stereo.T, 8000), (torch.from_numpy(stereo).T, 8000.0)):
        waveform, rate = Audio().decode(raw)
        assert rate == 8000
        torch.testing.assert_close(waveform, expected)


@pytest.mark.parametrize("fmt", ["WAV", "FLAC", "OGG", "MP3"])
def test_formats(fmt, stereo):
    waveform, rate = Audio().decode(encoded(stereo, 44100, fmt))
    assert rate == 44100
    assert waveform.shape[0] == 2
    assert waveform.shape[1] == 1600
    assert 0.2 < waveform.abs().max() < 0.4


def test_integers_are_scaled_by_their_range():
    assert Audio().decode((np.array([-32768, 0, 16384], dtype=np.int16), 8000))[0].tolist() == [[-1.0, 0.0, 0.5]]
    assert Audio().decode((np.array([0, 128, 192], dtype=np.uint8), 8000))[0].tolist() == [[-1.0, 0.0, 0.5]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("/no/such.wav", "there is no sound file at /no/such.wav"),
        (b"", "the 0 bytes given as sound cannot be read"),
        (b"RIFF____WAVEfmt ", "cannot be read as sound"),
        (encoded(np.zeros((0, 1))), r"holds no sample .*give None where the sound is missing"),
        ((np.zeros((1, 0)), 8000), r"holds no sample \(shape \[1, 0\]\)"),
        ((np.zeros((0, 5)), 8000), "holds no sample"),
        ((np.zeros((1, 2, 3)), 8000), r"got shape \[1, 2, 3\]"),
        ((np.array([0.0, np.nan]), 8000), "holds NaN or infinity"),
        ((np.zeros(4), 0), "positive whole number of samples per second; got 0"),
        ((np.zeros(4), 8000.5), "got 8000.5"),
        ((np.zeros(4), float("nan")), "got nan"),
        ((np.zeros(4), "8000"), "got '8000'"),
        ((np.zeros(4), None), "got None"),
        ((np.array(["a"]), 8000), "array of numbers"),
        ((np.array([1j]), 8000), "real numbers"),
        (np.zeros(4), r"or \(waveform \[channels time\], rate\); got ndarray"),
        (5, "got int"),
    ],
)
def test_what_is_no_sound_is_refused(raw, message):
    with pytest.raises(DataError, match=message):
        Audio().decode(raw)


def test_examples_are_values():
    waveform, rate = Audio().example(torch.Generator().manual_seed(0))
    decoded, same = Audio().decode((waveform, rate))
    assert same == rate
    assert torch.equal(decoded, waveform)
