"""Small random text models of transformers, saved as folders."""

import json
import shutil

import torch
import transformers
from mmkit_transformers.plugin import EXAMPLE
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform

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
SHIFTED = {
    **dict.fromkeys(("esm", "ibert", "markuplm"), SMALL | PLACES),
    "luke": SMALL | PLACES | {"entity_vocab_size": 5, "entity_emb_size": 4},
}
"""Which count places as RoBERTa does."""


def folder(tmp_path, kind):
    """A small random model of a kind, with the example's tokenizer."""
    shutil.copytree(EXAMPLE, tmp_path / kind)
    size = len(json.loads((EXAMPLE / "tokenizer.json").read_text())["model"]["vocab"])
    more = {**KINDS, **SHIFTED, "xlm": XLM}[kind]
    config = transformers.AutoConfig.for_model(kind, vocab_size=size, pad_token_id=0, **more)
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
