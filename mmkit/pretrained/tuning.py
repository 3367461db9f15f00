"""Fine-tuning of a pretrained backbone: frozen, by adapters, its last blocks, or in full.

Frozen parts stay in evaluation mode even after `train()`: a batch norm keeps its statistics, dropout stays off.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le, Predicate, doc
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkit.errors import UnavailableError
from mmkit.layers.counted_norm import Counted, norms_in
from mmkit.plugin import ForTraining

MODES = "frozen, lora, dora, full or partial:N"


def is_mode(tune: str) -> bool:
    """Whether a text is a mode of tuning.

    >>> [is_mode(tune) for tune in ("frozen", "partial:2", "partial:0", "some")]
    [True, True, False, False]
    """
    return re.fullmatch(r"frozen|lora|dora|full|partial:[1-9]\d*", tune) is not None


Tune = Annotated[str, Predicate(is_mode), doc(MODES)]
"""The annotation of an option `tune`: frozen, lora, dora, full or partial:N."""
Rank = Annotated[int, Gt(0), ForTraining()]
"""The annotation of an option `rank`: the rank of adapters."""
Decay = Annotated[float, Gt(0), Le(1), ForTraining()]
"""The annotation of an option `decay`: the factor of the learning rate from each block to the one before it."""
Checkpointing = Annotated[bool, ForTraining()]
"""The annotation of an option `checkpointing`: activations are recomputed in the backward pass instead of stored."""


ADAPTERS = 10.0
"""The learning rate of adapters, in rates of pretrained weights: they start at zero and are few, and learn faster."""


def is_tuned(module: nn.Module) -> bool:
    """Whether pretrained weights in a module are trained further: those that `rates` of a module in it names."""
    return any(getattr(part, "rates", None) for part in module.modules())


class Tuned(nn.Module):
    """A backbone whose parameters are trained as the mode `tune` says.

    `rates` has the learning rate of each parameter that is trained, as a share of that of pretrained weights.

    Frozen: no gradient is computed (but see `through`), and `frozen` is True: features can be computed once. LoRA: Hu
    et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, https://arxiv.org/abs/2106.09685; DoRA: Liu
    et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML 2024, https://arxiv.org/abs/2402.09353; both by peft, in
    every linear layer of the blocks. `partial:N`: the last N blocks, and what comes after them.

    Args:
        backbone: with its weights.
        tune: the mode.
        blocks: the names of its blocks from the first to the last ("blocks.0", "blocks.1", ...).
        after: the names of modules and parameters that come after the last block (a norm, a projection).
        rank: of the adapters.
        decay: factor of the learning rate from each block to the one before it, for modes full and partial; 1 is no
            decay: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018,
            https://arxiv.org/abs/1801.06146.
        through: let gradients pass through a frozen backbone, because its inputs come from trained modules; an
            explanation sets it for a while.
        checkpointing: recompute the activations inside a block in the backward pass instead of storing them: Chen et
            al., "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174.

    Raises:
        ValueError: an unknown mode, more blocks than the backbone has, or no blocks to checkpoint.
        UnavailableError: the mode needs adapters, and peft is not installed.
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
                "checkpointing needs blocks, and none were identified in this backbone; omit checkpointing"
            )
        self.frozen = tune == "frozen"
        mode, _, count = tune.partition(":")
        if mode == "partial":
            if int(count) > len(blocks):
                raise ValueError(f"tune is {tune}; the backbone has {len(blocks)} blocks, take as many or fewer")
            trained: tuple[str, ...] = (*blocks[len(blocks) - int(count) :], *after)
        else:
            trained = ("",) if mode == "full" else ()
        for name, parameter in backbone.named_parameters():
            # Parameters that the backbone itself keeps fixed (sinusoidal positions) stay fixed.
            parameter.requires_grad_(parameter.requires_grad and _within(name, trained))
        if mode in {"lora", "dora"}:
            backbone = _adapted(backbone, blocks, rank, dora=mode == "dora")
            trained = tuple(name for name, _ in backbone.named_modules() if ".lora_" in name)
        shares = _shares(backbone, blocks, after, 1.0 if mode in {"lora", "dora"} else decay)
        factor = ADAPTERS if mode in {"lora", "dora"} else 1.0
        self.rates = {
            f"backbone.{name}": factor * shares[name] for name, p in backbone.named_parameters() if p.requires_grad
        }
        for name in blocks if checkpointing else ():
            # Libraries' own checkpointing runs only in blocks in training mode; adapted blocks are in evaluation mode.
            block = backbone.get_submodule(name)
            block.forward = partial(_checkpointed, block.forward, _batch_norms(block))
        self.backbone = backbone
        self._trained = trained
        self.through = through

    def train(self, mode: bool = True) -> Tuned:
        """Set the mode of the trained parts; the others stay in evaluation mode."""
        self.training = mode
        for name, module in self.backbone.named_modules():
            module.training = mode and _within(name, self._trained)
        for norm in norms_in(self.backbone):
            vars(norm).pop("forward", None)
            if norm.training:
                norm.forward = Counted(norm)  # type: ignore[method-assign, assignment]
        return self

    def forward(self, *inputs: Any, rows: Tensor | None = None, **named: Any) -> Any:
        """The output of the backbone, without a graph if it is frozen and no gradient passes through it.

        Args:
            inputs: of the backbone.
            rows: [B] bool, where the input is there: in training its batch norms count no others. None counts all.
            named: of the backbone, too.
        """
        for norm in norms_in(self.backbone):
            if isinstance(norm.forward, Counted):
                norm.forward.rows = rows
        if self.frozen and not self.through:
            with torch.no_grad():
                return self.backbone(*inputs, **named)
        return self.backbone(*inputs, **named)


def _batch_norms(block: nn.Module) -> list[nn.Module]:
    return [module for module in block.modules() if getattr(module, "num_batches_tracked", None) is not None]


def _checkpointed(forward: Callable[..., Any], norms: Sequence[Any], *inputs: Any, **named: Any) -> Any:
    """The output of a block; the backward pass runs it a second time, without updating its batch norms again."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    context: dict[str, Any] = {"context_fn": lambda: (contextlib.nullcontext(), _fixed_statistics(norms))}
    return checkpoint(forward, *inputs, use_reentrant=False, **(context if norms else {}), **named)


@contextlib.contextmanager
def _fixed_statistics(norms: Sequence[Any]) -> Iterator[None]:
    counting = [(n, n.momentum, n.num_batches_tracked.clone()) for n in norms if n.training and n.track_running_stats]
    for norm, _, _ in counting:
        norm.momentum = 0.0  # the statistics do not change
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
    # GPT-2 and related models store the weights of linear layers transposed, in a class of transformers.
    transposed = any(type(module).__name__ == "Conv1D" for module in backbone.modules())
    targets = [
        name
        for name, module in backbone.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D") and _within(name, blocks)
    ]
    if not targets:
        mode = "dora" if dora else "lora"
        raise ValueError(f"tune={mode} needs linear layers in the blocks, and this backbone has none; take partial:N")
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=targets, use_dora=dora, fan_in_fan_out=transposed
    )
    return peft.inject_adapter_in_model(config, backbone)


def _shares(backbone: nn.Module, blocks: Sequence[str], after: Sequence[str], decay: float) -> dict[str, float]:
    """The relative learning rate of each parameter: 1 after the blocks, times `decay` per block towards the input."""
    shares = {}
    for name, _ in backbone.named_parameters():
        depth = len(blocks) + 1  # of parameters before the blocks: embeddings, a stem
        if _within(name, after):
            depth = 0
        for number, block in enumerate(reversed(blocks), start=1):
            if _within(name, (block,)):
                depth = number
        shares[name] = decay**depth
    return shares
