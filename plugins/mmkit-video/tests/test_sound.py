"""The sound of a video: as a waveform, as an input of its own, and where there is none."""

import io

import av
import numpy as np
import pytest
import torch
from mmkit_video.sound import VideoAudio, audio_track

import mmkit
from mmkit.errors import DataError
from mmkit.experiments.plan import plan


def tone(seconds=1.0, pitches=(440,)):
    at = np.arange(int(16000 * seconds)) / 16000
    return np.stack([0.3 * np.sin(2 * np.pi * pitch * at) for pitch in pitches])


@pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.mkv", "mpeg4.avi"])
@pytest.mark.parametrize("pitches", [(440,), (440, 880)])
def test_the_waveform_is_what_was_written(film, name, pitches):
    wave, rate = audio_track(film(name, sound=tone(pitches=pitches)))
    assert (wave.dtype, wave.shape[0], rate) == (torch.float32, len(pitches), 16000)
    for channel, pitch in zip(wave, pitches, strict=True):
        assert 0.9 < len(channel) / 16000 < 1.2
        spectrum = torch.fft.rfft(channel).abs()
        assert spectrum.argmax() * 16000 / len(channel) == pytest.approx(pitch, abs=3)
        assert channel.abs().max() == pytest.approx(0.3, abs=0.1)


def test_it_is_what_a_frame_by_frame_decode_gives(film):
    path = film(sound=tone(pitches=(440, 600)))
    with av.open(str(path)) as container:
        expected = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)
    assert np.array_equal(audio_track(path)[0].numpy(), expected)  # aac is decoded as planes of floats


def test_whole_numbers_are_scaled(tmp_path):
    given = np.random.default_rng(0).integers(-32768, 32768, (1, 2000), dtype=np.int16)
    with av.open(str(tmp_path / "s.wav"), "w") as made:
        track = made.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(given, format="s16", layout="mono")
        frame.sample_rate = 8000
        made.mux(track.encode(frame))
    wave, rate = audio_track(str(tmp_path / "s.wav"))
    assert rate == 8000
    assert np.allclose(wave.numpy(), given / 32768, atol=1e-6)


def broadcast(rate, layout):
    """A second of a tone of 440 Hz as a transport stream; such streams may be put one behind the other."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mpegts") as made:
        track = made.add_stream("mp2", rate=rate, layout=layout)
        channels = track.layout.nb_channels
        wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
        for start in range(0, rate - 1151, 1152):
            frame = av.AudioFrame.from_ndarray(
                wave[start : start + 1152].repeat(channels)[None], format="s16", layout=layout
            )
            frame.sample_rate, frame.pts = rate, start
            made.mux(track.encode(frame))
        made.mux(track.encode(None))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("first", "then"),
    [((48000, "mono"), (32000, "mono")), ((48000, "mono"), (48000, "stereo")), ((32000, "stereo"), (48000, "mono"))],
)
def test_a_track_that_changes_on_its_way_keeps_the_rate_and_the_channels_that_it_begins_with(first, then):
    wave, rate = audio_track(broadcast(*first) + broadcast(*then))
    assert (rate, len(wave)) == (first[0], {"mono": 1, "stereo": 2}[first[1]])
    assert wave.shape[1] / rate == pytest.approx(2, abs=0.1)
    for part in (wave[0, : rate // 2], wave[0, -rate // 2 :]):
        assert torch.fft.rfft(part).abs().argmax() * rate / len(part) == pytest.approx(440, abs=3)


def test_a_video_without_a_track_is_missing(film):
    assert audio_track(film()) is None
    assert VideoAudio().decode(film().read_bytes()) is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("/nowhere/film.mp4", "there is no video file at /nowhere/film.mp4"),
        (b"", "a video of zero bytes"),
        (b"hello" * 100, "cannot be read"),
        (object(), "a file with sound is a path or bytes; got object"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nhi\n\n", "has neither pictures nor sound"),
        ((torch.zeros(0), 16000), "a waveform holds no sample"),
        ((torch.zeros(1, 8), 0.5), "a positive whole number of samples per second; got 0.5"),
        ((torch.full((1, 8), torch.nan), 8000), "NaN or infinity"),
    ],
)
def test_what_is_not_possible_is_said(raw, said):
    with pytest.raises(DataError, match=said):
        VideoAudio().decode(raw)


def test_it_is_a_raw_value_of_audio_as_well(film):
    track = audio_track(film(sound=tone()))
    audio = mmkit.installed().find("modality", "audio").load()()
    assert torch.equal(audio.decode(track)[0], track[0])


class Films:
    description = "Nothing is read."

    def __init__(self):
        self.inputs = {"frames": "video", "sound": "video-audio"}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}


def test_every_encoder_of_audio_reads_it():
    asked = plan(mmkit.installed(), task=Films, encoders={"sound": ["mel-cnn", "mel-rnn"]}, fusions=["concat"])
    assert [str(c.encoders["sound"]) for c in asked.combinations] == ["mel-cnn", "mel-rnn"]
    assert {name: str(c) for name, c in plan(mmkit.installed(), task=Films).combinations[0].encoders.items()} == {
        "frames": "video-cnn",
        "sound": "mel-cnn",
    }
    with pytest.raises(mmkit.MmkitError, match=r"encoder fcn reads series, and input .* is audio or video-audio"):
        plan(mmkit.installed(), task=Films, encoders={"sound": ["fcn"]})
