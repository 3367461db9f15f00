"""Text models of transformers as encoders.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations),
https://arxiv.org/abs/1910.03771.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from mmkit.contract import Batch, Features
from mmkit.errors import DataError
from mmkit.tuning import Tune, Tuned
from mmkit_transformers.source import read
from mmkit_transformers.text_transform import TransformersTextTransform


class TransformersTextEncoder(nn.Module):
    """The hidden states of a layer as tokens, with a summary.

    Args:
        transform: the fitted transform; it knows the model.
        pooling: the summary: "mean" of the tokens, the first one ("cls"), the greatest of each value ("max"); "none"
            leaves it to the fusion.
        output: "tokens", or "pooled" for the summary as the one token.
        layer: whose hidden states; -1 is the last, 0 the embeddings.
        tune: frozen, lora, dora, full or partial:N (the last N layers).
        rank: of the adapters.
        decay: of the learning rate from layer to layer downwards, with tune=full.
        checkpointing: compute activations again in the backward instead of keeping them.
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
        rank: Annotated[int, Gt(0)] = 8,
        decay: Annotated[float, Gt(0), Le(1)] = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if output == "pooled" and pooling == "none":
            raise ValueError("output=pooled needs a summary; pooling is none")
        model = _model(transform)
        blocks = _blocks(model)
        if not -len(blocks) <= layer <= len(blocks):
            raise ValueError(
                f"layer is {layer}; the model has {len(blocks)}, so expected {-len(blocks)} to {len(blocks)}"
            )
        if checkpointing:
            model.activation_checkpointing_enable()
        self.tuned = Tuned(model, tune, blocks=blocks, rank=rank, decay=decay)
        self.frozen = self.tuned.frozen
        self.width = int(model.config.hidden_size)
        self.pooling = pooling
        self.output = output
        self.layer = layer

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, or [B 1 D], the summary alone."""
        mask = batch["mask"]
        # A text that is missing would have nothing to attend to: it is shown its own padding, and masked afterwards.
        shown = mask | ~mask.any(1, keepdim=True)
        every = self.layer != -1
        found = self.tuned(input_ids=batch["tokens"], attention_mask=shown.long(), output_hidden_states=every)
        tokens = found.hidden_states[self.layer] if every else found.last_hidden_state
        summary = pooled(tokens, mask, self.pooling)
        if self.output == "pooled" and summary is not None:
            return Features.of(summary, mask.any(1))
        return Features.of(tokens, mask, summary)


def pooled(tokens: Tensor, mask: Tensor, how: str) -> Tensor | None:
    """A summary [B D] of tokens [B T D], padding left out."""
    if how == "mean":
        return tokens.masked_fill(~mask.unsqueeze(-1), 0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    if how == "cls":
        return tokens[:, 0]
    if how == "max":
        least = torch.finfo(tokens.dtype).min
        greatest = tokens.masked_fill(~mask.unsqueeze(-1), least).amax(1)
        return torch.where(mask.any(1, keepdim=True), greatest, 0)
    return None


def _model(transform: TransformersTextTransform) -> Any:
    if transform.restored:
        config = dict(transform.config)
        model = AutoModel.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    else:
        model, report = read(
            AutoModel.from_pretrained,
            transform.model,
            transform.revision,
            output_loading_info=True,
            dtype=torch.float32,
        )
        missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise DataError(
                f"{transform.model} lacks {len(missing)} weights of its model: {', '.join(missing[:5])}; "
                "give a folder with all of them"
            )
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # a layer for the next-sentence task, which nothing here reads
    return model


def _blocks(model: nn.Module) -> list[str]:
    """The names of the model's layers: the first list of modules of one type."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and len({type(block) for block in module}) == 1:
            return [f"{name}.{number}" for number in range(len(module))]
    raise ValueError(f"{type(model).__name__} has no list of layers; mmkit-transformers cannot tell its blocks")
