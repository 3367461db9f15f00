"""open_clip's towers tuned, with checkpointing, and saved."""

import shutil

import pytest
import torch
from mmkit_open_clip.towers import tuning_blocks
from random_clips import PAIRS, TEXTS, folder, images, of_images, of_texts

import mmkit
import mmkit.cli


def blocks_and_runs(encoder, batch):
    """How many blocks a tower has, and how often one of them runs in a step of training."""
    blocks, _ = tuning_blocks(encoder.tuned.backbone.tower)
    runs = []
    for block in blocks:
        modules = encoder.tuned.backbone.tower.get_submodule(block).modules()
        norm = next(module for module in modules if "Norm" in type(module).__name__)
        norm.register_forward_pre_hook(lambda *_: runs.append(1))
    encoder.train()(batch).vector().sum().backward()
    return len(blocks), len(runs)


@pytest.mark.parametrize("kind", ["clip", "bert"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_checkpointing_runs_the_blocks_of_a_text_tower_again(tmp_path, kind, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    encoder, transform = of_texts(f"local-dir:{folder(tmp_path, kind)[0]}", tune=tune, checkpointing=True)
    blocks, runs = blocks_and_runs(encoder, transform(TEXTS))
    assert runs == 2 * blocks > 0


@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_checkpointing_runs_the_blocks_of_an_image_tower_again(tmp_path, kind):
    encoder, transform = of_images(f"local-dir:{folder(tmp_path, kind)[0]}", tune="full", checkpointing=True)
    blocks, runs = blocks_and_runs(encoder, transform(images()))
    assert runs == 2 * blocks > 0


@pytest.mark.parametrize("tune", ["frozen", "partial:1", pytest.param("full", marks=pytest.mark.full), "lora"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    home, network = folder(tmp_path)
    encoders = {
        "a": f"open-clip-image:model=local-dir:{home},tune={tune},checkpointing=true",
        "b": f"open-clip-text:model=local-dir:{home},tune={tune}",
    }
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    model, record = mmkit.fit(task=PAIRS, encoders=encoders, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a", "b"] if tune == "frozen" else [])
    before = network.state_dict()
    for name, prefix in (("a", "visual."), ("b", "")):
        state = model.module.encoders[name].tuned.backbone.tower.state_dict()
        plain = {_as_before(key): value for key, value in state.items() if "lora_" not in key}
        changed = {key for key, value in plain.items() if not torch.equal(value, before[prefix + key])}
        late = ("transformer.resblocks.2.", "ln_post", "proj", "ln_final", "text_projection")
        allowed = {"frozen": (), "lora": (), "partial:1": late, "full": ("",)}[tune]
        assert bool(changed) == bool(allowed)
        assert all(key.startswith(allowed) for key in changed)
        adapters = {key: value for key, value in state.items() if "lora_B" in key}
        assert len(adapters) == (3 * 4 if tune == "lora" else 0)  # 3 blocks of 4 linear layers
        assert all(value.abs().max() > 0 for value in adapters.values())  # they begin at zero
    model.save(tmp_path / "model")
    shutil.rmtree(home)
    samples = [{"a": images(1)[0], "b": "this is down"}, {"b": "up"}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


def _as_before(key):
    """The name of a weight before attention was opened for adapters."""
    names = {"attn.qkv.": "attn.in_proj_", "attn.out.": "attn.out_proj."}
    key = key.replace(".base_layer", "")
    for ours, theirs in names.items():
        key = key.replace(ours, theirs)
    return key


def test_adapters_begin_where_the_model_is(tmp_path):
    pytest.importorskip("peft")
    home, _ = folder(tmp_path)
    for made, values in ((of_images, images()), (of_texts, TEXTS)):
        plain, transform = made(f"local-dir:{home}")
        adapted = made(f"local-dir:{home}", tune="lora")[0]
        torch.testing.assert_close(adapted(transform(values)).tokens, plain(transform(values)).tokens)


def test_layers_learn_slower_towards_the_input(tmp_path):
    home, _ = folder(tmp_path)
    rates = of_texts(f"local-dir:{home}", tune="full", decay=0.5)[0].tuned.rates
    assert rates["backbone.tower.text_projection"] == 1
    assert rates["backbone.tower.transformer.resblocks.2.ln_1.weight"] == 0.5
    assert rates["backbone.tower.transformer.resblocks.0.ln_1.weight"] == 0.125
    assert rates["backbone.tower.token_embedding.weight"] == 0.0625
    with pytest.raises(ValueError, match="the backbone has 3 blocks"):
        of_texts(f"local-dir:{home}", tune="partial:4")


@pytest.mark.parametrize("kind", ["bert", pytest.param("siglip", marks=pytest.mark.full)])
def test_a_model_with_a_tokenizer_of_transformers_is_saved_whole(tmp_path, kind):
    home, _ = folder(tmp_path, kind)
    encoders = {"a": f"open-clip-image:model=local-dir:{home}", "b": f"open-clip-text:model=local-dir:{home}"}
    model, _ = mmkit.fit(
        task=PAIRS, encoders=encoders, fusion="concat", training={"epochs": 1, "min_steps": 0}, device="cpu"
    )
    model.save(tmp_path / "model")
    shutil.rmtree(home)
    samples = [{"a": images(1)[0], "b": "this is down"}, {"b": "up"}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)
