"""How much of a pretrained backbone is trained: nothing, adapters, its last blocks, or all of it.

Frozen parts stay in evaluation whatever `train()` says: a batch norm keeps its statistics, dropout stays off.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le, Predicate, doc
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmkit.errors import UnavailableError
from mmkit.plugin import ForTraining

MODES = "frozen, lora, dora, full or partial:N"


def is_mode(tune: str) -> bool:
    """Whether a text names a mode.

    >>> [is_mode(tune) for tune in ("frozen", "partial:2", "partial:0", "some")]
    [True, True, False, False]
    """
    return re.fullmatch(r"frozen|lora|dora|full|partial:[1-9]\d*", tune) is not None


Tune = Annotated[str, Predicate(is_mode), doc(MODES)]
"""The annotation of an option `tune`: frozen, lora, dora, full or partial:N."""
Rank = Annotated[int, Gt(0), ForTraining()]
"""That of `rank`, of adapters."""
Decay = Annotated[float, Gt(0), Le(1), ForTraining()]
"""That of `decay`, of the learning rate from block to block."""
Checkpointing = Annotated[bool, ForTraining()]
"""That of `checkpointing`: activations are computed again in the backward instead of being kept."""


class Tuned(nn.Module):
    """A backbone of which so much is trained as `tune` says.

    Frozen: no gradient is computed (but see `through`), and `frozen` is True: features may be computed once. LoRA: Hu
    et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, https://arxiv.org/abs/2106.09685; DoRA: Liu
    et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML 2024, https://arxiv.org/abs/2402.09353; both by peft, in
    every linear layer of the blocks. `partial:N`: the last N blocks, and what comes after them.

    Args:
        backbone: with its weights.
        tune: the mode.
        blocks: the names of its blocks in the order of the way of the data ("blocks.0", "blocks.1", ...).
        after: the names of modules and parameters that come after the last block (a norm, a projection).
        rank: of the adapters.
        decay: of the learning rate from block to block downwards, where all is trained: Howard and Ruder, "Universal
            Language Model Fine-tuning for Text Classification", ACL 2018, https://arxiv.org/abs/1801.06146. 1 is none.
        through: what is given to it comes from something that learns, so gradients pass through it, frozen or not.
        checkpointing: activations inside a block are computed again in the backward instead of being kept: Chen et
            al., "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174.

    Raises:
        ValueError: no such mode, more blocks than there are, or none to checkpoint.
        UnavailableError: adapters are asked for, and peft is not installed.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tune: str,
        *,
        blocks: Sequence[str],
        after: Sequence[str] = (),
        rank: int = 8,
        decay: float = 1.0,
        through: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not is_mode(tune):
            raise ValueError(f"tune is {tune!r}; expected {MODES}")
        if checkpointing and not blocks:
            raise ValueError(
                "checkpointing computes blocks again, and this backbone has none that can be told; leave it out"
            )
        self.frozen = tune == "frozen"
        self.rates: Mapping[str, float] = {}
        mode, _, count = tune.partition(":")
        if mode == "partial":
            if int(count) > len(blocks):
                raise ValueError(f"tune is {tune}; the backbone has {len(blocks)} blocks")
            trained: tuple[str, ...] = (*blocks[len(blocks) - int(count) :], *after)
        else:
            trained = ("",) if mode == "full" else ()
        for name, parameter in backbone.named_parameters():
            # What a backbone itself keeps fixed (sinusoids of positions) stays so.
            parameter.requires_grad_(parameter.requires_grad and _within(name, trained))
        if mode in {"lora", "dora"}:
            backbone = _adapted(backbone, blocks, rank, dora=mode == "dora")
            trained = tuple(name for name, _ in backbone.named_modules() if ".lora_" in name)
        if mode == "full" and decay != 1:
            self.rates = _rates(backbone, blocks, after, decay)
        for name in blocks if checkpointing else ():
            # Libraries ask whether a block is in training, and adapted ones are not.
            block = backbone.get_submodule(name)
            block.forward = partial(_again, block.forward, _norms(block))
        self.backbone = backbone
        self._trained = trained
        self._through = through

    def train(self, mode: bool = True) -> Tuned:
        """Set the mode of what is trained; the rest stays in evaluation."""
        self.training = mode
        for name, module in self.backbone.named_modules():
            module.training = mode and _within(name, self._trained)
        return self

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the backbone gives; without a graph where it is frozen and nothing before it learns."""
        if self.frozen and not self._through:
            with torch.no_grad():
                return self.backbone(*inputs, **named)
        return self.backbone(*inputs, **named)


def _norms(block: nn.Module) -> list[nn.Module]:
    return [module for module in block.modules() if getattr(module, "num_batches_tracked", None) is not None]


def _again(forward: Callable[..., Any], norms: Sequence[Any], *inputs: Any, **named: Any) -> Any:
    """What a block gives; where there is a backward, it runs anew there, and its batch norms count nothing twice."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    once: dict[str, Any] = {"context_fn": lambda: (contextlib.nullcontext(), _uncounted(norms))} if norms else {}
    return checkpoint(forward, *inputs, use_reentrant=False, **once, **named)


@contextlib.contextmanager
def _uncounted(norms: Sequence[Any]) -> Iterator[None]:
    counting = [(n, n.momentum, n.num_batches_tracked.clone()) for n in norms if n.training and n.track_running_stats]
    for norm, _, _ in counting:
        norm.momentum = 0.0  # statistics stay as they are
    try:
        yield
    finally:
        for norm, momentum, batches in counting:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)


def _within(name: str, owners: Sequence[str]) -> bool:
    """Whether a module or parameter is one of the owners or inside one; "" owns all."""
    return any(not owner or name == owner or name.startswith(f"{owner}.") for owner in owners)


def _adapted(backbone: nn.Module, blocks: Sequence[str], rank: int, *, dora: bool) -> nn.Module:
    try:
        peft = importlib.import_module("peft")
    except ImportError as error:
        raise UnavailableError("tune=lora and tune=dora need peft: pip install peft") from error
    # GPT-2 and its like write their linear layers the other way round, by a class of transformers.
    turned = any(type(module).__name__ == "Conv1D" for module in backbone.modules())
    targets = [
        name
        for name, module in backbone.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D") and _within(name, blocks)
    ]
    if not targets:
        mode = "dora" if dora else "lora"
        raise ValueError(f"tune={mode} needs linear layers in the blocks, and this backbone has none; take partial:N")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, use_dora=dora, fan_in_fan_out=turned)
    return peft.inject_adapter_in_model(config, backbone)


def _rates(backbone: nn.Module, blocks: Sequence[str], after: Sequence[str], decay: float) -> dict[str, float]:
    """The relative learning rate of each parameter: 1 after the blocks, `decay` times as much with each downwards."""
    found = {}
    for name, _ in backbone.named_parameters():
        depth = len(blocks) + 1  # what comes before the blocks: embeddings, a stem
        if _within(name, after):
            depth = 0
        for number, block in enumerate(reversed(blocks), start=1):
            if _within(name, (block,)):
                depth = number
        found[f"backbone.{name}"] = decay**depth
    return found
