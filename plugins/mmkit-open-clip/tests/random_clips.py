"""Small random models of open_clip, saved as folders, and their towers as encoders."""

import copy
import json
import shutil
from typing import Any

import mmkit_transformers.plugin
import open_clip
import torch
from mmkit_open_clip.image import OpenClipImageEncoder
from mmkit_open_clip.image_transform import OpenClipImageTransform
from mmkit_open_clip.text import OpenClipTextEncoder
from mmkit_open_clip.text_transform import OpenClipTextTransform
from safetensors.torch import save_file

from mmkit.testing import tiny_task

BERT = mmkit_transformers.plugin.EXAMPLE
TEXTS = ["a red house!", "the blue sea, and more of it than that", "x"]
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3}
IMAGE = {"image_size": 32, "patch_size": 16, "layers": 3, "width": 16, "head_width": 8}
HF = {"context_length": 20, "vocab_size": 400, "hf_tokenizer_name": str(BERT)}
WHOLE = {"vocab_size": 400, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
KINDS: dict[str, dict[str, Any]] = {
    "clip": {"vision_cfg": IMAGE, "text_cfg": TEXT},
    "quick": {"vision_cfg": IMAGE, "text_cfg": TEXT, "quick_gelu": True},
    "averaged": {"vision_cfg": {**IMAGE, "pool_type": "avg", "final_ln_after_pool": True}, "text_cfg": TEXT},
    "resnet": {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}, "text_cfg": TEXT},
    "siglip": {
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
        "text_cfg": {**TEXT, **HF, **WHOLE, "tokenizer_kwargs": {"clean": "canonicalize"}},
        "init_logit_bias": -10,
        "custom_text": True,
    },
    "mobile": {
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_efficientnet",
            "timm_pool": "avg",
            "timm_proj": None,
        },
        "text_cfg": {**TEXT, "no_causal_mask": True},
        "custom_text": True,
    },
    "bert": {
        "vision_cfg": IMAGE,
        "text_cfg": {**HF, "hf_model_name": str(BERT), "hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"},
    },
    "coca": {
        "vision_cfg": {**IMAGE, "attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2}
        | {"output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 19, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "context_length": 19},
        "custom_text": True,
    },
}


def folder(tmp_path, kind="clip", change=lambda state: state, name="open_clip_model.safetensors", **preparation):
    """A small random model, as a folder that open_clip reads."""
    home = tmp_path / kind
    home.mkdir()
    config = {"embed_dim": 12, **copy.deepcopy(KINDS[kind])}
    way = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize_mode": "shortest", **preparation}
    (home / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": way}))
    if config["text_cfg"].get("hf_tokenizer_name"):
        for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            shutil.copy(BERT / file, home / file)
    torch.manual_seed(0)
    # open_clip says that a folder holds no weights yet.
    network = open_clip.create_model(f"local-dir:{home}", pretrained_text=False).eval()
    state = change({key: value.clone() for key, value in network.state_dict().items()})
    if name.endswith(".safetensors"):
        save_file(state, home / name)
    else:
        torch.save(state, home / name)
    return home, network


def images(count=2, size=(40, 60)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8) for _ in range(count)]


def of_images(model, pretrained="own", crop=1.0, **options):
    transform = OpenClipImageTransform(model=model, pretrained=pretrained, crop=crop)
    transform.fit(images())
    return OpenClipImageEncoder(transform, **options).eval(), transform


def of_texts(model, pretrained="own", **options):
    transform = OpenClipTextTransform(model=model, pretrained=pretrained)
    transform.fit(TEXTS)
    return OpenClipTextEncoder(transform, **options).eval(), transform


PAIRS = tiny_task({"a": "image", "b": "text"}, train=16, held_out=8)
