"""One tower of a model, built without the other; its tokens and its pooled vector are in one space.

Axes: B batch, T tokens, D width of the shared space, W width inside, H height, C channels of a map.
"""

from __future__ import annotations

import importlib
from typing import Any

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer, text_global_pool
from torch import Tensor, nn
from torch.nn import functional as F

# A tiny placeholder for the tower that is not needed; it is dropped at once.
_NO_IMAGES = {"layers": 1, "width": 8, "head_width": 8, "patch_size": 8, "image_size": 8}
_NO_TEXTS = {"layers": 1, "width": 8, "heads": 1, "vocab_size": 2, "context_length": 2}

Found = tuple[Tensor, Tensor | None]
"""The pooled vector [B D], and the tokens [B T D] where those of the tower can be projected."""


def image_tower(config: dict[str, Any]) -> nn.Module:
    """The image tower of a configuration, with new weights."""
    vision = config["vision_cfg"] | {"timm_model_pretrained": False}
    tower: nn.Module = _built(config, vision, _NO_TEXTS).visual
    return tower


def text_tower(config: dict[str, Any], transformer: dict[str, Any] | None) -> nn.Module:
    """The text tower of a configuration, with new weights.

    Args:
        config: of the model.
        transformer: configuration of the text model of transformers, where the tower is one.
    """
    if transformer is None:
        alone: nn.Module = _built(config, _NO_IMAGES, config["text_cfg"]).text
        return alone
    plain = dict(transformer)
    made = importlib.import_module("transformers").AutoConfig.for_model(plain.pop("model_type"), **plain)
    text = config["text_cfg"]
    pooler = text.get("hf_pooler_type", "mean_pooler")
    tower = HFTextEncoder("", config["embed_dim"], made, pooler, text.get("hf_proj_type", "mlp"))
    if getattr(made, "is_encoder_decoder", False):
        tower.transformer = tower.transformer.encoder
    elif pooler != "cls_pooler" and getattr(tower.transformer, "pooler", None) is not None:
        tower.transformer.pooler = None  # open_clip builds none either
    return tower


def _built(config: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> Any:
    return open_clip.CustomTextCLIP(config["embed_dim"], vision, text, quick_gelu=config.get("quick_gelu", False))


class Looking(nn.Module):
    """An image tower: pixels [B 3 H W] to its pooled vector and one token for each position."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        if isinstance(tower, VisionTransformer):
            tower.output_tokens = True

    def forward(self, pixels: Tensor) -> Found:
        """Pooled vector and tokens, both of width D."""
        tower: Any = self.tower
        if isinstance(tower, VisionTransformer):
            summary, tokens = tower(pixels)
            if tower.final_ln_after_pool and tower.attn_pool is None:
                tokens = tower.ln_post(tokens)
            return summary, tokens if tower.proj is None else tokens @ tower.proj
        if isinstance(tower, ModifiedResNet):
            places = tower.stem(pixels)
            for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
                places = layer(places)
            # Each position as if it had all attention: Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022.
            pool = tower.attnpool
            return pool(places), pool.c_proj(pool.v_proj(places.flatten(2).transpose(1, 2)))
        if isinstance(tower, TimmModel):
            return _of_timm(tower, pixels)
        return tower(pixels), None


def _of_timm(tower: Any, pixels: Tensor) -> Found:
    trunk, head = tower.trunk, tower.head
    found = trunk.forward_features(pixels)
    summary = head(trunk.forward_head(found))
    if found.ndim == 4:
        last = found.shape[-1] == trunk.num_features and found.shape[1] != trunk.num_features
        places = found.flatten(1, 2) if last else found.flatten(2).transpose(1, 2)  # [B H*W C]
    else:
        places = found[:, getattr(trunk, "num_prefix_tokens", 0) :]
    classifier = trunk.get_classifier()
    if len(head):
        tokens = None if "pool" in dict(head.named_children()) else head(places)
    elif isinstance(classifier, nn.Linear) and classifier.in_features == places.shape[2]:
        tokens = classifier(places)  # the network's own last layer is the projection
    else:
        tokens = places
    return summary, tokens if tokens is not None and tokens.shape[2] == summary.shape[1] else None


class Reading(nn.Module):
    """A text tower: tokens [B T] to its pooled vector and the states of the tokens."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.whole = isinstance(tower, HFTextEncoder) or tower.cls_emb is not None or tower.attn_mask is None
        """Whether every place is looked at, be it padding; else a batch may be cut behind its longest text."""
        if not isinstance(tower, HFTextEncoder):
            tower.output_tokens = True

    def forward(self, tokens: Tensor) -> Found:
        """Pooled vector and tokens, both of width D."""
        tower: Any = self.tower
        if isinstance(tower, HFTextEncoder):
            mask = (tokens != tower.config.pad_token_id).long()
            found = tower.transformer(input_ids=tokens, attention_mask=mask)
            return tower.proj(tower.pooler(found, mask)), tower.proj(found.last_hidden_state)
        if self.whole:
            summary, states = tower(tokens)
            states = states if tower.cls_emb is None else tower.ln_final(states)
            return summary, self._projected(states)
        length = tokens.shape[1]
        states = tower.token_embedding(tokens) + tower.positional_embedding[:length]
        states = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask[:length, :length]))
        projected = self._projected(states)
        return text_global_pool(projected, tokens, tower.pool_type, tower.eos_id), projected

    def _projected(self, states: Tensor) -> Tensor:
        projection: Any = self.tower.text_projection
        if projection is None:
            return states
        return projection(states) if isinstance(projection, nn.Linear) else states @ projection


class OpenAttention(nn.Module):
    """`nn.MultiheadAttention` whose projections are called as linear layers, so that adapters apply to them.

    Args:
        closed: the module that it replaces: self-attention, batch first.
    """

    def __init__(self, closed: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = closed.num_heads
        self.qkv = nn.Linear(closed.embed_dim, 3 * closed.embed_dim)
        self.out = nn.Linear(closed.embed_dim, closed.embed_dim)
        given = (closed.in_proj_weight, closed.in_proj_bias, closed.out_proj.weight, closed.out_proj.bias)
        self.qkv.weight, self.qkv.bias, self.out.weight, self.out.bias = given

    def forward(
        self, x: Tensor, *_: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """[B T W], and None in the place of weights."""
        del need_weights
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B heads T W/heads] each
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.heads))  # open_clip's own, [B*heads T T]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask)
        return self.out(found.transpose(1, 2).flatten(2)), None


def opened(tower: nn.Module, blocks: list[str]) -> None:
    """Put `OpenAttention` in the place of each attention inside the blocks."""
    for name, module in list(tower.named_modules()):
        if isinstance(module, nn.MultiheadAttention) and name.startswith(tuple(f"{block}." for block in blocks)):
            owner, _, child = name.rpartition(".")
            setattr(tower.get_submodule(owner), child, OpenAttention(module))


def tuning_blocks(tower: nn.Module) -> tuple[list[str], list[str]]:
    """The names of a tower's blocks in order, and of what comes after them; both empty where none are identified."""
    for name, module in sorted(tower.named_modules(), key=lambda one: one[0].count(".")):  # the outermost first
        children = [child for child, _ in module.named_children()]
        prefix = f"{name}." if name else ""
        numbered = [child for child in children if child.startswith("layer") and child[5:].isdigit()]  # layer1, layer2
        if numbered:
            blocks = [f"{prefix}{child}" for child in numbered]
            return blocks, _after(tower, blocks[-1])
        if children and name.rpartition(".")[2] in {"resblocks", "blocks", "stages", "layers", "layer"}:
            return [f"{prefix}{child}" for child in children], _after(tower, name)
    return [], []


def _after(tower: nn.Module, name: str) -> list[str]:
    """What comes after a module: at every level, the children that follow it, and the projections of the towers."""
    found = [own for own in ("proj", "text_projection") if isinstance(getattr(tower, own, None), nn.Parameter)]
    path = name.split(".")
    for depth, child in enumerate(path):
        prefix = ".".join(path[:depth])
        children = [each for each, _ in tower.get_submodule(prefix).named_children()]
        found += [f"{prefix}.{each}".lstrip(".") for each in children[children.index(child) + 1 :]]
    return found
