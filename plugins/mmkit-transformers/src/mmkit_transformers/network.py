"""Models of transformers: read from a folder or the hub, or rebuilt from a saved configuration; their blocks."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from mmkit.errors import DataError
from mmkit_transformers.source import NO_ADAPTER, read

REPORTED = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What transformers shall say, rather than raise, of weights that do not fit."""
BUFFERS = ("position_ids", "inv_freq", ".attn.bias", ".attn.masked_bias", "relative_position_index")
"""Ends of the names of what older checkpoints hold and newer models compute."""


class Source(Protocol):
    """What a fitted transform knows of its model."""

    model: str
    """A name of the hub, or a folder."""
    revision: str | None
    config: dict[str, Any]
    """The model's configuration, as plain values."""
    restored: bool
    """True where a saved model is being built: its weights come from its own file."""


def network(source: Source, tower: str = "", *, pooler: bool = False) -> Any:
    """The model of a source, in float32: of an encoder and a decoder the encoder, of several towers the one asked for.

    Args:
        source: the fitted transform.
        tower: the name of a part ("vision_model"), taken where the model has it.
        pooler: keep the layer that makes the model's own pooled vector.

    Raises:
        DataError: it is not available on this machine, or lacks weights, or has weights of other blocks.
    """
    if source.restored:
        config = dict(source.config)
        made = AutoConfig.for_model(config.pop("model_type"), **config)
        whole, report = AutoModel.from_config(made, dtype=torch.float32), None  # whatever its source was saved in
    else:
        load, options = AutoModel.from_pretrained, {"dtype": torch.float32, **REPORTED, **NO_ADAPTER}
        whole, report = read(load, source.model, source.revision, **options)
        _keep_fixed(whole)
    model: Any = whole
    prefix = ""
    if getattr(model.config, "is_encoder_decoder", False):
        model, prefix = model.get_encoder(), "encoder."
    elif tower and getattr(model, tower, None) is not None:
        model, prefix = getattr(model, tower), f"{tower}."
    own = getattr(model, "pooler", None)
    if not pooler and own is not None and any(True for _ in own.parameters()):
        model.pooler = None  # nothing here reads it
    # Augmentation inside a model uses numpy's global generator, which no seed of a run sets.
    if getattr(model.config, "apply_spec_augment", False):
        model.config.apply_spec_augment = False
    # Cached keys and values are not needed here, and are wrong with checkpointing.
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
    if report is not None:
        _complete(source.model, whole, model, prefix, report)
    return model


def _keep_fixed(model: nn.Module) -> None:
    """Freeze again what a model does not train (Whisper's sinusoidal positions): reading weights unfreezes it."""
    with torch.device("meta"):
        bare = AutoModel.from_config(model.config)
    for name, weight in bare.named_parameters():
        if not weight.requires_grad:
            model.get_parameter(name).requires_grad = False


def _complete(name: str, whole: Any, model: Any, prefix: str, report: Mapping[str, Iterable[str]]) -> None:
    found = misfits(report, {f"{prefix}{key}" for key in model.state_dict()})
    within = f"{prefix}{container(model)}."
    names = [key.removeprefix(f"{whole.base_model_prefix}.") for key in report["unexpected_keys"]]
    more = sorted(key for key in names if key.startswith(within) and not key.endswith(BUFFERS))
    if more:
        found.append(
            f"has {len(more)} weights that the model of its config.json does not have: {', '.join(more[:5])}; "
            "give the configuration that belongs to them"
        )
    if found:
        raise DataError(f"{name} {'; it '.join(found)}")


def misfits(report: Mapping[str, Iterable[Any]], own: Container[str]) -> list[str]:
    """What a model lacks, or has in another shape, in words that follow its name.

    Args:
        report: what `REPORTED` asked of transformers.
        own: the names of the weights that the model needs.
    """
    other = {key: (given, expected) for key, given, expected in report["mismatched_keys"] if key in own}
    missing = sorted(key for key in report["missing_keys"] if key in own and key not in other)
    found = []
    if missing:
        found.append(
            f"lacks {len(missing)} weights of its model: {', '.join(missing[:5])}; give a folder with all of them"
        )
    if other:
        few = [f"{key} {list(given)}, not {list(expected)}" for key, (given, expected) in sorted(other.items())[:3]]
        found.append(
            f"has {len(other)} weights of another shape than its config.json says: {', '.join(few)}; "
            "give the configuration that belongs to them"
        )
    return found


def container(model: nn.Module) -> str:
    """The name of the list of a model's blocks: the list of modules with the most weights.

    Raises:
        ValueError: there is none.
    """
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and not any(isinstance(part, nn.ModuleList) for part in module)
    }
    if not lists:
        raise ValueError(f"{type(model).__name__} has no list of layers; mmkit-transformers cannot identify its blocks")
    return max(lists, key=lambda name: sum(weight.numel() for weight in lists[name].parameters()))


def cut(model: nn.Module, kept: int) -> None:
    """Take away all blocks but the first, where a model has no other list that goes with them (XLM has four).

    Args:
        model: whose later blocks are not needed.
        kept: how many stay; all of them may.
    """
    blocks: Any = model.get_submodule(container(model))
    others = set(model.modules()) - set(blocks.modules())
    if not any(isinstance(other, nn.ModuleList) and len(other) == len(blocks) for other in others):
        del blocks[kept:]


def tuning_blocks(model: nn.Module, example: Mapping[str, Tensor]) -> tuple[list[str], list[str], Any]:
    """The names of a model's blocks in order and of what it calls after them, and what it gives for an example.

    Args:
        model: in evaluation.
        example: what its forward takes, a batch of one.
    """
    within = container(model)
    blocks = [f"{within}.{name}" for name, _ in model.get_submodule(within).named_children()]
    called: list[str] = []

    def note(name: str, *_: object) -> None:
        called.append(name)

    hooks = [module.register_forward_pre_hook(partial(note, name)) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            found = model(**example, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    begun = called.index(blocks[-1])
    after: list[str] = []
    for name in called[begun:]:
        if name not in called[:begun] and not name.startswith((f"{within}.", *(f"{owner}." for owner in after))):
            after.append(name)
    return blocks, sorted(set(after)), found
