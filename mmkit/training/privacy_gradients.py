"""The gradient of each row for itself, clipped: the sum over a batch, in parts that fit into memory.

    sum over rows of  g * min(1, C / |g|)

with g the gradient of one row's losses, and |g| its norm over all parameters that are trained. A row whose gradient is
not finite adds nothing, so that no single row can add more than C.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from mmkit.contract import Batch, Features
from mmkit.data.grouping import Grouped
from mmkit.data.readings import InputBatch
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision, autocast
from mmkit.training.micro_batches import micro_batches, parts_of

GRADIENTS = 2**26
"""Numbers that the gradients of a part may have: 256 MiB of float32."""
ROWS = 128
"""The greatest number of rows of a part, whose activations need memory, too."""


def clipped_sum(
    step: TrainingStep,
    batch: Mapping[str, InputBatch],
    truth: Batch,
    *,
    clip: float,
    most: int | None = None,
    precision: Precision = "float32",
) -> dict[str, Tensor]:
    """The sum of the clipped gradients of the rows of a batch, by name of the parameter.

    Args:
        step: the model with its losses; none of it is changed.
        batch: of each input, one row at least.
        truth: of the batch; every row has it.
        clip: C.
        most: rows of a part; None is by the number of parameters.
        precision: of the forward pass.

    Raises:
        RuntimeError: a component computes what `torch.func.vmap` has no rule for.
    """
    parameters = trained(step)
    if most is None:
        most = max(1, min(ROWS, GRADIENTS // max(1, sum(one.numel() for one in parameters.values()))))
    total = {name: torch.zeros_like(one) for name, one in parameters.items()}
    for part, its_truth in micro_batches(encoded_before(step, batch), truth, parts_of(len(truth["mask"]), most)):
        found = gradients_by_row(step, parameters, part, its_truth, precision)
        for name, summed in _clipped(found, clip).items():
            total[name] += summed
    return total


def trained(step: TrainingStep) -> dict[str, Tensor]:
    """The parameters that are trained, by name, each once."""
    return {name: one.detach() for name, one in step.named_parameters() if one.requires_grad}


def gradients_by_row(
    step: TrainingStep,
    parameters: Mapping[str, Tensor],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision = "float32",
) -> dict[str, Tensor]:
    """[B ...] the gradient of the sum of all losses of each row, as if it were the only one of its batch.

    Args:
        step: the model with its losses. Buffers that it changes are copies.
        parameters: that are trained.
        batch: of each input, in one group.
        truth: of the batch.
        precision: of the forward pass.
    """
    constant = {name: one.detach() for name, one in step.named_parameters() if not one.requires_grad}
    buffers = {name: one.clone() for name, one in step.named_buffers()}

    def loss(weights: Mapping[str, Tensor], batch: Any, truth: Any) -> Tensor:
        row, its_truth = tree_map(lambda leaf: leaf.unsqueeze(0), (batch, truth))
        with autocast(its_truth["mask"].device, precision):
            losses, _ = functional_call(step, ({**constant, **weights}, buffers), (row, its_truth))
        return torch.stack(list(losses.values())).sum()

    by_row = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")
    with _quiet():
        return cast(dict[str, Tensor], by_row(dict(parameters), dict(batch), dict(truth)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, torch does not print that an operation is taken row by row: that is slow, and right."""
    # The only switch that there is.
    warns: Any = torch._C._functorch._set_vmap_fallback_warning_enabled  # type: ignore[attr-defined]  # noqa: SLF001
    warns(False)  # noqa: FBT003
    try:
        yield
    finally:
        warns(True)  # noqa: FBT003 (torch's default, which cannot be asked for)


def encoded_before(step: TrainingStep, batch: Mapping[str, InputBatch]) -> dict[str, InputBatch]:
    """The batch, with the features of frozen encoders in place of their inputs: they need no gradient."""
    model, ready = step.model, dict(batch)
    for given, name in model.names.items():
        of_input = batch[given]
        if getattr(model.encoders[name], "frozen", False) and not isinstance(of_input, Features | Grouped):
            with torch.no_grad():
                ready[given] = model.encode_batch(name, of_input)
    return ready


def _clipped(gradients: Mapping[str, Tensor], clip: float) -> dict[str, Tensor]:
    """The sum over rows of gradients [B ...], each row clipped over all parameters."""
    squares = torch.stack([one.flatten(1).square().sum(1) for one in gradients.values()]).sum(0)  # [B]
    norm = squares.sqrt()
    share = torch.where(norm.isfinite(), (clip / norm.clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1), 0)
    safe = {name: torch.nan_to_num(one, nan=0.0, posinf=0.0, neginf=0.0) for name, one in gradients.items()}
    return {name: torch.einsum("b,b...->...", share, one) for name, one in safe.items()}
