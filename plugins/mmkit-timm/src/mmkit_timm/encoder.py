"""Image models of timm as encoders.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.

Axes: B batch, T tokens, D width, H height, W width of a map.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import timm
import torch
from annotated_types import Gt, Le
from safetensors.torch import load_file
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.errors import DataError
from mmkit.tuning import Tune, Tuned
from mmkit_timm.transform import TimmTransform

CONTAINERS = ("blocks", "stages", "layers", "features")
"""Where models of timm keep their blocks."""


class TimmEncoder(nn.Module):
    """Places of the last map, or patches, as tokens; the model's own pooled features as summary.

    Args:
        transform: the fitted transform.
        weights: "hub" downloads those of the model's name (or takes them from the local cache); a file, .safetensors or
            a torch file of tensors, is read from the disk; "none" draws new ones.
        tune: frozen, lora, dora, full or partial:N (the last N blocks).
        rank: of the adapters.
        decay: of the learning rate from block to block downwards, with tune=full.
        output: "tokens", or "pooled" for the summary as the one token.
        checkpointing: compute activations again in the backward instead of keeping them.
    """

    reads = TimmTransform

    def __init__(
        self,
        transform: TimmTransform,
        *,
        weights: str = "hub",
        tune: Tune = "frozen",
        rank: Annotated[int, Gt(0)] = 8,
        decay: Annotated[float, Gt(0), Le(1)] = 1.0,
        output: Literal["tokens", "pooled"] = "tokens",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        model = _model(transform, weights)
        if checkpointing:
            model.set_grad_checkpointing(True)
        blocks, after = anatomy(model)
        self.tuned = Tuned(
            _TokensAndSummary(model),
            tune,
            blocks=[f"model.{name}" for name in blocks],
            after=[f"model.{name}" for name in after],
            rank=rank,
            decay=decay,
        )
        self.frozen = self.tuned.frozen
        self.output = output
        self.register_buffer("mean", torch.tensor(transform.images.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(transform.images.std).view(-1, 1, 1), persistent=False)
        with torch.no_grad():
            tokens, summary = self.tuned.eval()(torch.zeros(1, 3, transform.size, transform.size))
        self.width = summary.shape[1] if output == "pooled" else tokens.shape[2]
        self.pools = output == "tokens" and summary.shape[1] == tokens.shape[2]
        """Whether the summary can stand beside the tokens: some heads change the width."""
        self.train()

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, with the summary where it is as wide; or [B 1 D], the summary alone."""
        mask = batch["mask"]
        pixels = (batch["pixels"].to(self.mean.dtype) / 255 - self.mean) / self.std
        tokens, summary = self.tuned(pixels)
        if self.output == "pooled":
            return Features.of(summary, mask)
        return Features.of(tokens, mask.unsqueeze(1).expand(-1, tokens.shape[1]), summary if self.pools else None)


class _TokensAndSummary(nn.Module):
    """The model's features as tokens [B T D], and pooled [B D]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model.forward_features(pixels)
        summary = self.model.forward_head(found, pre_logits=True)
        if found.ndim == 4:
            last = found.shape[-1] == self.model.num_features and found.shape[1] != self.model.num_features
            found = found.flatten(1, 2) if last else found.flatten(2).transpose(1, 2)  # [B H*W D]
        return found, summary


def anatomy(model: nn.Module) -> tuple[list[str], list[str]]:
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


def _model(transform: TimmTransform, weights: str) -> nn.Module:
    def create(*, pretrained: bool) -> nn.Module:
        try:
            size = {"img_size": transform.size}
            return timm.create_model(transform.model, pretrained=pretrained, num_classes=0, **size)  # type: ignore[no-any-return]
        except TypeError:  # convolutional networks take any size, and no such argument
            return timm.create_model(transform.model, pretrained=pretrained, num_classes=0)  # type: ignore[no-any-return]

    if transform.restored or weights == "none":
        return create(pretrained=False)
    if weights == "hub":
        try:
            return create(pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:
            config = timm.get_pretrained_cfg(transform.model).to_dict()
            place = config.get("hf_hub_id") or config.get("url") or "them"
            raise DataError(
                f"the weights of {transform.model} cannot be had here ({type(error).__name__}); download {place} "
                "on a machine with a network, and give the file: timm:weights=FILE"
            ) from error
    model = create(pretrained=False)
    _load(model, Path(weights))
    return model


def _load(model: nn.Module, file: Path) -> None:
    """Read a file of weights; those of the classifier, which is not there, are left out.

    Raises:
        DataError: it cannot be read, or does not fit.
    """
    try:
        found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or a malicious file makes the readers raise
        raise DataError(f"{file} holds no weights that can be read safely: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(f"{file} holds no weights by name; give a state dict")
    own = model.state_dict()
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    given = {name: value for name, value in found.items() if not name.startswith(tuple(f"{head}." for head in heads))}
    missing, more = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    other = sorted(name for name in own.keys() & given.keys() if own[name].shape != given[name].shape)
    for said, names in (("lacks", missing), ("has besides", more), ("has in another shape", other)):
        if names:
            raise DataError(f"{file} does not fit the model: it {said} {len(names)}: {', '.join(names[:5])}, ...")
    model.load_state_dict(given)
