"""Image tower of any model of open_clip (CLIP, SigLIP, ...), frozen, adapted or fine-tuned.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020; Ilharco et al., "OpenCLIP", 2021, https://github.com/mlfoundations/open_clip.

Axes: B batch, T tokens, D width of the space that images and texts share.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_open_clip.image_transform import OpenClipImageTransform
from mmkit_open_clip.source import weights_file
from mmkit_open_clip.tower_tuning import tuned
from mmkit_open_clip.towers import Looking, image_tower
from mmkit_open_clip.weights import load


class OpenClipImageEncoder(nn.Module):
    """The embedding of the model as pooled vector; patches or positions of a map as tokens, projected to its width.

    Args:
        transform: the fitted transform, which knows the model.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N blocks.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each block to the one below it, with tune=full or partial; 1 is
            off.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = OpenClipImageTransform

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        transform: OpenClipImageTransform,
        *,
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        output: Literal["tokens", "pooled"] = "tokens",
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        tower = image_tower(transform.config)
        if not transform.restored and (file := weights_file(transform.model, transform.pretrained)):
            load(tower, "visual", file)
        self.tuned = tuned(tower, Looking, tune, rank, decay, checkpointing=checkpointing)
        self.frozen = self.tuned.frozen
        self.width = int(transform.config["embed_dim"])
        self.output = output
        self.register_buffer("mean", torch.tensor(transform.images.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(transform.images.std).view(-1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens with the pooled vector; or [B 1 D], the pooled vector alone."""
        mask = batch["mask"]
        pixels = (batch["pixels"].to(self.mean.dtype) / 255 - self.mean) / self.std
        summary, tokens = self.tuned(pixels, rows=mask)
        if self.output == "pooled" or tokens is None:
            return Features.of(summary, mask)
        return Features.of(tokens, mask.unsqueeze(1).expand(-1, tokens.shape[1]), summary)
