"""The weights of one tower, out of a file that holds those of a whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from open_clip.model import convert_to_custom_text_state_dict
from torch import nn

from mmkit.errors import DataError
from mmkit.pretrained import weights

_BESIDE = ("visual.", "text.", "text_decoder.", "logit_scale", "logit_bias")
_DERIVED = ("text.attn_mask", "text.transformer.embeddings.position_ids")  # old files hold what is computed today


def load(tower: nn.Module, side: Literal["visual", "text"], file: Path) -> None:
    """Put the weights of a tower into it; those of the other tower are dropped.

    Args:
        tower: that they are for.
        side: which of the model's.
        file: of the whole model, .safetensors or a torch file of tensors.

    Raises:
        DataError: it cannot be read safely, or does not fit.
    """
    found = weights.read(file)
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): value for name, value in found.items()}  # saved under DDP
    found = convert_to_custom_text_state_dict(found)  # the text tower's under a name of their own
    foreign = sorted(name for name in found if not name.startswith(_BESIDE))
    if foreign:
        raise DataError(
            f"{file} holds {', '.join(foreign[:5])} besides the two towers of a model; give a checkpoint of open_clip"
        )
    prefix = f"{side}."
    mine = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix) and n not in _DERIVED}
    weights.load(tower, mine, f"the {side} tower of {file}")
