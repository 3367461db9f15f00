"""The batches that an exported graph is checked on, and what they tell of the axes of its tensors.

Axes: B batch, T tokens of one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.model.exported import Leaf
from mmkit.model.exporting.values import COUNT, Values
from mmkit.model.trained import MultimodalModel

Batches = Mapping[str, Batch]
"""Of each input by its name."""


@dataclass(frozen=True)
class Checked:
    """What a graph is checked with.

    Args:
        whole: the batch of all samples, which it is made from.
        cases: batches by what is special about them.
        leaves: the tensors of a batch, in their order.
    """

    whole: Batches
    cases: Mapping[str, Batches]
    leaves: tuple[Leaf, ...]


def checked(model: MultimodalModel, values: Values) -> Checked:
    """The kinds of batches: all samples, one, half as long, one longer, each input missing, all missing.

    Args:
        model: whose transforms are fitted.
        values: in memory.

    Raises:
        DataError: a transform cannot take a value, or the samples are too short to tell which axes vary.
    """

    def batches(columns: Mapping[str, list[Any]]) -> dict[str, Batch]:
        return {name: dict(model.transforms.inputs[name](column)) for name, column in columns.items()}

    nothing: dict[str, list[Any]] = {name: [None] * COUNT for name in values}
    whole, empty = batches(values), batches(nothing)
    one = {name: [next(value for value in column if value is not None)] for name, column in values.items()}
    alone = {name: [batches({name: [value]})[name] for value in column] for name, column in values.items()}
    leaves: list[Leaf] = []
    halves: dict[str, Batch] = {}
    longer: dict[str, Batch] = {}
    for name, batch in whole.items():
        found = _leaves(name, batch, [*alone[name], empty[name]])
        leaves += found
        length = batch["mask"].shape[-1]
        shortest = batches({name: [_shortest(values[name], alone[name])] * COUNT})[name]
        halves[name] = _of_length(batch, found, (length + 1) // 2) or shortest
        longer[name] = _of_length(batch, found, length + 1) or batch
    cases: dict[str, Batches] = {
        f"{COUNT} samples": whole,
        "1 sample": batches(one),
        "half as long": halves,
        "longer by one": longer,
    }
    cases |= {f"without {name}": {**whole, name: empty[name]} for name in whole}
    return Checked(whole, {**cases, "without any input": empty}, tuple(leaves))


def _leaves(name: str, batch: Batch, others: list[Batch]) -> list[Leaf]:
    mask = batch["mask"]
    found = []
    for leaf, tensor in batch.items():
        shape: list[int | str] = ["batch"]
        for axis in range(1, tensor.ndim):
            sizes = [one[leaf].shape[axis] for one in (batch, *others)]
            lengths = [one["mask"].shape[1] for one in (batch, *others)] if mask.ndim > 1 else []
            if len(set(sizes)) == 1:
                shape.append(sizes[0])
                continue
            if sizes[0] < 2:
                raise DataError(f"all samples have one {leaf} in input {name}; the export needs one that is longer")
            shape.append(f"{name} length" if sizes == lengths else f"{name} {leaf} {axis}")
        dtype = str(tensor.dtype).removeprefix("torch.")
        found.append(Leaf(name, leaf, dtype, tuple(shape), _padding(tensor, mask) if leaf != "mask" else 0))
    return found


def _padding(tensor: Tensor, mask: Tensor) -> float | None:
    """The number under a False mask."""
    if tensor.shape[: mask.ndim] != mask.shape or bool(mask.all()):
        return 0  # nothing under a False mask is read, so it may be any number
    hidden = tensor[~mask]
    same = bool((hidden == hidden.flatten()[0]).all()) if hidden.numel() else False
    return hidden.flatten()[0].item() if same else None


def _of_length(batch: Batch, leaves: list[Leaf], length: int) -> Batch | None:
    """The batch cut or padded to another length; None where its axes vary in another way."""
    names = {size for one in leaves for size in one.shape if isinstance(size, str)}
    if not names <= {"batch", f"{leaves[0].input} length"}:
        return None
    found = {}
    for one in leaves:
        tensor = batch[one.leaf]
        for axis in one.varying[1:]:
            more = length - tensor.shape[axis]
            sides = (0, 0) * (tensor.ndim - 1 - axis) + (0, more)
            tensor = F.pad(tensor, sides, value=one.padding or 0)
        found[one.leaf] = tensor
    return found


def _shortest(values: list[Any], alone: list[Batch]) -> Any:
    sizes = [sum(tensor.numel() for tensor in batch.values()) for batch in alone]
    there = [place for place, value in enumerate(values) if value is not None]
    return values[min(there, key=sizes.__getitem__)]
