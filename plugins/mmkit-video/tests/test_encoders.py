"""Encoders of videos, against the slow and obvious form."""

import importlib.util
from typing import Any

import pytest
import torch
from mmkit_video.cnn import Factorised, Joint, VideoCnnEncoder
from mmkit_video.frames import FramesEncoder, sinusoids
from mmkit_video.frames_transform import FramesTransform
from mmkit_video.modality import Video
from mmkit_video.transform import VideoTransform
from torch.nn import functional as F

import mmkit
from mmkit.errors import DataError, UsageError
from mmkit.testing import check

TIMM = importlib.util.find_spec("mmkit_timm")


def clips(count=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [Video().example(generator) for _ in range(count)]


def cnn(frames=6, size=16, **options):
    transform = VideoTransform(frames=frames, size=size, sampling=options.pop("sampling", "uniform"))
    transform.fit(clips())
    return VideoCnnEncoder(transform, **options).double().eval(), transform


class TestCnn:
    def test_a_factorised_convolution_is_one_over_space_then_one_over_time(self):
        layer = Factorised(6, 16).double()
        x = torch.randn(2, 6, 5, 8, 8, dtype=torch.float64)
        found = layer(x, torch.ones(2, 5, dtype=torch.bool))
        for row in range(2):
            frames = [F.conv2d(x[row, :, t], layer.space.weight[:, :, 0], stride=2, padding=1) for t in range(5)]
            norm = layer.after_space.norm
            frames = [F.relu(F.group_norm(f[None], norm.num_groups, norm.weight, norm.bias))[0] for f in frames]
            for t in range(5):
                total = sum(
                    torch.einsum("chw,oc->ohw", frames[t + k - 1], layer.time.weight[:, :, k, 0, 0])
                    for k in range(3)
                    if 0 <= t + k - 1 < 5
                )
                norm_of_time = layer.after_time.norm
                expected = F.relu(
                    F.group_norm(total[None], norm_of_time.num_groups, norm_of_time.weight, norm_of_time.bias)
                )
                torch.testing.assert_close(found[row, :, t], expected[0])

    @pytest.mark.parametrize(("given", "made"), [(16, 32), (32, 64), (64, 64)])
    def test_both_kinds_have_about_as_many_parameters(self, given, made):
        one, other = Factorised(given, made), Joint(given, made)
        whole, parts = other.convolution.weight.numel(), one.space.weight.numel() + one.time.weight.numel()
        assert 0.98 < parts / whole <= 1

    @pytest.mark.parametrize("convolution", ["2+1d", "3d"])
    def test_padding_is_as_if_the_video_ended_there(self, convolution):
        encoder, transform = cnn(frames=50, sampling="fps", convolution=convolution)
        videos = sorted(clips(), key=lambda clip: len(clip["times"]))
        together = encoder(transform(videos))
        assert not together.mask[0].all()
        for row, video in enumerate(videos):
            alone = encoder(transform([video]))
            torch.testing.assert_close(together.tokens[row][together.mask[row]], alone.tokens[0])

    def test_the_order_of_frames_matters(self):
        encoder, transform = cnn()
        batch = transform(clips())
        backwards = {**batch, "pixels": batch["pixels"].flip(1)}
        assert (encoder(batch).vector() - encoder(backwards).vector()).abs().max() > 1e-3

    def test_sizes(self):
        encoder, transform = cnn(width=24, layers=2)
        found = encoder(transform([*clips(2), None]))
        assert found.tokens.shape == (3, 6, 24)
        assert found.mask.tolist() == [[True] * 6, [True] * 6, [False] * 6]


def over_frames(inner="cnn:width=8,grid=2", **options):
    sampling = {name: options.pop(name) for name in ("sampling", "frames", "fps") if name in options}
    transform = FramesTransform(encoder=inner, **{"frames": 4, **sampling})
    transform.fit(clips())
    return FramesEncoder(transform, **options).eval(), transform


class TestFrames:
    @pytest.mark.parametrize("count", [3, 20])
    def test_tokens_are_what_the_image_encoder_says_of_each_frame(self, count):
        encoder, transform = over_frames(sampling="fps", fps=2.0, frames=5)
        videos = [*clips(count, seed=3), None]
        found = encoder(transform(videos))
        for row, video in enumerate(videos[:-1]):
            shown = [video["frames"][i] for i in range(0, len(video["times"]), 4)][:5]
            expected = encoder.images(transform.images(shown)).vector()
            torch.testing.assert_close(found.tokens[row][found.mask[row]], expected)
            torch.testing.assert_close(found.vector()[row], expected.mean(0))
        assert not found.mask[-1].any()
        assert not found.vector()[-1].any()

    def test_patches_are_all_tokens_of_all_frames(self):
        encoder, transform = over_frames(output="patches")
        videos = clips()
        found = encoder(transform(videos))
        assert found.tokens.shape == (5, 4 * 4, 8)
        frames = [videos[1]["frames"][(2 * part + 1) * len(videos[1]["times"]) // 8] for part in range(4)]
        expected = encoder.images(transform.images(frames))
        torch.testing.assert_close(found.tokens[1], expected.tokens.flatten(0, 1))
        torch.testing.assert_close(found.vector()[1], expected.vector().mean(0))

    @pytest.mark.parametrize("output", ["frames", "patches"])
    def test_the_place_in_time_is_added_to_tokens_and_not_to_the_summary(self, output):
        plain, transform = over_frames(output=output)
        placed = FramesEncoder(transform, output=output, position=True).eval()
        placed.load_state_dict(plain.state_dict())
        batch = transform(clips())
        difference = placed(batch).tokens - plain(batch).tokens
        each = difference.shape[1] // 4
        expected = sinusoids(4, 8).repeat_interleave(each, 0).expand_as(difference)
        torch.testing.assert_close(difference, expected, atol=1e-5, rtol=0)
        assert torch.equal(placed(batch).vector(), plain(batch).vector())

    def test_places_are_sines_and_cosines(self):
        for width in (1, 6, 7):
            half = (width + 1) // 2
            expected = torch.tensor(
                [
                    [
                        (torch.sin if d < half else torch.cos)(torch.tensor(t / 10_000 ** (d % half / half)))
                        for d in range(width)
                    ]
                    for t in range(5)
                ]
            )
            torch.testing.assert_close(sinusoids(5, width), expected)

    def test_the_images_transform_is_fitted_on_frames_of_the_training_split(self):
        transform: Any = FramesTransform(encoder="cnn", frames=3)
        bright = [Video().decode((torch.full((6, 3, 8, 8), 200 + n, dtype=torch.uint8), 8)) for n in range(3)]
        transform.fit([None, *bright])
        assert transform.images.mean == pytest.approx([201 / 255] * 3)
        assert transform.images.size == (8, 8)

    @pytest.mark.parametrize(
        ("inner", "said"),
        [
            ("bag", "encoder=bag reads no images"),
            ("video-cnn", "encoder=video-cnn reads no images"),
            ("lenett", "there is no encoder lenett; did you mean lenet"),
            ("cnn:depth=3", "encoder cnn has no option depth"),
        ],
    )
    def test_what_is_no_image_encoder_is_said(self, inner, said):
        with pytest.raises((ValueError, UsageError), match=said):
            FramesTransform(encoder=inner)

    def test_without_a_video_there_is_nothing_to_fit(self):
        with pytest.raises(DataError, match="the training split has no video"):
            FramesTransform().fit([None])

    def test_options_of_the_image_encoder_are_written_on_the_command_line(self):
        choice = mmkit.installed().choose("encoder", 'video-frames:frames=2,encoder="cnn:width=8,layers=2"')
        assert choice.options["encoder"] == "cnn:width=8,layers=2"
        again = mmkit.installed().choose("encoder", str(choice))
        assert again.options == choice.options


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("video-cnn", {"convolution": "3d", "sampling": "segments", "crop": 0.5}),
        ("video-cnn", {"sampling": "fps", "fps": 2.0, "layers": 1, "width": 20}),
        ("video-frames", {"encoder": "resnet", "sampling": "segments", "position": True}),
        ("video-frames", {"encoder": "cnn:flip=0.5,size=16", "sampling": "fps", "output": "patches"}),
    ],
)
def test_the_contract_is_kept(name, options):
    report = check("encoder", name, options)
    assert report.ok, report


@pytest.mark.skipif(TIMM is None, reason="mmkit-timm is not installed")
def test_a_frozen_image_encoder_keeps_it_frozen():
    inner = "timm:model=test_vit,weights=none"
    encoder, _ = over_frames(inner)
    assert encoder.frozen
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not over_frames(f"{inner},tune=full")[0].frozen
    assert check("encoder", "video-frames", {"encoder": inner, "frames": 2}).ok
