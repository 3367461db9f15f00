"""Any image model of timm, frozen, adapted or fine-tuned.

Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models.

Axes: B batch, T tokens, D width, H height, W width of a map.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.errors import DataError
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune, Tuned
from mmkit.pretrained.weights import fetched, load, read
from mmkit_timm.transform import TimmTransform

CONTAINERS = ("blocks", "stages", "layers", "features")
"""Where models of timm keep their blocks."""


class TimmEncoder(nn.Module):
    """Positions of the last feature map, or patches, as tokens; the model's own pooled features as pooled vector.

    Args:
        transform: the fitted transform.
        weights: "hub" takes the pretrained weights of the model from the local cache of the hub, or downloads them; a
            path reads a file of weights (.safetensors, or a torch file of tensors); "none" draws random weights.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N blocks.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each block to the one below it, with tune=full or partial; 1 is
            off.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TimmTransform

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        transform: TimmTransform,
        *,
        weights: str = "hub",
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        output: Literal["tokens", "pooled"] = "tokens",
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        model = _model(transform, weights)
        blocks, after = tuning_blocks(model)
        self.tuned = Tuned(
            _TokensAndSummary(model),
            tune,
            blocks=[f"model.{name}" for name in blocks],
            after=[f"model.{name}" for name in after],
            rank=rank,
            decay=decay,
            checkpointing=checkpointing,
        )
        self.frozen = self.tuned.frozen
        self.output = output
        self.register_buffer("mean", torch.tensor(transform.images.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(transform.images.std).view(-1, 1, 1), persistent=False)
        with torch.no_grad():
            tokens, summary = self.tuned.eval()(torch.zeros(1, 3, transform.size, transform.size))
        self.width = summary.shape[1] if output == "pooled" else tokens.shape[2]
        self.pools = output == "tokens" and summary.shape[1] == tokens.shape[2]
        """Whether the pooled vector is as wide as the tokens; some heads change the width."""
        self.train()

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, with the pooled vector where it is as wide; or [B 1 D], the pooled vector alone."""
        mask = batch["mask"]
        pixels = (batch["pixels"].to(self.mean.dtype) / 255 - self.mean) / self.std
        tokens, summary = self.tuned(pixels, rows=mask)
        if self.output == "pooled":
            return Features.of(summary, mask)
        return Features.of(tokens, mask.unsqueeze(1).expand(-1, tokens.shape[1]), summary if self.pools else None)


class _TokensAndSummary(nn.Module):
    """The model's features as tokens [B T D], and pooled [B D]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model.forward_features(pixels)
        summary = self.model.forward_head(found, pre_logits=True)
        if found.ndim == 4:
            last = found.shape[-1] == self.model.num_features and found.shape[1] != self.model.num_features
            found = found.flatten(1, 2) if last else found.flatten(2).transpose(1, 2)  # [B H*W D]
        return found, summary


def tuning_blocks(model: nn.Module) -> tuple[list[str], list[str]]:
    """The names of a model's blocks in order, and of what comes after them."""
    children = [name for name, _ in model.named_children()]
    stages = [name for name in children if name.startswith("layer") and name[5:].isdigit()]  # layer1, ..., layer4
    container = next((name for name in CONTAINERS if name in children), None)
    if container is not None:
        blocks = [f"{container}.{name}" for name, _ in model.get_submodule(container).named_children()]
        last = container
    else:
        blocks = stages or children
        last = blocks[-1]
    return blocks, children[children.index(last) + 1 :]


def _model(transform: TimmTransform, weights: str) -> Any:
    if transform.restored or weights == "none":
        return _created(transform)
    if weights == "hub":
        return _from_hub(transform)
    model = _created(transform)
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    given = {name: value for name, value in read(weights).items() if not name.startswith(tuple(f"{h}." for h in heads))}
    load(model, given, weights)
    return model


def _created(transform: TimmTransform, **options: Any) -> Any:
    """What the models of timm have in common; no class of timm declares it."""
    try:
        return timm.create_model(transform.model, num_classes=0, img_size=transform.size, **options)
    except TypeError:  # convolutional networks take any size, and no such argument
        return timm.create_model(transform.model, num_classes=0, **options)


def _from_hub(transform: TimmTransform) -> Any:
    # The transform has refused a model of which timm knows no weights.
    config = cast(PretrainedCfg, timm.get_pretrained_cfg(transform.model)).to_dict()
    repository, instead = config.get("hf_hub_id"), "its file: timm:weights=FILE"
    if not repository:
        place = config.get("url")
        told = f"download {place}" if place else "timm knows of none"
        raise DataError(f"the weights of {transform.model} are not on the hub; {told}, and give {instead}")
    names = [config["hf_hub_filename"]] if config.get("hf_hub_filename") else ["model.safetensors", "pytorch_model.bin"]
    file = fetched(repository, names, instead)
    # timm adapts weights to the shape of the model (numbers of pixels and classes included), and reads formats of its
    # own by itself; what might be a pickle it is handed as tensors.
    found: dict[str, Any] = {"file": str(file)} if config.get("custom_load") else {"state_dict": read(file)}
    return _created(transform, pretrained=True, pretrained_cfg_overlay=found)
