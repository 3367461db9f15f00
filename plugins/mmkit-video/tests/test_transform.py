"""Batches of frames: which, how large, and moved as one."""

import pickle
from pathlib import Path

import pytest
import torch
from mmkit_video.modality import Video
from mmkit_video.reading import frames_of
from mmkit_video.transform import VideoTransform
from torchvision.transforms.v2 import functional as vision

from mmkit.errors import DataError


def array(count, size=(16, 16), seed=0, rate=8):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)
    return Video().decode((frames, rate))


def test_frames_of_a_file_are_cut_to_the_middle_and_resized_as_bytes(film, slow):
    path = film(size=(40, 64))
    batch = VideoTransform(frames=5, size=20)([Video().decode(path), None])
    expected = torch.from_numpy(slow(path)[0][[3, 10, 17, 24, 31]]).permute(0, 3, 1, 2)[..., 12:52]
    assert torch.equal(batch["pixels"][0], vision.resize(expected, [20, 20], antialias=True))
    assert batch["pixels"].dtype == torch.uint8
    assert not batch["pixels"][1].any()
    assert batch["mask"].tolist() == [[True] * 5, [False] * 5]


def test_stretching_keeps_all_of_the_frame(film, slow):
    path = film(size=(40, 64))
    batch = VideoTransform(frames=1, size=20, resize="stretch")([Video().decode(path)])
    expected = torch.from_numpy(slow(path)[0][17]).permute(2, 0, 1)
    assert torch.equal(batch["pixels"][0, 0], vision.resize(expected, [20, 20], antialias=True))


def test_the_middle_may_be_kept_smaller(film, slow):
    path = film(size=(40, 64))
    batch = VideoTransform(frames=1, size=20, keep=0.75)([Video().decode(path)])
    expected = torch.from_numpy(slow(path)[0][17]).permute(2, 0, 1)[:, 5:35, 17:47]
    assert torch.equal(batch["pixels"][0, 0], vision.resize(expected, [20, 20], antialias=True))


def test_fps_gives_as_many_frames_as_a_video_is_long():
    clips = [array(8), None, array(20), array(1)]
    batch = VideoTransform(sampling="fps", fps=4, frames=7, size=16)(clips)
    assert batch["mask"].sum(1).tolist() == [4, 0, 7, 1]
    assert torch.equal(batch["pixels"][0, :4], clips[0]["frames"][::2])
    assert torch.equal(batch["pixels"][2], clips[2]["frames"][:14:2])
    assert not batch["pixels"][0, 4:].any()


def test_means_and_deviations_are_those_of_the_frames_taken():
    clips = [array(8, seed=1), None, array(8, seed=2)]
    clips[0]["frames"][:, 1] = 7
    clips[2]["frames"][:, 1] = 7
    transform = VideoTransform(frames=8, size=16)
    transform.fit(clips)
    pixels = torch.cat([clips[0]["frames"], clips[2]["frames"]]).double() / 255
    assert transform.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    expected = pixels.std((0, 2, 3), correction=0).tolist()
    assert transform.std == pytest.approx([expected[0], 1.0, expected[2]])  # what never changes is not blown up


def test_of_a_large_training_split_some_videos_are_looked_at(monkeypatch):
    looked = []
    monkeypatch.setattr("mmkit_video.looking.frames_of", lambda clip, n: looked.append(len(n)) or frames_of(clip, n))
    VideoTransform(frames=8, size=16).fit([array(8)] * 600)
    assert looked == [1] * 300


def test_without_a_video_there_is_nothing_to_fit():
    with pytest.raises(DataError, match="the training split has no video in this input; leave the input out"):
        VideoTransform().fit([None, None])


def test_all_frames_of_a_video_are_cropped_and_flipped_alike():
    still = array(1, (24, 30))["frames"].expand(6, -1, -1, -1)
    clips = [Video().decode((still, 8))] * 40
    transform = VideoTransform(frames=6, size=16, crop=0.3, flip=0.5)
    pixels = transform(clips, torch.Generator().manual_seed(0))["pixels"]
    assert (pixels == pixels[:, :1]).all()
    assert len({video.numpy().tobytes() for video in pixels}) > 30
    assert transform.augments
    flipped = VideoTransform(frames=6, size=24, flip=0.5)(clips, torch.Generator().manual_seed(0))["pixels"][:, 0]
    plain = VideoTransform(frames=6, size=24)(clips)["pixels"][0, 0]
    turned = [bool((one == plain.flip(-1)).all()) for one in flipped]
    assert all((one == plain).all() or done for one, done in zip(flipped, turned, strict=True))
    assert 10 < sum(turned) < 30


def test_a_random_crop_keeps_the_share_asked_for():
    ramp = torch.arange(64).float().view(1, 1, 1, -1).expand(1, 3, 64, -1) / 63  # grey tells the column
    clips = [Video().decode((ramp, 8))] * 100
    pixels = VideoTransform(frames=1, size=32, crop=0.25)(clips, torch.Generator().manual_seed(1))["pixels"][:, 0, 0]
    seen = (pixels[:, 0, -1].float() - pixels[:, 0, 0].float()) / 255
    assert 0.35 < seen.min() < 0.55  # half of the width at an area of a quarter, less at another aspect ratio
    assert seen.max() > 0.9


def test_threads_change_nothing(film):
    clips = [Video().decode(film(count=n)) if n % 3 else None for n in range(1, 9)]
    clips = [clip and Video().decode(Path(clip["source"]).read_bytes()) for clip in clips]
    transform = VideoTransform(sampling="segments", frames=4, size=16, crop=0.5)
    alone = transform(clips, torch.Generator().manual_seed(0))
    torch.set_num_threads(3)
    together = transform(clips, torch.Generator().manual_seed(0))
    assert torch.equal(alone["pixels"], together["pixels"])
    assert torch.equal(pickle.loads(pickle.dumps(transform))(clips)["pixels"], transform(clips)["pixels"])


def test_a_frame_that_cannot_be_had_names_its_file(film):
    path = film()
    clip = Video().decode(path)
    path.unlink()
    with pytest.raises(DataError, match=r"b-frames\.mp4 cannot be read: No such file"):
        VideoTransform()([clip])
