"""transformers' video models as encoders: the models' own states, their own processors, tuned, saved and refused."""

import json
import shutil

import pytest
import torch
import transformers

mmkit_video = pytest.importorskip("mmkit_video", reason="mmkit-video is not installed")

from mmkit_transformers.plugin import VIDEO_EXAMPLE  # noqa: E402
from mmkit_transformers.video import TransformersVideoEncoder  # noqa: E402
from mmkit_transformers.video_transform import TransformersVideoTransform  # noqa: E402
from mmkit_video.modality import Video  # noqa: E402

import mmkit  # noqa: E402
from mmkit.errors import DataError  # noqa: E402
from mmkit.testing import check, tiny_task  # noqa: E402, tiny_task

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "num_frames": 4,
    "initializer_range": 0.3,
}
KINDS = {
    "videomae": ({"patch_size": 8, "tubelet_size": 2}, transformers.VideoMAEVideoProcessor),
    "vivit": ({"tubelet_size": [2, 8, 8]}, transformers.VivitVideoProcessor),
    "timesformer": ({"patch_size": 8}, transformers.TimesformerVideoProcessor),
}


def folder(tmp_path, kind, **settings):
    """A small random model of a kind, with its own processor."""
    more, processor = KINDS[kind]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL, **more)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / kind)
    sizes = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}, **settings}
    processor(**sizes).save_pretrained(tmp_path / kind)
    return tmp_path / kind


def videos(count=3, size=(36, 36), frames=12):
    """Smooth moving pictures: a resize in another order then changes little."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(count, 3, 4, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, size=(frames, *size), mode="trilinear")
    return [Video().decode((clip.clamp(0, 1).transpose(0, 1), 8)) for clip in smooth]


def made(model=VIDEO_EXAMPLE, **options):
    sampling = {name: options.pop(name) for name in ("sampling", "fps", "crop", "flip") if name in options}
    transform = TransformersVideoTransform(model=str(model), **sampling)
    transform.fit(videos())
    return TransformersVideoEncoder(transform, **options).eval(), transform


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_the_models_own_last_states_of_what_its_processor_gives(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where)
    features = encoder(transform([*videos(), None]))
    network = transformers.AutoModel.from_pretrained(where).eval()
    processor = transformers.AutoVideoProcessor.from_pretrained(where)
    for row, video in enumerate(videos()):
        frames = video["frames"][[1, 4, 7, 10]]
        pixels = processor([frames], return_tensors="pt")["pixel_values"]
        ours = transform([video])["pixels"] * encoder.scale + encoder.offset
        assert (ours - pixels).abs().max() <= 4 * max(transform.scale)
        with torch.no_grad():
            expected = network(pixel_values=ours).last_hidden_state[0]
            near = network(pixel_values=pixels).last_hidden_state[0]
        torch.testing.assert_close(features.tokens[row], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(features.vector()[row], expected.mean(0), atol=1e-5, rtol=1e-4)
        assert (near - expected).abs().mean() < 0.1 * expected.abs().mean()
    assert not features.mask[3].any()
    assert not features.vector()[3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_crop_after_the_resize_pixels_are_the_processors(tmp_path, kind):
    where = folder(tmp_path, kind, size={"shortest_edge": 16})
    encoder, transform = made(where)
    (video,) = videos(1, size=(16, 16), frames=4)
    pixels = transformers.AutoVideoProcessor.from_pretrained(where)([video["frames"]], return_tensors="pt")
    ours = transform([video])["pixels"] * encoder.scale + encoder.offset
    torch.testing.assert_close(ours, pixels["pixel_values"], atol=1e-5, rtol=1e-5)


def test_summaries_and_layers(tmp_path):
    where = folder(tmp_path, "vivit")
    encoder, transform = made(where, pooling="cls")
    batch = transform(videos())
    features = encoder(batch)
    assert torch.equal(features.vector(), features.tokens[:, 0])
    assert torch.equal(made(where, pooling="max")[0](batch).vector(), features.tokens.amax(1))
    assert made(where, pooling="none")[0](batch).pooled is None
    network = transformers.AutoModel.from_pretrained(where).eval()
    with torch.no_grad():
        found = network(pixel_values=batch["pixels"] * encoder.scale + encoder.offset, output_hidden_states=True)
    for layer in (0, 1, 3, -2):
        expected = found.hidden_states[layer]
        torch.testing.assert_close(made(where, layer=layer)[0](batch).tokens, expected, atol=1e-5, rtol=1e-4)
    assert made(where, output="pooled")[0](batch).tokens.shape == (3, 1, 16)


def test_the_frames_are_those_that_the_sampling_says():
    (video,) = videos(1, frames=12)
    video["frames"][:] = torch.arange(12, dtype=torch.uint8).view(-1, 1, 1, 1)

    def shown(generator=None, **options):
        return made(**options)[1]([video], generator)["pixels"][0, :, 0, 0, 0].tolist()

    assert shown() == [1, 4, 7, 10]
    assert shown(sampling="fps", fps=4.0) == [0, 2, 4, 6]
    assert shown(sampling="fps", fps=1.0) == [0, 8, 8, 8]
    assert shown(sampling="segments") == [1, 4, 7, 10]
    drawn = {tuple(shown(torch.Generator().manual_seed(seed), sampling="segments")) for seed in range(8)}
    assert len(drawn) > 3
    assert all(3 * part <= number < 3 * part + 3 for draw in drawn for part, number in enumerate(draw))


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_is_kept_by_every_kind(tmp_path, kind):
    report = check("encoder", "transformers-video", {"model": str(folder(tmp_path, kind))})
    assert report.ok, report


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [{"tune": "full"}, {"sampling": "segments", "crop": 0.5, "flip": 0.5}, {"pooling": "max", "tune": "partial:1"}],
)
def test_the_contract_is_kept(options):
    report = check("encoder", "transformers-video", {"model": str(VIDEO_EXAMPLE), **options})
    assert report.ok, report


@pytest.mark.parametrize("tune", ["full", "partial:1"])
def test_a_layer_that_is_not_the_last_leaves_what_is_above_it_out(tune):
    encoder, transform = made(layer=1, tune=tune)
    weights = dict(encoder.states.tuned.backbone.named_parameters())
    trained = {name for name, weight in weights.items() if weight.requires_grad}
    first = {name for name in weights if name.startswith("encoder.layer.0.")}
    before = {name for name in weights if name.startswith("embeddings.")}
    assert first
    assert trained == (first | before if tune == "full" else first)
    encoder(transform(videos())).tokens.square().sum().backward()
    assert all(weights[name].grad is not None for name in trained)


class TestRefused:
    def test_a_model_that_is_not_one_of_videos(self):
        from mmkit_transformers.plugin import EXAMPLE

        with pytest.raises(DataError, match="is a bert, whose configuration has no num_frames; take a video model"):
            made(EXAMPLE)

    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("config.json", None, "is a folder without config.json"),
            ("video_preprocessor_config.json", "{", "cannot be read"),
            ("model.safetensors", "junk", "cannot be read"),
        ],
    )
    def test_a_folder_that_is_damaged_is_said(self, tmp_path, file, content, said):
        shutil.copytree(VIDEO_EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / file).unlink() if content is None else (tmp_path / "m" / file).write_text(content)
        with pytest.raises(DataError, match=said):
            made(tmp_path / "m")

    def test_a_processor_that_does_more_is_refused(self, tmp_path):
        where = folder(tmp_path, "videomae", crop_size={"height": 16, "width": 20})
        with pytest.raises(DataError, match="does more than crop, resize and normalise to a square"):
            made(where)

    def test_weights_that_lack_a_part_are_named(self, tmp_path):
        from safetensors.torch import load_file, save_file

        shutil.copytree(VIDEO_EXAMPLE, tmp_path / "m")
        state = load_file(VIDEO_EXAMPLE / "model.safetensors")
        name = next(name for name in state if "layer.1" in name)
        save_file(
            {key: value for key, value in state.items() if key != name},
            tmp_path / "m" / "model.safetensors",
            {"format": "pt"},
        )
        with pytest.raises(DataError, match=f"lacks 1 weights of its model: {name}"):
            made(tmp_path / "m")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"layer": 3}, "layer is 3; the model has 2, so expected -2 to 2"),
            ({"layer": 0, "tune": "partial:1"}, "tune is partial:1; the backbone has 0 blocks"),
            ({"pooling": "cls"}, "VideoMAEModel has no first token"),
            ({"pooling": "none", "output": "pooled"}, "output=pooled needs a pooled vector"),
        ],
    )
    def test_options_that_do_not_go_together_are_said(self, options, said):
        with pytest.raises(ValueError, match=said):
            made(**options)

    def test_without_a_video_there_is_nothing_to_fit(self):
        with pytest.raises(DataError, match="the training split has no video"):
            TransformersVideoTransform(model=str(VIDEO_EXAMPLE)).fit([None])


def clip_of(number, generator):
    """Dark or bright frames, at 8 a second."""
    return torch.randint(0, 40, (6, 3, 20, 24), generator=generator) + 40 + 170 * (number % 2), 8


@pytest.mark.parametrize("tune", ["frozen", "partial:1", "full", "lora"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    shutil.copytree(VIDEO_EXAMPLE, tmp_path / "source")
    encoder = f"transformers-video:model={tmp_path / 'source'},tune={tune}"
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    task = tiny_task({"a": "video", "b": "table"}, {"a": clip_of})
    model, record = mmkit.fit(task=task, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a"] if tune == "frozen" else [])
    network = model.module.encoders["a"].states.tuned.backbone
    before = transformers.AutoModel.from_pretrained(VIDEO_EXAMPLE).state_dict()
    changed = {
        name.replace(".base_layer", "")
        for name, value in network.state_dict().items()
        if "lora_" not in name and not torch.equal(value, before[name.replace(".base_layer", "")])
    }
    allowed = {"frozen": (), "lora": (), "partial:1": ("encoder.layer.1.", "layernorm."), "full": ("",)}[tune]
    assert bool(changed) == bool(allowed)
    assert all(name.startswith(allowed) for name in changed)
    model.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "source")
    clip = (torch.randint(0, 255, (6, 3, 20, 24)), 8)
    samples = [{"a": clip}, {"b": {"x": 1.0}}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


def test_the_example_is_small():
    assert sum(file.stat().st_size for file in VIDEO_EXAMPLE.iterdir()) < 60_000
    assert json.loads((VIDEO_EXAMPLE / "config.json").read_text())["model_type"] == "videomae"
