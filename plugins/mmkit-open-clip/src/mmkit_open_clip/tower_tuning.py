"""How much of a tower is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from open_clip.hf_model import HFTextEncoder
from torch import nn

from mmkit.tuning import Tuned
from mmkit_open_clip.towers import anatomy, opened


def tuned(
    tower: Any,
    face: Callable[[nn.Module], nn.Module],
    tune: str,
    rank: int,
    decay: float,
    *,
    checkpointing: bool,
) -> Tuned:
    """A tower with its weights, under its face, of which so much is trained as `tune` says."""
    of_transformers = isinstance(tower, HFTextEncoder)
    if checkpointing and not of_transformers:
        tower.set_grad_checkpointing(True)
    blocks, after = anatomy(tower)
    if tune in {"lora", "dora"}:
        opened(tower, blocks)
    return Tuned(
        face(tower),
        tune,
        blocks=[f"tower.{name}" for name in blocks],
        after=[f"tower.{name}" for name in after],
        rank=rank,
        decay=decay,
        checkpointing=checkpointing and of_transformers,  # open_clip calls theirs by an old name
    )
