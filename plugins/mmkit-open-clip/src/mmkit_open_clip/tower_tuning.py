"""How much of a tower is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mmkit.pretrained.tuning import Tuned
from mmkit_open_clip.towers import opened, tuning_blocks


def tuned(
    tower: Any,
    face: Callable[[nn.Module], nn.Module],
    tune: str,
    rank: int,
    decay: float,
    *,
    checkpointing: bool,
) -> Tuned:
    """A tower with its weights, of which as much is trained as `tune` says."""
    blocks, after = tuning_blocks(tower)
    if tune in {"lora", "dora"}:
        opened(tower, blocks)
    return Tuned(
        face(tower),
        tune,
        blocks=[f"tower.{name}" for name in blocks],
        after=[f"tower.{name}" for name in after],
        rank=rank,
        decay=decay,
        checkpointing=checkpointing,
    )
