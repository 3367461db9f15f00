"""transformers' image models as encoders: the models' own states of images prepared as their processors do."""

import json
import shutil

import pytest
import torch
import transformers
from mmkit_transformers.image import TransformersImageEncoder
from mmkit_transformers.image_transform import TransformersImageTransform
from mmkit_transformers.network import container
from mmkit_transformers.plugin import IMAGE_EXAMPLE

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check, tiny_task

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}
PATCHES = SMALL | {"image_size": 32, "patch_size": 8}
WORDS = SMALL | {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
STAGES = {"depths": [1, 2], "initializer_range": 0.3}
WHOLE = {"size": {"height": 32, "width": 32}}
MIDDLE = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
KINDS = {
    "vit": (PATCHES, "ViT", WHOLE),
    "dinov2": (PATCHES, "Bit", MIDDLE),
    "beit": (PATCHES, "Beit", WHOLE),
    "siglip": ({"vision_config": PATCHES, "text_config": WORDS}, "Siglip", WHOLE),
    "siglip_vision_model": (PATCHES, "Siglip", WHOLE),
    "clip": ({"vision_config": PATCHES, "text_config": WORDS}, "CLIP", MIDDLE),
    "swin": (
        STAGES | {"image_size": 32, "patch_size": 4, "embed_dim": 8, "num_heads": [2, 2], "window_size": 4},
        "ViT",
        WHOLE,
    ),
    "convnext": (
        STAGES | {"hidden_sizes": [8, 16], "num_stages": 2, "layer_scale_init_value": 1.0},
        "ConvNext",
        {"size": {"shortest_edge": 32}},
    ),
    "resnet": (
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"},
        "ConvNext",
        {"size": {"shortest_edge": 32}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
    ),
}


def folder(tmp_path, kind):
    """A small random model of a kind, with its processor."""
    config, processor, settings = KINDS[kind]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **json.loads(json.dumps(config)))
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / kind)
    getattr(transformers, f"{processor}ImageProcessor")(**settings).save_pretrained(tmp_path / kind)
    return tmp_path / kind


def images(size=(64, 80), count=3):
    """Smooth ones: the place of a crop is rounded differently where it is cut before it is resized."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 5, 5, generator=generator)
    large = torch.nn.functional.interpolate(small, size=size, mode="bicubic").clamp(0, 1)
    return list((large * 255).to(torch.uint8))


def made(model=IMAGE_EXAMPLE, augmentation=None, **options):
    transform = TransformersImageTransform(model=str(model), **(augmentation or {}))
    transform.fit(images())
    return TransformersImageEncoder(transform, **options).eval(), transform


def network(where):
    """What transformers itself makes of a folder; of two towers the one for images."""
    model = transformers.AutoModel.from_pretrained(where).eval()
    return getattr(model, "vision_model", model)


def flat(states):
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_models_own_of_what_its_processor_makes(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where)
    # Of a square image that is taken whole nothing is rounded, so that pixels and features agree to float32.
    processor = transformers.AutoImageProcessor.from_pretrained(where)
    whole = transform.shortest in {None, 32}
    for image in images((64, 64) if whole else (300, 400)):
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        batch = transform([image])
        ours = batch["pixels"] * encoder.scale + encoder.offset
        torch.testing.assert_close(ours, pixels, atol=1e-5 if whole else 4 / 255 / 0.2, rtol=0)
        with torch.no_grad():
            expected = flat(network(where)(pixel_values=pixels if whole else ours).last_hidden_state)
        features = encoder(batch)
        torch.testing.assert_close(features.tokens, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features.vector(), expected.mean(1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vit", "siglip", "clip", "swin", "convnext", "beit"])
def test_the_models_own_summary_can_be_had(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where, pooling="model")
    batch = transform(images())
    with torch.no_grad():
        pixels = batch["pixels"] * encoder.scale + encoder.offset
        expected = network(where)(pixel_values=pixels).pooler_output
    torch.testing.assert_close(encoder(batch).vector(), expected, atol=1e-4, rtol=1e-4)


def test_images_of_any_shape_and_grey_ones_are_taken(tmp_path):
    encoder, transform = made(folder(tmp_path, "dinov2"))
    values = [torch.full((1, 3, 900), 7, dtype=torch.uint8), None, torch.zeros(3, 1, 1, dtype=torch.uint8), *images()]
    features = encoder(transform(values))
    assert features.tokens.isfinite().all()
    assert features.present().tolist() == [True, False, True, True, True, True]
    assert features.vector()[1].abs().max() == 0


def test_summaries_and_layers(tmp_path):
    where = folder(tmp_path, "vit")
    encoder, transform = made(where, pooling="cls")
    batch = transform(images())
    features = encoder(batch)
    assert torch.equal(features.vector(), features.tokens[:, 0])
    assert torch.equal(made(where, pooling="max")[0](batch).vector(), features.tokens.amax(1))
    assert made(where, pooling="none")[0](batch).pooled is None
    assert made(where, output="pooled")[0](batch).tokens.shape == (3, 1, 16)
    with torch.no_grad():
        pixels = batch["pixels"] * encoder.scale + encoder.offset
        states = network(where)(pixel_values=pixels, output_hidden_states=True).hidden_states
    for layer in (0, 2, -2, -3):
        torch.testing.assert_close(made(where, layer=layer)[0](batch).tokens, states[layer], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_above_the_layer_that_is_read_is_not_there(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where, layer=0)
    batch = transform(images())
    with torch.no_grad():
        pixels = batch["pixels"] * encoder.scale + encoder.offset
        whole = network(where)
        states = whole(pixel_values=pixels, output_hidden_states=True).hidden_states
        torch.testing.assert_close(encoder(batch).tokens, flat(states[0]), atol=1e-5, rtol=1e-4)
    kept = len(encoder.states.tuned.backbone.get_submodule(container(encoder.states.tuned.backbone)))
    assert kept == (2 if kind in {"swin", "convnext", "resnet"} else 1)  # stages differ in width, and stay
    assert len(whole.get_submodule(container(whole))) > 1


def test_a_stage_of_another_width_can_be_read(tmp_path):
    encoder, transform = made(folder(tmp_path, "swin"), layer=0)
    assert encoder.width == 8
    assert encoder(transform(images())).tokens.shape == (3, 64, 8)


def test_crops_and_flips_are_drawn_in_training_only():
    _, transform = made(augmentation={"crop": 0.5, "flip": 0.5})
    assert transform.augments
    plain = transform(images())["pixels"]
    assert torch.equal(plain, transform(images())["pixels"])
    assert not torch.equal(plain, transform(images(), torch.Generator().manual_seed(0))["pixels"])


@pytest.mark.parametrize("options", [{"tune": "full"}, {"pooling": "model", "tune": "partial:1"}])
def test_the_contract_is_kept(options):
    report = check("encoder", "transformers-image", {"model": str(IMAGE_EXAMPLE), **options})
    assert report.ok, report


@pytest.mark.parametrize("kind", ["siglip", "clip", "convnext", "resnet"])
def test_every_weight_that_is_trained_gets_a_gradient(tmp_path, kind):
    encoder, transform = made(folder(tmp_path, kind), tune="full")
    encoder(transform(images())).tokens.square().sum().backward()
    trained = {name: weight.grad for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert len(trained) > 20
    assert [name for name, gradient in trained.items() if gradient is None] == []


class TestRefused:
    def test_a_name_of_the_hub_without_a_network_is_said(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(DataError, match=r"nobody/nothing is not on this machine.*hf download nobody/nothing"):
            made("nobody/nothing")

    def test_a_malicious_pickle_is_refused_and_not_run_and_tensors_in_one_are_read(self, tmp_path):
        from safetensors.torch import load_file

        shutil.copytree(IMAGE_EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        state = load_file(IMAGE_EXAMPLE / "model.safetensors")
        torch.save(state, tmp_path / "m" / "pytorch_model.bin")
        expected = made()[0].states.tuned.backbone.state_dict()
        own = made(tmp_path / "m")[0].states.tuned.backbone.state_dict()
        assert len(own) > 20
        assert all(torch.equal(value, expected[name]) for name, value in own.items())
        evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
        (tmp_path / "m" / "pytorch_model.bin").write_bytes(evil)
        with pytest.raises(DataError, match=r"more than tensors, and were not loaded; give them as \.safetensors$"):
            made(tmp_path / "m")
        assert not (tmp_path / "owned").exists()

    def test_weights_that_are_no_numbers_are_said(self, tmp_path):
        where = folder(tmp_path, "vit")
        model = transformers.AutoModel.from_pretrained(where)
        torch.nn.init.constant_(model.layernorm.bias, float("nan"))
        model.save_pretrained(where)
        with pytest.raises(DataError, match=f"^{where} gives states that are not finite: its weights are damaged"):
            made(where)

    def test_a_folder_without_a_processor_is_said(self, tmp_path):
        shutil.copytree(IMAGE_EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "preprocessor_config.json").unlink()
        with pytest.raises(DataError, match=r"cannot be read: it has no image processor .*take a model of images"):
            made(tmp_path / "m")

    def test_a_processor_that_does_more_is_said(self, tmp_path):
        where = folder(tmp_path, "vit")
        transformers.LevitImageProcessor(size={"shortest_edge": 32}, crop_size=WHOLE["size"]).save_pretrained(where)
        with pytest.raises(DataError, match=r"LevitImageProcessor of .* does more than crop, resize and normalise"):
            made(where)

    def test_a_model_that_draws_by_chance_is_said(self, tmp_path):
        config = transformers.ViTMAEConfig(**PATCHES, mask_ratio=0.5)
        model = transformers.ViTMAEModel(config)
        torch.nn.init.normal_(model.embeddings.position_embeddings)
        model.save_pretrained(tmp_path)
        transformers.ViTImageProcessor(**WHOLE).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="ViTMAEModel drops parts of its input at random"):
            made(tmp_path)

    def test_weights_of_more_layers_than_the_configuration_has_are_named(self, tmp_path):
        where = folder(tmp_path, "clip")
        config = json.loads((where / "config.json").read_text())
        config["vision_config"]["num_hidden_layers"] = 2
        (where / "config.json").write_text(json.dumps(config))
        with pytest.raises(DataError, match=r"does not have: vision_model\.encoder\.layers\.2"):
            made(where)

    def test_weights_that_lack_a_part_are_named_and_a_summary_that_is_not_read_is_not_missed(self, tmp_path):
        from safetensors.torch import load_file, save_file

        where = folder(tmp_path, "vit")
        state = load_file(where / "model.safetensors")
        del state["pooler.dense.weight"]
        save_file(state, where / "model.safetensors", {"format": "pt"})
        made(where)
        with pytest.raises(DataError, match=r"lacks 1 weights of its model: pooler\.dense\.weight"):
            made(where, pooling="model")

    @pytest.mark.parametrize(
        ("kind", "options", "said"),
        [
            ("swin", {"pooling": "cls"}, "SwinModel has no first token made for pooling"),
            ("vit", {"output": "pooled", "pooling": "none"}, "output=pooled needs a pooled vector"),
            ("vit", {"layer": 4}, "layer is 4; the model has 3, so expected -3 to 3"),
            ("vit", {"layer": 1, "pooling": "model"}, "pooling=model pools the last layer; layer is 1"),
            ("vit", {"tune": "partial:4"}, "the backbone has 3 blocks"),
        ],
    )
    def test_what_a_model_cannot_give_is_said(self, tmp_path, kind, options, said):
        with pytest.raises(ValueError, match=said):
            made(folder(tmp_path, kind), **options)


@pytest.mark.parametrize(
    ("kind", "tune", "allowed"),
    [
        ("vit", "frozen", ()),
        ("vit", "lora", ()),
        ("vit", "partial:2", ("layers.1.", "layers.2.", "layernorm.")),
        ("vit", "full", ("",)),
        ("resnet", "frozen", ()),  # its batch norms keep their statistics
        ("resnet", "partial:1", ("encoder.stages.1.",)),
    ],
)
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, kind, tune, allowed):
    if tune == "lora":
        pytest.importorskip("peft")
    where = folder(tmp_path, kind)
    before = network(where).state_dict()
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    encoder = f"transformers-image:model={where},tune={tune}"
    model, record = mmkit.fit(
        task=tiny_task(), encoders={"a": encoder}, fusion="concat", training=training, device="cpu"
    )
    assert record.encoded_once == (["a"] if tune == "frozen" else [])
    after = model.module.encoders["a"].states.tuned.backbone.state_dict()
    changed = {
        name.replace(".base_layer", "")
        for name, value in after.items()
        if ".lora_" not in name and not torch.equal(value, before[name.replace(".base_layer", "")])
    }
    assert bool(changed) == bool(allowed)
    assert all(name.startswith(allowed) for name in changed)
    if tune.startswith("partial"):
        assert {start for start in allowed if any(name.startswith(start) for name in changed)} == set(allowed)
    if tune == "lora":  # they begin at zero
        assert all(value.any() for name, value in after.items() if ".lora_B" in name)
    model.save(tmp_path / "model")
    shutil.rmtree(where)
    samples = [{"a": images()[0]}, {"b": {"x": 1.0}}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)
