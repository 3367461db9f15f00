"""Which frames are taken, against what the words say."""

import pytest
import torch
from mmkit_video.sampling import Sampling


def times(count, rate=10.0):
    return torch.arange(count, dtype=torch.float64) / rate


@pytest.mark.parametrize("how", ["uniform", "segments"])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 8, 9, 24, 300])
@pytest.mark.parametrize("frames", [1, 3, 8])
def test_without_a_generator_the_middle_of_each_part_is_taken(how, count, frames):
    found = Sampling(how, frames, 1.0)(times(count))
    assert found == [int((part + 0.5) * count / frames) for part in range(frames)]
    assert 0 <= min(found) <= max(found) < count


@pytest.mark.parametrize("count", [8, 10, 24, 61])
def test_segments_draw_one_frame_of_each_part_evenly(count):
    sampling, generator = Sampling("segments", 5, 1.0), torch.Generator().manual_seed(0)
    draws = torch.tensor([sampling(times(count), generator) for _ in range(2000)])
    for part in range(5):
        first, end = part * count // 5, (part + 1) * count // 5
        seen = torch.bincount(draws[:, part] - first, minlength=end - first) / 2000
        assert len(seen) == end - first
        assert (seen - 1 / len(seen)).abs().max() < 0.05


def test_a_video_of_fewer_frames_than_segments_gives_some_twice():
    sampling = Sampling("segments", 8, 1.0)
    found = sampling(times(3), torch.Generator().manual_seed(0))
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}


def test_fps_takes_what_is_shown_at_each_time():
    uneven = torch.tensor([0.0, 0.1, 0.5, 0.55, 1.0, 1.9], dtype=torch.float64)
    for fps, most in ((2.0, 9), (4.0, 9), (10.0, 100), (2.0, 3), (0.1, 4)):
        asked = [k / fps for k in range(most) if k / fps <= 1.9 + 1e-9]
        expected = [max(i for i, time in enumerate(uneven.tolist()) if time <= at + 1e-9) for at in asked]
        assert Sampling("fps", most, fps)(uneven) == expected


def test_fps_may_be_filled_up_with_the_last_frame():
    assert Sampling("fps", 6, 5.0, fill=True)(times(5)) == [0, 2, 4, 4, 4, 4]
    assert Sampling("fps", 2, 5.0, fill=True)(times(5)) == [0, 2]


def test_fps_of_the_video_itself_takes_every_frame():
    assert Sampling("fps", 1000, 30000 / 1001)(times(300, 30000 / 1001)) == list(range(300))


def test_draws_come_from_the_generator_alone_and_only_segments_draw():
    before = torch.get_rng_state()
    one, again = (Sampling("segments", 8, 1.0)(times(90), torch.Generator().manual_seed(3)) for _ in range(2))
    assert one == again != Sampling("segments", 8, 1.0)(times(90), torch.Generator().manual_seed(4))
    assert torch.equal(before, torch.get_rng_state())
    assert Sampling("uniform", 8, 1.0)(times(90), torch.Generator()) == Sampling("uniform", 8, 1.0)(times(90))
    assert [Sampling(how, 8, 1.0).random for how in ("uniform", "segments", "fps")] == [False, True, False]


@pytest.mark.parametrize(("how", "frames", "fps"), [("middle", 8, 1.0), ("uniform", 0, 1.0), ("fps", 8, 0.0)])
def test_what_is_not_possible_is_said(how, frames, fps):
    with pytest.raises(
        ValueError, match=f"sampling is {how}, frames {frames}, fps {fps}; expected uniform, segments, fps"
    ):
        Sampling(how, frames, fps)
