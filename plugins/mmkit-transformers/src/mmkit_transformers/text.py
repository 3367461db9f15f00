"""Any text model of transformers (BERT, RoBERTa, MiniLM, ...), frozen, adapted or fine-tuned.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations),
https://aclanthology.org/2020.emnlp-demos.6.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_transformers.network import network
from mmkit_transformers.states import States, featured
from mmkit_transformers.text_transform import TransformersTextTransform


class TransformersTextEncoder(nn.Module):
    """The hidden states of a layer as tokens, with a pooled vector.

    Of a model with several towers (CLIP, CLAP) the text tower is taken, of one with a decoder (T5) the encoder.

    Args:
        transform: the fitted transform, which knows the model.
        pooling: how tokens become one vector: their "mean", the first one ("cls") or the elementwise maximum ("max");
            "none" leaves it to the fusion.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        layer: number of the layer whose hidden states are read; -1 is the last, 0 the embeddings.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N layers.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each layer to the one below it, with tune=full or partial; 1 is
            off.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TransformersTextTransform

    def __init__(
        self,
        transform: TransformersTextTransform,
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
        if output == "pooled" and pooling == "none":
            raise ValueError("output=pooled needs a pooled vector; pooling is none")
        two = torch.zeros(1, 2, dtype=torch.long)
        self.states = States(
            network(transform, "text_model"),
            {"input_ids": two, "attention_mask": torch.ones_like(two)},
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
        mask = batch["mask"]
        # A missing text would have nothing to attend to: its padding is unmasked for the model, and masked afterwards.
        shown = mask | ~mask.any(1, keepdim=True)
        tokens, own = self.states(input_ids=batch["tokens"], attention_mask=shown.long())
        return featured(tokens, mask, own, self.pooling, self.output)
