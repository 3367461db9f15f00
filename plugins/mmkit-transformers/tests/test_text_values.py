"""transformers' text models as encoders give the models' own states."""

import json
import shutil

import pytest
import torch
import transformers
from mmkit_transformers.network import container
from mmkit_transformers.plugin import EXAMPLE
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform
from random_texts import KINDS, NAMED, PLACES, SHIFTED, SMALL, TEXTS, folder, made, network

from mmkit.contract import Features
from mmkit.errors import DataError
from mmkit.testing import check


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
    transformers.BertTokenizerFast(tokenizer_object=own).save_pretrained(tmp_path)  # type: ignore[attr-defined]
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
    tokenizer = transformers.GPT2TokenizerFast(tokenizer_object=own)  # type: ignore[attr-defined]
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
    ("kind", "places"),
    [
        *(("bert", 64), ("roberta", 63), ("xlm-roberta", 63), ("mpnet", 62), ("gpt2", 64), ("t5", 502)),
        *((kind, 63) for kind in SHIFTED),
    ],
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
