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


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_waveform_as_soundfile_reads_it_is_the_file(channels):
    file = encoded(0.3 * np.random.default_rng(0).uniform(-1, 1, (800, channels)), subtype="FLOAT")
    expected = Audio().decode(file)[0]
    assert expected.shape == (channels, 800)
    for dtype in ("float32", "float64"):
        waveform, rate = soundfile.read(io.BytesIO(file), dtype=dtype, always_2d=True)
        for raw in (waveform, waveform.T, torch.from_numpy(waveform)):
            assert torch.equal(Audio().decode((raw, rate))[0], expected)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_integers_as_soundfile_reads_them_are_the_file(dtype):
    file = encoded(0.3 * np.random.default_rng(0).uniform(-1, 1, 800), subtype="PCM_16")
    waveform, rate = soundfile.read(io.BytesIO(file), dtype=dtype)
    assert torch.equal(Audio().decode((waveform, rate))[0], Audio().decode(file)[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(object),
        lambda a: a.tolist(),
        lambda a: np.rint(a * 32768).astype(np.int16),
        lambda a: np.rint(a * 32768).astype(">i2"),
        lambda a: np.rint(a * 2.0**31).astype(np.int32),
        lambda a: np.rint(a * 128).astype(np.int8),
        lambda a: np.rint(a * 128 + 128).astype(np.uint8),
    ],
)
def test_waveforms_of_any_make_are_read_by_their_numbers(change):
    wave = np.array([0.0, 0.5, -0.25, 0.125, -1.0], dtype=np.float32)
    assert Audio().decode((change(wave), 8000))[0].tolist() == [wave.tolist()]


SIXTEEN = np.array([0, 12000, -30000])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (SIXTEEN, "a waveform of int64 up to 30000 does not say how loud it is; give int16 or int32"),
        (SIXTEEN.tolist(), "a waveform of int64 up to 30000"),
        ([1, -1], "a waveform of int64 up to 1"),
        (SIXTEEN.astype(np.int32), "a waveform of int32 up to 30000"),
        (SIXTEEN.astype(np.uint16), "a waveform of uint16"),
        (SIXTEEN.astype(np.float32), "a waveform goes up to 30000; sound lies between -1 and 1: divide"),
        (np.zeros((50, 2)), r"is \[channels time\]; got 50 channels of 2 samples: turn it"),
        (np.zeros((100, 50)), "got 100 channels of 50 samples: turn it"),
    ],
)
def test_waveforms_that_do_not_say_how_loud_they_are_are_refused(raw, message):
    with pytest.raises(DataError, match=message):
        Audio().decode((raw, 8000))


def test_a_file_of_numbers_that_were_never_scaled_is_refused():
    with pytest.raises(DataError, match=r"the .* bytes given as sound goes up to 30000; sound lies between -1 and 1"):
        Audio().decode(encoded(SIXTEEN.astype(np.float32), subtype="FLOAT"))


def test_silence_is_silence_in_any_type():
    for kind in (np.int64, np.int32, np.int16, float):
        assert Audio().decode((np.zeros(4, kind), 8000))[0].tolist() == [[0.0] * 4]
    assert Audio().decode((np.zeros((2, 1)), 8000))[0].shape == (2, 1)


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
        ((8000, np.zeros(4)), r"got 8000: give \(waveform, rate\)"),
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
