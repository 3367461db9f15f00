"""The authors' code, over one vector each, behind the projection of the anchor, which they do not need."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.mag import MagFusion

REPOSITORY, FILE, INPUTS = "WasifurRahman/BERT_multimodal_transformer", "modeling.py", 3
STANDS_IN = {"global_configs": {"DEVICE": torch.device("cpu")}}


def published(module: Any, fusion: MagFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    anchor, seen, heard = (cast(nn.Linear, linear) for linear in fusion.project.values())
    module.TEXT_DIM, module.VISUAL_DIM, module.ACOUSTIC_DIM = fusion.width, seen.in_features, heard.in_features
    with redirect_stdout(StringIO()):
        network = module.MAG(fusion.width, fusion.limit, 0.0)
    project = nn.Linear(anchor.in_features, fusion.width)
    theirs = (project, network.W_v, network.W_a, network.W_hv, network.W_ha, network.LayerNorm)
    for layer, ours in zip(theirs, (anchor, seen, heard, *fusion.gate.values(), fusion.norm), strict=True):
        layer.load_state_dict(ours.state_dict())
    return nn.ModuleList([project, network]), lambda vectors: network(project(vectors[0]), *vectors[1:])
