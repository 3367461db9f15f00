"""What is a video, and what is refused: files in every state of decay, and arrays."""

import pickle

import av
import numpy as np
import pytest
import torch
from mmkit_video.contents import contents
from mmkit_video.modality import Video
from mmkit_video.reading import frames_of

from mmkit.errors import DataError
from mmkit.system.hashing import digest

HUGE = (
    b"GIF89a"
    + b"\x60\xea" * 2
    + b"\x80\0\0"
    + b"\0\0\0\xff\xff\xff"
    + b","
    + b"\0" * 4
    + b"\x60\xea" * 2
    + b"\0\x02\x02\x44\x01\0;"
)
"""A GIF of 60,000 x 60,000."""
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"


def refused(raw, said):
    with pytest.raises(DataError, match=said) as caught:
        Video().decode(raw)
    assert "\n" not in str(caught.value)


class TestFiles:
    def test_frames_stay_encoded_until_they_are_asked_for(self, film):
        path = film(count=300, size=(64, 96))
        clip = Video().decode(path)
        assert len(pickle.dumps(clip)) < 12_000 < 300 * 64 * 96 * 3
        assert Video().decode(clip) is clip

    def test_it_can_be_pickled_and_told_from_others_by_the_cache(self, film):
        path = film()
        clip = Video().decode(path)
        assert digest(clip) == digest(pickle.loads(pickle.dumps(clip))) == digest(Video().decode(path))
        film(count=34)
        assert digest(Video().decode(path)) != digest(clip)
        # Of the same length and times, with other pictures.
        one, other = film(gop=5).read_bytes(), film(gop=10, size=(32, 50)).read_bytes()
        assert digest(Video().decode(one)) != digest(Video().decode(other))

    def test_a_new_file_under_an_old_name_is_another_value(self, film, writer):
        dark, light = (np.full((4, 32, 32, 3), level, np.uint8) for level in (20, 220))
        first = Video().decode(writer(film(), dark))
        second = Video().decode(writer(film(), light))
        assert torch.equal(first["times"], second["times"])
        assert digest(first) != digest(second)

    def test_what_is_not_there_is_said(self, tmp_path):
        refused(tmp_path / "none.mp4", r"there is no video file at .*none\.mp4")
        refused(str(tmp_path), "there is no video file at")

    def test_zero_bytes(self, tmp_path):
        refused(b"", "a video of zero bytes was given; give None where the video is missing")
        (tmp_path / "empty.mp4").write_bytes(b"")
        refused(tmp_path / "empty.mp4", r"empty\.mp4 is a file of zero bytes; give None where the video is missing")

    def test_what_is_no_video(self, tmp_path):
        refused(b"hello" * 100, "the 500 bytes given as a video cannot be read: Invalid data")
        (tmp_path / "notes.mp4").write_text("A text is no video.\n" * 30)
        refused(tmp_path / "notes.mp4", "notes.mp4 cannot be read")
        refused(object(), r"a video is a path, the bytes of a file, or \(frames, frames per second\); got object")

    @pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.mkv", "vp9.webm", "mpeg4.avi"])
    def test_a_file_that_is_cut_off(self, film, name):
        path = film(name)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        refused(path, "cut off|cannot be read: Invalid data")

    @pytest.mark.parametrize("start", [100, 200, 1000, 100_000])
    @pytest.mark.parametrize("name", ["mpeg4.mkv", "b-frames.mkv", "vp8.webm", "b-frames.mp4", "b-frames.ts"])
    def test_a_whole_file_that_starts_late(self, film, slow, name, start):
        path = film(name, at=[start + 100 * number for number in range(35)])
        clip = Video().decode(path)
        frames, times = slow(path)
        assert len(frames) == 35
        np.testing.assert_allclose(clip["times"].numpy(), np.array(times) - times[0], atol=1e-6)
        picked = frames_of(clip, [0, 20, 34])
        for number, frame in zip((0, 20, 34), picked, strict=True):
            assert np.array_equal(frame.permute(1, 2, 0).numpy(), frames[number])

    @pytest.mark.parametrize("name", ["mpeg4.mkv", "b-frames.mkv"])
    def test_a_file_that_starts_late_and_is_cut_off(self, film, name):
        path = film(name, at=[10_000 + 100 * number for number in range(35)])
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        refused(path, "is cut off: the last|cannot be read: Invalid data")

    @pytest.mark.parametrize("lacking", [5, 1000])
    def test_a_file_with_its_head_first_that_is_cut_off(self, film, tmp_path, lacking):
        with (
            av.open(str(film())) as given,
            av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as made,
        ):
            stream = made.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    made.mux(packet)
        data = (tmp_path / "f.mp4").read_bytes()
        assert len(Video().decode(data)["times"]) == 35
        refused(data[:-lacking], "is damaged or cut off after|is cut off: it holds")

    @pytest.fixture
    def torn(self, film):
        """Gives a film of which one packet says that it is larger than the file."""

        def make(number):
            path = film(count=40)
            with av.open(str(path)) as container:
                places = [packet.pos for packet in container.demux(video=0) if packet.size]
            data = bytearray(path.read_bytes())
            data[places[number] : places[number] + 4] = b"\x7f\xff\xff\xff"
            return bytes(data)

        return make

    @pytest.mark.parametrize("number", [0, 39])
    def test_damage_at_an_end_is_found_when_it_is_read(self, torn, number):
        refused(torn(number), "the [0-9]+ bytes given as a video cannot be read: Invalid data")

    def test_damage_between_is_found_when_its_frames_are_asked_for(self, torn, film):
        whole = Video().decode(film(count=40))
        clip = Video().decode(torn(20))
        for number in (0, 9, 35):
            assert torch.equal(frames_of(clip, [number])[0], frames_of(whole, [number])[0])
        with pytest.raises(DataError, match=r"the [0-9]+ bytes given as a video cannot be read: Invalid data"):
            frames_of(clip, [9, 25])

    def test_without_a_video_stream(self, tmp_path):
        with av.open(str(tmp_path / "s.wav"), "w") as made:
            track = made.add_stream("pcm_s16le", rate=16000, layout="mono")
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
            wave.sample_rate = 16000
            made.mux(track.encode(wave))
        refused(tmp_path / "s.wav", r"s\.wav has no video stream; it holds audio")

    def test_a_cover_picture_is_no_video(self, film, tmp_path):
        with av.open(str(tmp_path / "song.mp4"), "w") as made:
            cover = made.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            made.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            made.mux(cover.encode())
        refused(tmp_path / "song.mp4", "song.mp4 has no video stream; it holds video|cannot be read")

    def test_without_a_frame(self, film):
        # The head of an uncompressed film, and nothing after it.
        refused(b"YUV4MPEG2 W32 H32 F25:1 C420\n", "has a video stream without a frame")

    def test_a_huge_size_is_refused_before_memory_is_taken(self):
        refused(
            b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n" + b"\0" * 100, "cannot be read|at most 134,217,728 pixels"
        )
        refused(HUGE, "cannot be read|at most 134,217,728 pixels")

    def test_frames_of_a_size_that_a_decoder_would_take_are_limited(self, film, monkeypatch):
        monkeypatch.setattr("mmkit_video.source.MOST_PIXELS", 1000)
        refused(film(), "has frames of 48 x 32; at most 1,000 pixels are read")

    @pytest.mark.parametrize("at", ["{path}", "http://127.0.0.1:9/film.ts"])
    def test_a_playlist_opens_no_other_file(self, film, tmp_path, at):
        (tmp_path / "list.m3u8").write_text(PLAYLIST.format(at.format(path=film("b-frames.ts"))))
        refused(tmp_path / "list.m3u8", "cannot be read")

    def test_a_film_of_one_frame(self, film, slow):
        path = film(count=1)
        clip = Video().decode(path)
        assert clip["times"].tolist() == [0]
        assert np.array_equal(frames_of(clip, [0, 0])[1].permute(1, 2, 0).numpy(), slow(path)[0][0])

    @pytest.mark.parametrize("name", ["b-frames.mp4", "mpeg2.mpg", "vp9.webm"])
    def test_packets_say_what_a_full_decode_says(self, film, slow, name):
        path = film(name)
        found, times = contents(str(path)), slow(path)[1]
        assert np.allclose(found.times.numpy(), np.array(times) - times[0])
        assert set(found.keys.tolist()) <= set(found.pts.tolist())
        assert len(found.keys) >= (35 - 1) // 10


class TestArrays:
    @pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
    def test_frames_with_a_rate(self, kind):
        frames = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), dtype=np.uint8)
        clip = Video().decode((kind(frames), 2.5))
        assert torch.equal(clip["frames"], torch.from_numpy(frames).permute(0, 3, 1, 2))
        assert clip["times"].tolist() == [0, 0.4, 0.8, 1.2, 1.6]
        frames[:] = 0
        assert clip["frames"].any()  # a copy

    @pytest.mark.parametrize(
        "change",
        [
            lambda a: a.astype(">u2") * np.uint16(257),
            lambda a: (a / 255).astype(">f4"),
            lambda a: a.astype(np.uint64),
            lambda a: a[::-1].copy()[::-1],
            lambda a: a[..., ::-1].copy()[..., ::-1],
        ],
    )
    def test_arrays_of_any_make(self, change):
        frames = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), dtype=np.uint8)
        assert np.array_equal(Video().decode((change(frames), 25))["frames"].permute(0, 2, 3, 1).numpy(), frames)

    def test_channels_first_and_grey_and_floats(self):
        grey = torch.rand(4, 1, 6, 7)
        clip = Video().decode((grey, 25))
        assert torch.equal(clip["frames"], (grey * 255).round().to(torch.uint8).expand(-1, 3, -1, -1))
        both = torch.randint(0, 256, (2, 3, 5, 3))
        assert torch.equal(Video().decode((both, 1))["frames"], both.to(torch.uint8))
        assert torch.equal(Video().decode((both.numpy(), 1))["frames"], both.to(torch.uint8).permute(0, 3, 1, 2))

    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            ((np.zeros((0, 8, 8, 3)), 25), r"not empty; got shape \[0, 8, 8, 3\]"),
            ((np.zeros((8, 8, 3)), 25), r"frames are \[T H W C\] or \[T C H W\], and not empty; got shape \[8, 8, 3\]"),
            ((np.zeros((2, 8, 8, 4)), 25), r"frames have 1 or 3 channels.*got shape \[2, 8, 8, 4\]"),
            ((np.zeros((2, 8, 8, 3)), 0), "frames per second are a number above 0; got 0"),
            ((np.zeros((2, 8, 8, 3)), float("nan")), "frames per second are a number above 0; got nan"),
            ((np.zeros((2, 8, 8, 3)), "fast"), "frames per second are a number above 0; got 'fast'"),
            ((np.full((2, 8, 8, 3), 1.5), 25), "an array of frames of float64 holds 0 to 1; got 1.5 to 1.5"),
            ((np.full((2, 8, 8, 3), np.nan), 25), "an array of frames of float64 holds 0 to 1; got nan to nan"),
            ((np.full((2, 8, 8, 3), -1), 25), "an array of frames of int64 holds 0 to 255; got -1 to -1"),
            ((np.zeros((2, 8, 8, 3), complex), 25), "an array of frames holds real numbers; got complex ones"),
            ((["a"], 25), "a video is .array of frames, frames per second.; got list"),
            (np.zeros((2, 8, 8, 3)), "got ndarray"),
        ],
    )
    def test_what_is_not_possible_is_said(self, raw, said):
        refused(raw, said)
