"""Any video model of transformers (VideoMAE, ViViT, TimeSformer), frozen, adapted or fine-tuned.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations),
https://aclanthology.org/2020.emnlp-demos.6. The models: Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient
Learners for Self-Supervised Video Pre-Training", NeurIPS 2022, https://arxiv.org/abs/2203.12602; Arnab et al., "ViViT:
A Video Vision Transformer", ICCV 2021, https://arxiv.org/abs/2103.15691; Bertasius et al., "Is Space-Time Attention All
You Need for Video Understanding?" (TimeSformer), ICML 2021, https://arxiv.org/abs/2102.05095.

Axes: B batch, T frames, P tokens, D width, H height, W width of a frame.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_transformers.network import network
from mmkit_transformers.states import States, asked, featured
from mmkit_transformers.video_transform import TransformersVideoTransform


class TransformersVideoEncoder(nn.Module):
    """The hidden states of a layer (patches of space and time) as tokens, with a pooled vector.

    Args:
        transform: the fitted transform, which knows the model.
        pooling: how tokens become one vector: their "mean", the first one ("cls") or the elementwise maximum ("max");
            "none" leaves it to the fusion.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        layer: number of the layer whose hidden states are read; -1 is the last, 0 the input of the first.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N layers.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each layer to the one below it, with tune=full or partial; 1 is
            off.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TransformersVideoTransform
    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        transform: TransformersVideoTransform,
        *,
        pooling: Literal["mean", "cls", "max", "none"] = "mean",
        output: Literal["tokens", "pooled"] = "tokens",
        layer: int = -1,
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        model = network(transform)
        asked(model, pooling, output)
        self.register_buffer("scale", torch.tensor(transform.scale).view(-1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(transform.offset).view(-1, 1, 1), persistent=False)
        frames, size = int(transform.config["num_frames"]), transform.videos.size
        self.states = States(
            model,
            {"pixel_values": torch.zeros(1, frames, len(transform.scale), size, size)},
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
        """[B P D] tokens, or [B 1 D], the pooled vector alone."""
        pixels = batch["pixels"].to(self.scale.dtype) * self.scale + self.offset  # [B T 3 H W]
        tokens, own = self.states(pixel_values=pixels)
        mask = batch["mask"].any(1, keepdim=True).expand(-1, tokens.shape[1])
        return featured(tokens, mask, own, self.pooling, self.output)
