"""A model of transformers as a backbone of which the states of one layer are read.

Axes: B batch, T tokens, D width, H height and W width of a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.errors import DataError
from mmkit.layers.pooling import pooled
from mmkit.pretrained.tuning import Tuned
from mmkit_transformers.network import cut, tuning_blocks


class States(nn.Module):
    """The hidden states of a layer, and the model's own pooled vector of the last.

    What they do not depend on (an unused pooler, layers above the one that is read) is not trained; such layers are
    removed where that is possible.

    Args:
        model: with its weights.
        example: what its forward takes, a batch of one.
        layer: number of the layer whose states are read; -1 is the last, 0 the input of the first.
        pooling: of the features; "model" reads the model's own pooled vector; "cls" needs a first token that is meant
            for this.
        tune: frozen, lora, dora, full or partial:N.
        rank: of the adapters.
        decay: of the learning rate from layer to layer downwards, with tune=full.
        checkpointing: compute activations again in the backward instead of keeping them.

    Raises:
        ValueError: there is no such layer or no such pooled vector, or nothing would be trained.
        DataError: its weights make no numbers.
    """

    def __init__(
        self,
        model: Any,
        example: Mapping[str, Tensor],
        *,
        layer: int,
        pooling: str,
        tune: str,
        rank: int,
        decay: float,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.own = pooling == "model"
        blocks, after, found = tuning_blocks(model.eval(), example)
        states = len(found.hidden_states)
        if not -states < layer < states:
            raise ValueError(f"layer is {layer}; the model has {states - 1}, so expected {1 - states} to {states - 1}")
        if self.own and layer not in {-1, states - 1}:
            raise ValueError(f"pooling=model pools the last layer; layer is {layer}")
        summary = found.get("pooler_output")
        if self.own and (summary is None or summary.flatten(1).shape[1] != _tokens(found.last_hidden_state).shape[2]):
            raise ValueError(
                f"{type(model).__name__} has no pooled vector of its own as wide as its tokens; take pooling=mean"
            )
        self.layer = layer if layer == -1 else layer % states  # counted from below, since what is above may be cut off
        # Where there is one state for each block, the blocks above the layer that is read are not needed.
        read = layer % states if states == len(blocks) + 1 else len(blocks)
        if len({state.shape for state in found.hidden_states}) == 1:  # otherwise what follows the blocks would not fit
            cut(model, read + 1)  # what goes into a layer is what the one below gives, before any norm
        self.tuned = Tuned(
            model, tune, blocks=blocks[:read], after=after, rank=rank, decay=decay, checkpointing=checkpointing
        )
        if not self.tuned.frozen:
            self._leave_unread(example, tune)
        with torch.no_grad():
            tokens, _ = self.eval()(**example)
        if not bool(tokens.isfinite().all()):
            name = getattr(model, "name_or_path", "") or type(model).__name__
            raise DataError(f"{name} gives states that are not finite: its weights are damaged; get them again")
        first = _tokens(found.last_hidden_state if layer == -1 else found.hidden_states[layer])
        if not torch.allclose(tokens, first, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f"{type(model).__name__} drops parts of its input at random, in evaluation too; take another model"
            )
        self.width = tokens.shape[2]
        self.train()

    @property
    def frozen(self) -> bool:
        """Whether nothing of it is trained."""
        return self.tuned.frozen

    def forward(self, *, rows: Tensor | None = None, **given: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens [B T D], and the model's own pooled vector [B D'] where it is asked for; `rows` as in `Tuned`."""
        every = self.layer != -1
        found = self.tuned(**given, rows=rows, output_hidden_states=every)
        states = found.hidden_states[self.layer] if every else found.last_hidden_state
        return _tokens(states), found.pooler_output.flatten(1) if self.own else None

    def _leave_unread(self, example: Mapping[str, Tensor], tune: str) -> None:
        trained = [weight for weight in self.tuned.parameters() if weight.requires_grad]
        self.tuned.eval()
        with torch.enable_grad():
            tokens, own = self(**example)
            total = tokens.sum() if own is None else tokens.sum() + own.sum()
        if not total.requires_grad:
            raise ValueError(f"tune={tune} trains nothing that layer {self.layer} depends on; take tune=full")
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
        for weight, gradient in zip(trained, gradients, strict=True):
            weight.requires_grad_(gradient is not None)


def _tokens(states: Tensor) -> Tensor:
    """[B T D] of such, or of a map [B D H W]."""
    return states.movedim(1, -1).flatten(1, 2) if states.ndim == 4 else states


def asked(model: nn.Module, pooling: str, output: str) -> None:
    """Checks that a model of images or sound has what is asked for.

    Raises:
        ValueError: only the pooled vector is asked for, without pooling; or the first token of a model that has no such
            token.
    """
    if output == "pooled" and pooling == "none":
        raise ValueError("output=pooled needs a pooled vector; pooling is none")
    first = any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())
    if pooling == "cls" and not first:
        raise ValueError(f"{type(model).__name__} has no first token made for pooling; take pooling=mean")


def featured(tokens: Tensor, mask: Tensor, own: Tensor | None, pooling: str, output: str) -> Features:
    """Features of tokens with their pooled vector.

    Args:
        tokens: [B T D].
        mask: [B T].
        own: [B D], the model's own pooled vector.
        pooling: "mean", "cls", "max", "model" or "none".
        output: "tokens", or "pooled" for the pooled vector as the only token.
    """
    summary = own if pooling == "model" else pooled(tokens, mask, pooling)
    if output == "pooled" and summary is not None:
        return Features.of(summary, mask.any(1))
    return Features.of(tokens, mask, summary)
