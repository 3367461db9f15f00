"""Where a model comes from: open_clip's own list, a folder, or the hub and its local cache.

`model` is a name that open_clip knows ("ViT-B-32"), "hf-hub:OWNER/NAME" or "local-dir:FOLDER"; `pretrained` a tag of
that name ("laion2b_s34b_b79k"), a file, or "none".
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from mmkit.errors import DataError, UsageError, one_of
from mmkit.pretrained.weights import fetched

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
"""Files of weights as folders and the hub name them; the first that exists is taken."""

Described = tuple[dict[str, Any], dict[str, Any]]
"""The configuration of a model, and how its images are prepared."""


def described(model: str, pretrained: str) -> Described:
    """The configuration of a model, and how its images are prepared.

    Raises:
        UsageError: no such model or tag, or a tag of weights that another model was trained for.
        DataError: the folder or the hub does not give the configuration.
    """
    kind, place = _parsed(model)
    if kind == "folder":
        return _read(_in_folder(Path(place), (CONFIG,), "a folder that has it, as open_clip's models on the hub do"))
    if kind == "hub":
        return _read(
            fetched(place, (CONFIG,), f"model=local-dir:FOLDER after `hf download {place} --local-dir FOLDER`")
        )
    config = open_clip.get_model_config(place)
    if config is None and Path(model).is_dir():
        raise UsageError(f"{model} is a folder; give model=local-dir:{model}")
    if config is None:
        raise UsageError(f"open_clip has no model {place}; {one_of(open_clip.list_models(), place)}")
    return config, _prepared(place, config, pretrained)


def weights_file(model: str, pretrained: str) -> Path | None:
    """The file of the weights, on this disk; None for random weights.

    Raises:
        DataError: it is not available on this machine; the message says what to download, and how to give it.
    """
    if pretrained == "none":
        return None
    if _is_file(pretrained):
        if not Path(pretrained).is_file():
            raise DataError(f"there is no file {pretrained}; pretrained takes a file, a tag of open_clip, or none")
        return Path(pretrained)
    kind, place = _parsed(model)
    if kind == "folder":
        return _in_folder(Path(place), WEIGHTS, "the folder of a model, or pretrained=none or a FILE")
    if kind == "hub":
        return fetched(place, WEIGHTS[:2], f"model=local-dir:FOLDER after `hf download {place} --local-dir FOLDER`")
    tag = open_clip.get_pretrained_cfg(place, pretrained)
    repository, _, name = (tag.get("hf_hub") or "").rpartition("/")
    if not repository:
        raise DataError(
            f"the weights {pretrained} are not on the hub; download {tag.get('url')}, and give pretrained=FILE"
        )
    names = [f"{name.rpartition('.')[0]}.safetensors", name] if name else WEIGHTS[:2]
    return fetched(repository, names, "pretrained=FILE")


def _parsed(model: str) -> tuple[str, str]:
    for prefix, kind in (("local-dir:", "folder"), ("hf-hub:", "hub")):
        if model.startswith(prefix):
            if not model.removeprefix(prefix):
                raise UsageError(f"model is {model!r}; a {kind} belongs after {prefix}")
            return kind, model.removeprefix(prefix)
    return "name", model.replace("/", "-")


def _is_file(pretrained: str) -> bool:
    return os.sep in pretrained or Path(pretrained).is_file() or Path(pretrained).suffix in _SUFFIXES


_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".npz"}


def _prepared(name: str, config: dict[str, Any], pretrained: str) -> dict[str, Any]:
    """How images are prepared for weights: their tag's way; of a file, the way that all tags of the model agree on."""
    plain = asdict(PreprocessCfg()) | {"size": config["vision_cfg"].get("image_size", 224)}
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained != "none" and not _is_file(pretrained):
        tag = open_clip.get_pretrained_cfg(name, pretrained)
        if not tag:
            raise UsageError(
                f"open_clip has no weights {pretrained} of {name}, and there is no such file; "
                f"{one_of([*tags, 'none'], pretrained)}"
            )
        quick = bool(tag.get("quick_gelu", False))
        if quick != bool(config.get("quick_gelu", False)):
            other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
            raise UsageError(
                f"the weights {pretrained} were trained {'with' if quick else 'without'} QuickGELU, unlike {name}; "
                f"take model={other}"
            )
        tags = [pretrained]
    ways = [merge_preprocess_dict(plain, open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    return ways[0] if ways and all(way == ways[0] for way in ways) else plain


def _read(file: Path) -> Described:
    try:
        found = json.loads(file.read_text("utf-8"))
        config = found["model_cfg"]
        lacking = [name for name in ("embed_dim", "vision_cfg", "text_cfg") if name not in config]
        size = None if lacking else config["vision_cfg"].get("image_size", 224)
        way = merge_preprocess_dict(PreprocessCfg(), {**found.get("preprocess_cfg", {}), "size": size})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no configuration of open_clip: {type(error).__name__}: {error}") from error
    if lacking:
        raise DataError(f"{file} is no configuration of open_clip: its model_cfg lacks {', '.join(lacking)}")
    return config, way


def _in_folder(folder: Path, names: Sequence[str], instead: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with {CONFIG} and weights")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' or '.join(names)}; give {instead}")
