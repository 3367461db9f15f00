"""Where a model comes from: open_clip's own list, a folder, or the hub by way of its local cache.

`model` is a name that open_clip knows ("ViT-B-32"), "hf-hub:OWNER/NAME" or "local-dir:FOLDER"; `pretrained` a tag of
that name ("laion2b_s34b_b79k"), a file, or "none".
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from mmkit.errors import DataError, UsageError, one_of

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
"""Files of weights as folders and the hub name them, the first that is there being taken."""

Described = tuple[dict[str, Any], dict[str, Any]]
"""The configuration of a model, and how its images are prepared."""


def described(model: str, pretrained: str) -> Described:
    """What a model is, without its weights.

    Raises:
        UsageError: no such model or tag, or a tag of weights that another model was trained for.
        DataError: the folder or the hub does not give the configuration.
    """
    kind, place = _parsed(model)
    if kind == "folder":
        return _read(_in_folder(Path(place), (CONFIG,)))
    if kind == "hub":
        return _read(
            _fetched(place, (CONFIG,), f"model=local-dir:FOLDER after `hf download {place} --local-dir FOLDER`")
        )
    config = open_clip.get_model_config(place)
    if config is None:
        raise UsageError(f"open_clip has no model {place}; {one_of(open_clip.list_models(), place)[:200]}")
    return config, _prepared(place, config, pretrained)


def weights_file(model: str, pretrained: str) -> Path | None:
    """The file of the weights, on this disk; None where new ones are drawn.

    Raises:
        DataError: it cannot be had here; the message says what to download, and how to give it.
    """
    if pretrained == "none":
        return None
    if _is_file(pretrained):
        if not Path(pretrained).is_file():
            raise DataError(f"there is no file {pretrained}; pretrained takes a file, a tag of open_clip, or none")
        return Path(pretrained)
    kind, place = _parsed(model)
    if kind == "folder":
        return _in_folder(Path(place), WEIGHTS)
    if kind == "hub":
        return _fetched(place, WEIGHTS[:2], f"model=local-dir:FOLDER after `hf download {place} --local-dir FOLDER`")
    tag = open_clip.get_pretrained_cfg(place, pretrained)
    repository, _, name = (tag.get("hf_hub") or "").rpartition("/")
    if repository:
        names = [name.rpartition(".")[0] + ".safetensors", name] if name else WEIGHTS[:2]
        return _fetched(repository, names, "pretrained=FILE")
    return _downloaded(tag["url"])


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


def _in_folder(folder: Path, names: Sequence[str]) -> Path:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with {CONFIG} and weights")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' or '.join(names)}; give the folder of a model, or pretrained=none or a FILE")


def _fetched(repository: str, names: Sequence[str], instead: str) -> Path:
    """The first of these files of a repository that the local cache, or the hub, has."""
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except (OSError, ValueError):
            continue
    if constants.HF_HUB_OFFLINE:
        raise _unavailable(repository, names[0], "HF_HUB_OFFLINE is set", instead)
    if not _reachable():
        raise _unavailable(repository, names[0], "the hub cannot be reached", instead)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the hub, the network or the disk makes of it
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise _unavailable(repository, names[0], reason, instead) from error
    raise _unavailable(repository, names[0], "the hub has no such file", instead)


def _unavailable(repository: str, name: str, reason: str, instead: str) -> DataError:
    return DataError(
        f"{name} of {repository} is not on this machine, and {reason}; download it on a machine with a network "
        f"(`hf download {repository}`), and give {instead}"
    )


def _downloaded(url: str) -> Path:
    try:
        return Path(open_clip.download_pretrained_from_url(url))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{url} cannot be had here ({error}); download it on a machine with a network, and give pretrained=FILE"
        ) from error


def _reachable() -> bool:
    """Whether the hub answers at all, asked once and for seconds only: the hub's own client tries for a minute."""
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 (the user's own setting)
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only to say no
    except OSError:
        return False
