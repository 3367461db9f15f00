"""The weights of one tower, out of a file that holds those of a whole model."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from open_clip.model import convert_to_custom_text_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from mmkit.errors import DataError

Side = Literal["visual", "text"]

_BESIDE = ("visual.", "text.", "text_decoder.", "logit_scale", "logit_bias")
_DERIVED = ("text.attn_mask", "text.transformer.embeddings.position_ids")  # old files hold what is computed today


def load(tower: nn.Module, side: Side, file: Path) -> None:
    """Put the weights of a tower into it; those of the other tower are not kept.

    Args:
        tower: that they are for.
        side: which of the model's.
        file: of the whole model, .safetensors or a torch file of tensors.

    Raises:
        DataError: it cannot be read safely, or does not fit.
    """
    given = _state(file)
    foreign = sorted(name for name in given if not name.startswith(_BESIDE))
    prefix = f"{side}."
    mine = {n.removeprefix(prefix): v for n, v in given.items() if n.startswith(prefix) and n not in _DERIVED}
    own = tower.state_dict()
    missing, more = sorted(own.keys() - mine.keys()), sorted([*(mine.keys() - own.keys()), *foreign])
    other = sorted(name for name in own.keys() & mine.keys() if own[name].shape != mine[name].shape)
    for said, names in (("lacks", missing), ("has besides", more), ("has in another shape", other)):
        if names:
            raise DataError(
                f"{file} does not fit the {side} tower: it {said} {len(names)}: {', '.join(names[:5])}"
                f"{', ...' if len(names) > 5 else ''}; is it of this model?"
            )
    tower.load_state_dict(mine)


def _state(file: Path) -> Mapping[str, Tensor]:
    """Weights by name, as a model with two towers has them. Tensors only: nothing in the file is run."""
    found: Any
    try:
        if file.suffix == ".safetensors":
            found = load_file(file)
        else:
            # Mapped where the format allows it, so that the other tower is never read.
            found = torch.load(file, "cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # whatever a damaged or a malicious file makes the readers raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{file} holds no weights that can be read safely: {reason}") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]  # a checkpoint of open_clip's own training
    if not (isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values())):
        raise DataError(f"{file} holds no weights by name; give a state dict")
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): value for name, value in found.items()}  # saved under DDP
    return convert_to_custom_text_state_dict(found)
