"""Clips that follow each other, joined: frames and times against those of the parts."""

import numpy as np
import pytest
import torch
from mmkit_video.modality import Video
from mmkit_video.sound import VideoAudio

from mmkit.errors import DataError


def clip(count, start=0, rate=8):
    frames = np.arange(start, start + count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    return Video().decode((frames, rate))


def shown(value):
    return value["frames"][:, 0, 0, 0].tolist()


def test_frames_and_times_go_on():
    parts = [clip(2, 0), clip(2, 2), clip(4, 4)]
    assert [Video().length(one) for one in parts] == [0.25, 0.25, 0.5]
    whole = Video().joined(parts, 1.0)
    assert shown(whole) == list(range(8))
    assert whole["times"].tolist() == [one / 8 for one in range(8)]
    for last, count in ((0.125, 1), (0.5, 4), (0.75, 6), (9, 8)):
        found = Video().joined(parts, last)
        assert shown(found) == list(range(8 - count, 8))
        assert found["times"][0] == 0


def test_files_are_decoded_and_joined(tmp_path):
    av = pytest.importorskip("av")
    values = []
    for number in range(3):
        path = tmp_path / f"{number}.avi"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("ffv1", rate=8)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
            for frame in range(2):
                grey = np.full((32, 32, 3), 20 * (2 * number + frame), np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            file.mux(stream.encode())
        values.append(Video().decode(path.read_bytes()))
    found = Video().joined(values, 0.5)
    assert shown(found) == [40, 60, 80, 100]
    assert "source" not in found


def test_frames_of_several_sizes_are_refused():
    other = Video().decode((np.zeros((2, 8, 8, 3), np.uint8), 8))
    with pytest.raises(DataError, match="frames of one size; got"):
        Video().joined([clip(2), other], 1)


def test_more_frames_than_memory_has_are_refused(monkeypatch):
    monkeypatch.setattr("mmkit_video.modality.JOINED", 4 * 6 * 3 * 5)
    assert len(shown(Video().joined([clip(4), clip(4)], 5 / 8))) == 5
    with pytest.raises(DataError, match=r"8 frames of 6 x 4 would take 0 MB of memory; .* send smaller or fewer ones"):
        Video().joined([clip(4), clip(4)], 1)


def test_one_frame_has_a_length():
    assert Video().length(clip(1)) == 1 / 25


def test_sound_of_films_is_joined_as_sound_is():
    values = [(torch.full((1, 10), float(one)), 10) for one in range(3)]
    waveform, rate = VideoAudio().joined(values, 1.5)
    assert (waveform.flatten().tolist(), rate) == ([1.0] * 5 + [2.0] * 10, 10)
    assert VideoAudio().length(values[0]) == 1.0
