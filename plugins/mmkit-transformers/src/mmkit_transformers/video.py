"""Video models of transformers as encoders.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022, https://arxiv.org/abs/2203.12602; Arnab et al., "ViViT: A Video Vision Transformer", ICCV 2021,
https://arxiv.org/abs/2103.15691; Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?"
(TimeSformer), ICML 2021, https://arxiv.org/abs/2102.05095.

Axes: B batch, T frames, P tokens, D width, H height, W width of a frame.
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
from mmkit_transformers.video_transform import TransformersVideoTransform


class TransformersVideoEncoder(nn.Module):
    """The hidden states of a layer, pieces of space and time, as tokens, with a summary.

    Args:
        transform: the fitted transform; it knows the model.
        pooling: the summary: "mean" of the tokens, the first one ("cls"), the greatest of each value ("max"); "none"
            leaves it to the fusion.
        output: "tokens", or "pooled" for the summary as the one token.
        layer: whose hidden states; -1 is the last, 0 what goes into the first.
        tune: frozen, lora, dora, full or partial:N (the last N layers).
        rank: of the adapters.
        decay: of the learning rate from layer to layer downwards, with tune=full.
        checkpointing: compute activations again in the backward instead of keeping them.
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
        rank: Annotated[int, Gt(0)] = 8,
        decay: Annotated[float, Gt(0), Le(1)] = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if output == "pooled" and pooling == "none":
            raise ValueError("output=pooled needs a summary; pooling is none")
        model = _model(transform)
        if pooling == "cls" and not any(name.endswith("cls_token") for name, _ in model.named_parameters()):
            raise ValueError(f"{type(model).__name__} has no first token that sums up the others; take pooling=mean")
        blocks = _blocks(model)
        if not -len(blocks) <= layer <= len(blocks):
            raise ValueError(
                f"layer is {layer}; the model has {len(blocks)}, so expected {-len(blocks)} to {len(blocks)}"
            )
        last = layer in {-1, len(blocks)}
        if not last and tune not in {"frozen", "lora", "dora"}:
            raise ValueError(f"tune={tune} trains what comes after layer {layer}, which nothing reads; take layer=-1")
        if checkpointing:
            model.activation_checkpointing_enable()
        after = ["layernorm"] if getattr(model, "layernorm", None) is not None else []
        read_blocks = blocks if last else blocks[: layer % (len(blocks) + 1)]
        self.tuned = Tuned(model, tune, blocks=read_blocks, after=after, rank=rank, decay=decay)
        self.frozen = self.tuned.frozen
        self.width = int(model.config.hidden_size)
        self.pooling = pooling
        self.output = output
        self.layer = layer
        self.register_buffer("scale", torch.tensor(transform.scale).view(-1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(transform.offset).view(-1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Features:
        """[B P D] tokens, or [B 1 D], the summary alone."""
        there = batch["mask"].any(1)
        pixels = batch["pixels"].to(self.scale.dtype) * self.scale + self.offset  # [B T 3 H W]
        every = self.layer != -1
        found = self.tuned(pixel_values=pixels, output_hidden_states=every)
        tokens: Tensor = found.hidden_states[self.layer] if every else found.last_hidden_state
        summary = _summary(tokens, self.pooling)
        if self.output == "pooled" and summary is not None:
            return Features.of(summary, there)
        return Features.of(tokens, there.unsqueeze(1).expand(-1, tokens.shape[1]), summary)


def _summary(tokens: Tensor, how: str) -> Tensor | None:
    """[B D] of tokens [B P D], which are all real."""
    if how == "mean":
        return tokens.mean(1)
    if how == "cls":
        return tokens[:, 0]
    return tokens.amax(1) if how == "max" else None


def _model(transform: TransformersVideoTransform) -> Any:
    if transform.restored:
        config = dict(transform.config)
        model = AutoModel.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    else:
        load = {"output_loading_info": True, "dtype": torch.float32}
        model, report = read(AutoModel.from_pretrained, transform.model, transform.revision, **load)
        missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise DataError(
                f"{transform.model} lacks {len(missing)} weights of its model: {', '.join(missing[:5])}; "
                "give a folder with all of them"
            )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # nothing here reads it
    return model


def _blocks(model: nn.Module) -> list[str]:
    """The names of the model's layers: the first list of modules of one type."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and len({type(block) for block in module}) == 1:
            return [f"{name}.{number}" for number in range(len(module))]
    raise ValueError(f"{type(model).__name__} has no list of layers; mmkit-transformers cannot tell its blocks")
