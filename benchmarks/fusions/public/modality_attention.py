"""TorchMultimodal's code, from which our default score is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion

REPOSITORY, FILE, INPUTS = "facebookresearch/multimodal", "torchmultimodal/modules/fusions/attention_fusion.py", 3


def published(module: Any, fusion: ModalityAttentionFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    names = tuple(fusion.project)
    network = module.AttentionFusionModule(dict(zip(names, fusion.widths, strict=True)), fusion.width)
    network.attention[0].load_state_dict(fusion.score.linear.state_dict())
    network.encoding_projection.load_state_dict(fusion.project.state_dict())
    return network, lambda vectors: network(dict(zip(names, vectors, strict=True)))
