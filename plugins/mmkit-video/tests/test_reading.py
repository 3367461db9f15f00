"""Frames by their numbers: the same as those of a full decode, whatever the file is like."""

import random
from contextlib import contextmanager
from pathlib import Path

import mmkit_video.reading
import mmkit_video.source
import numpy as np
import pytest
import torch
from mmkit_video.modality import Video
from mmkit_video.reading import frames_of

import mmkit.errors

FILES = [
    "b-frames.mp4",
    "open-gop.mp4",
    "refresh.mp4",
    "refresh.mkv",
    "b-frames.mkv",
    "b-frames.ts",
    "raw.h264",
    "mpeg4.avi",
    "mpeg4.mp4",
    "mpeg2.mpg",
    "mpeg2.mkv",
    "mpeg4.mkv",
    "vp8.webm",
    "vp9.webm",
    "h265.mp4",
    "jpeg.avi",
    "uneven.mp4",
    "uneven.mkv",
]


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_a_full_decode_at_the_same_numbers(film, slow, name):
    path = film(name)
    expected, _ = slow(path)
    clip = Video().decode(path)
    assert len(clip["times"]) == len(expected) == 35
    draw = random.Random(0)
    for wanted in [
        [0],
        [34],
        [17],
        list(range(35)),
        *(draw.choices(range(35), k=draw.choice([2, 5])) for _ in range(12)),
    ]:
        found = torch.stack(frames_of(clip, wanted)).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(found, expected[wanted]), wanted


@pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.ts", "uneven.mp4", "uneven.mkv"])
def test_times_are_those_of_the_frames(film, slow, name):
    path = film(name)
    _, times = slow(path)
    clip = Video().decode(path)
    assert clip["times"].dtype == torch.float64
    assert np.allclose(clip["times"].numpy(), np.array(times) - times[0])


def test_the_same_from_bytes_as_from_a_path(film):
    path = film()
    one, other = Video().decode(path), Video().decode(path.read_bytes())
    assert all(map(torch.equal, frames_of(one, [3, 30]), frames_of(other, [3, 30])))


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, 3), (180, 2)])
def test_a_rotation_that_the_file_asks_for_is_applied(film, slow, rotation, turns):
    path = film("turned.mp4", count=3, rotation=rotation)
    (found,) = frames_of(Video().decode(path), [1])
    # A quarter against the clock for every 90 degrees, as np.rot90 turns.
    assert np.array_equal(found.permute(1, 2, 0).numpy(), np.rot90(slow(path)[0][1], turns))


class Counted:
    """A container that counts the frames it decodes."""

    def __init__(self, container, counts):
        self.container, self.counts = container, counts

    def __getattr__(self, name):
        return getattr(self.container, name)

    def decode(self, stream):
        for frame in self.container.decode(stream):
            self.counts.append(frame.pts)
            yield frame


@pytest.fixture
def counts(monkeypatch):
    found, opened = [], mmkit_video.source.opened

    @contextmanager
    def counting(source):
        with opened(source) as container:
            yield Counted(container, found)

    monkeypatch.setattr(mmkit_video.reading, "opened", counting)
    return found


@pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.mkv", "jpeg.avi"])
def test_no_more_is_decoded_than_from_the_keyframe_before(film, counts, name):
    clip = Video().decode(film(name, count=200))
    counts.clear()
    frames_of(clip, [5, 195])
    assert len(counts) <= 6 + 10 + 4  # to the first, from the last keyframe, and what the decoder looks ahead


class Astray(Counted):
    """A container whose index is wrong: a jump lands at the next keyframe but one."""

    def seek(self, offset, *, stream):
        self.container.seek(offset + round(1 / (stream.average_rate * stream.time_base)) * 12, stream=stream)


@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mp4", "mpeg2.mkv", "mpeg4.mkv"])
def test_where_an_index_leads_astray_the_file_is_read_from_its_start(film, slow, monkeypatch, name):
    path = film(name, count=60)
    clip, (expected, _) = Video().decode(path), slow(path)
    opened = mmkit_video.source.opened

    @contextmanager
    def astray(source):
        with opened(source) as container:
            yield Astray(container, [])

    monkeypatch.setattr(mmkit_video.reading, "opened", astray)
    for number in range(60):
        (found,) = frames_of(clip, [number])
        assert np.array_equal(found.permute(1, 2, 0).numpy(), expected[number]), number


def test_a_file_that_was_changed_meanwhile_is_said(film):
    path = film()
    clip = Video().decode(path)
    film(count=5)
    with pytest.raises(mmkit.errors.DataError, match=r"frame 20 of .*b-frames\.mp4 no longer exists"):
        frames_of(clip, [20])


def left_open():
    return [len(list(Path(f"/proc/self/{what}").iterdir())) for what in ("task", "fd")]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list its threads")
def test_no_thread_and_no_file_is_left_open(film):
    path = film()
    frames_of(Video().decode(path), [0])
    before = left_open()
    for _ in range(3):
        frames_of(Video().decode(path), [3, 30])
    assert left_open() == before
