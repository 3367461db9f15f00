"""The authors' code from the projections on, without its recurrent networks, discriminators and reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fusions.public.weights import encoder_layer
from mmkit.fusions.vectors.shared_private import SharedPrivateFusion

REPOSITORY, FILE, INPUTS = "declare-lab/MISA", "src/models.py", 3
STANDS_IN = {
    "transformers": {"BertModel": None, "BertConfig": None},
    "utils": {"to_gpu": None, "ReverseLayerF": None},
}
NOTE = (
    "PyTorch's transformer layer in it is made as ours is: pre-norm, with GELU and a feed-forward network of twice the "
    "width; its own is post-norm, with ReLU and 2048 numbers"
)
PARTS = ("t", "v", "a")


def published(module: Any, fusion: SharedPrivateFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    narrow = next(iter(fusion.project.values())).in_features // 4  # it projects four states of its recurrent networks
    network = module.MISA(
        SimpleNamespace(
            embedding_size=narrow,
            visual_size=narrow,
            acoustic_size=narrow,
            hidden_size=fusion.width,
            num_classes=fusion.width,
            word2id=[0],
            rnncell="lstm",
            activation=nn.ReLU,
            dropout=0.0,
            use_bert=False,
            use_cmd_sim=True,
        )
    )
    layer = encoder_layer(fusion.layer, batch_first=False)
    network.transformer_encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    projects, privates = ([getattr(network, f"{kind}_{part}") for part in PARTS] for kind in ("project", "private"))
    ours = zip(fusion.project.values(), fusion.norm.values(), fusion.private.values(), strict=True)
    for project, private, (linear, norm, own) in zip(projects, privates, ours, strict=True):
        project[0].load_state_dict(linear.state_dict())
        project[2].load_state_dict(norm.state_dict())
        private[0].load_state_dict(own.state_dict())
    network.shared[0].load_state_dict(fusion.shared.state_dict())
    network.fusion[0].load_state_dict(fusion.mix[0].state_dict())
    network.fusion[3].load_state_dict(fusion.mix[2].state_dict())

    def form(vectors: list[Tensor]) -> Tensor:
        network.shared_private(*vectors)
        tokens = [getattr(network, f"utt_{kind}_{part}") for kind in ("private", "shared") for part in PARTS]
        return network.fusion(torch.cat(list(network.transformer_encoder(torch.stack(tokens))), 1))

    used = [*projects, *privates, network.shared, network.transformer_encoder, network.fusion]
    return nn.ModuleList(used), form
