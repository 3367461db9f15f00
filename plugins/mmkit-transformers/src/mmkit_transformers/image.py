"""Any image model of transformers (ViT, DINOv2, SigLIP, Swin, ...), frozen, adapted or fine-tuned.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations),
https://aclanthology.org/2020.emnlp-demos.6.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_transformers.image_transform import TransformersImageTransform
from mmkit_transformers.network import network
from mmkit_transformers.states import States, asked, featured


class TransformersImageEncoder(nn.Module):
    """The hidden states of a layer (patches, or positions of a feature map) as tokens, with a pooled vector.

    Of a model with several towers (CLIP, SigLIP), the image tower is taken.

    Args:
        transform: the fitted transform, which knows the model.
        pooling: how tokens become one vector: their "mean", the first one ("cls") or the elementwise maximum ("max"),
            or the model's own ("model": the attention pooling of SigLIP, the normalised first token of CLIP); "none"
            leaves it to the fusion.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        layer: number of the layer whose hidden states are read; -1 is the last, 0 the input of the first.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N layers or stages.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each layer to the one below it, with tune=full or partial; 1 is
            off.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TransformersImageTransform
    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        transform: TransformersImageTransform,
        *,
        pooling: Literal["mean", "cls", "max", "model", "none"] = "mean",
        output: Literal["tokens", "pooled"] = "tokens",
        layer: int = -1,
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        model = network(transform, "vision_model", pooler=pooling == "model")
        asked(model, pooling, output)
        self.register_buffer("scale", torch.tensor(transform.scale).view(-1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(transform.offset).view(-1, 1, 1), persistent=False)
        self.states = States(
            model,
            {"pixel_values": torch.zeros(1, len(transform.scale), *transform.images.shape)},
            layer=layer,
            pooling=pooling,
            tune=tune,
            rank=rank,
            decay=decay,
            checkpointing=checkpointing,
        )
        self.frozen = self.states.frozen
        self.width = self.states.width
        self.pooling = pooling
        self.output = output

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, or [B 1 D], the pooled vector alone."""
        pixels = batch["pixels"].to(self.scale.dtype) * self.scale + self.offset
        tokens, own = self.states(rows=batch["mask"], pixel_values=pixels)
        mask = batch["mask"].unsqueeze(1).expand(-1, tokens.shape[1])
        return featured(tokens, mask, own, self.pooling, self.output)
