"""Text tower of any model of open_clip (CLIP, SigLIP, ...), frozen, adapted or fine-tuned.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020; Ilharco et al., "OpenCLIP", 2021, https://github.com/mlfoundations/open_clip.

Axes: B batch, T tokens, D width of the space that images and texts share.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_open_clip.source import weights_file
from mmkit_open_clip.text_transform import OpenClipTextTransform
from mmkit_open_clip.tower_tuning import tuned
from mmkit_open_clip.towers import Reading, text_tower
from mmkit_open_clip.weights import load


class OpenClipTextEncoder(nn.Module):
    """The embedding of the model as pooled vector; the states of the tokens as tokens, projected to its width.

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

    reads = OpenClipTextTransform

    def __init__(
        self,
        transform: OpenClipTextTransform,
        *,
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        output: Literal["tokens", "pooled"] = "tokens",
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        tower = text_tower(transform.config, transform.transformer)
        if not transform.restored and (file := weights_file(transform.model, transform.pretrained)):
            load(tower, "text", file)
        self.tuned = tuned(tower, Reading, tune, rank, decay, checkpointing=checkpointing)
        self.frozen = self.tuned.frozen
        self.width = int(transform.config["embed_dim"])
        self.output = output
        self.padding = transform.padding

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens with the pooled vector; or [B 1 D], the pooled vector alone."""
        mask = batch["mask"]
        # Padding is what the tokenizer puts there, whatever the batch holds; a missing text keeps its few tokens.
        tokens = batch["tokens"].masked_fill(~mask & mask.any(1, keepdim=True), self.padding)
        summary, states = self.tuned(tokens)
        if self.output == "pooled":
            return Features.of(summary, mask.any(1))
        return Features.of(states, mask, summary)
