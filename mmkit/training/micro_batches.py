"""Micro-batches: a batch passes through the model in parts, and the gradients are summed up.

It takes the memory of a part, and gives what the whole batch gives, up to rounding: each part's losses are divided by
the number of samples with truth in the whole batch. Not so for what looks at several samples at once: a batch norm in
training, a balance method, an objective or a penalty that compares the samples of a batch. Dropout draws other
numbers.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkit.contract import Batch, Features
from mmkit.data.grouping import Grouped
from mmkit.data.readings import InputBatch
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.model.network import TrainingStep
from mmkit.plugin import Spec


def divisible(step: TrainingStep, fusion: Spec | None) -> bool:
    """Whether nothing in a training step looks at several samples at once, as far as is known.

    It has no objective, no balance method, no fusion that says that it compares samples, and no batch norm in training
    mode after `train()`.

    Args:
        step: the training step.
        fusion: the spec of its fusion; None of a single input.
    """
    if step.objectives or step.balance is not None or getattr(fusion, "compares", False):
        return False
    return not any(_mixes(module) for module in step.train().modules())


def parts_of(size: int, most: int | None, world: int = 1) -> int:
    """The number of parts in which a batch passes, each of `most` samples at most; None is the whole batch.

    It is the same on all ranks, each of which has a sample of every part; so a part may have one more.

    >>> parts_of(33, 8), parts_of(33, 8, world=2), parts_of(3, 1, world=2)
    (5, 3, 1)

    Args:
        size: of the batch.
        most: samples of a part.
        world: how many ranks share the batch.
    """
    return 1 if most is None else max(1, min(-(-size // (most * world)), size // world))


def micro_batches(
    batch: Mapping[str, InputBatch], truth: Batch, parts: int
) -> Iterator[tuple[Mapping[str, InputBatch], Batch]]:
    """So many parts of a batch, of nearly equal size."""
    size = len(truth["mask"])
    if parts == 1:
        yield batch, truth
        return
    for number in range(parts):
        at = slice(number * size // parts, (number + 1) * size // parts)
        yield {name: _part(given, at) for name, given in batch.items()}, {n: leaf[at] for n, leaf in truth.items()}


def _part(given: InputBatch, at: slice) -> InputBatch:
    if isinstance(given, Features):
        pooled = None if given.pooled is None else given.pooled[at]
        penalties, details, inner = (
            {n: part[at] for n, part in of.items()} for of in (given.penalties, given.details, given.inner)
        )
        return Features(given.tokens[at], given.mask[at], pooled, penalties, details=details, inner=inner)
    if isinstance(given, Grouped):
        return given.part(at)
    return {name: leaf[at] for name, leaf in given.items()}


def _mixes(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm | MaskedBatchNorm) and module.training
