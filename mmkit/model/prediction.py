"""Prediction: the loop without gradients over a split, batch by batch.

Axes: N samples of the split, C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.model.network import Model
from mmkit.system.precision import Precision, autocast
from mmkit.system.state import own_state

_T = TypeVar("_T")


def each_batch(
    model: Model, data: Dataset, use: Callable[[Tensor, Batch], _T], precision: Precision, batch_size: int
) -> Iterator[_T]:
    """Yield the result of `use`, called with the model's output [B C ...] and the truth of each batch, in order.

    Args:
        model: on the data's device; it is put into evaluation mode.
        data: the split.
        use: called without gradients and without autocast.
        precision: of the forward pass.
        batch_size: samples per batch.
    """
    if any(module.training for module in model.modules()):  # setting the mode takes longer than asking for it
        model.eval()
    indices = data.batches(batch_size)
    with Loader() as load:
        prefetched = load(lambda number: data.made_ahead(indices[number]), len(indices))
        for index in indices:
            yield _used(model, data, use, precision, index, next(prefetched) if data.live else None)


@own_state()
@torch.inference_mode()
def _used(
    model: Model,
    data: Dataset,
    use: Callable[[Tensor, Batch], _T],
    precision: Precision,
    index: Tensor,
    ahead: Mapping[str, Batch] | None,
) -> _T:
    """What `each_batch` yields of one batch; it is no part of the generator, whose caller goes on between batches."""
    batch, truth = data.batch(index, ahead=ahead)
    with autocast(data.device, precision):
        output = model(batch).output
    return use(output, truth)


def predictions(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 256
) -> Iterator[tuple[Batch, Batch]]:
    """The predictions of a split, and its truth, batch by batch; on the CPU, floats in float32."""

    def use(output: Tensor, truth: Batch) -> tuple[Batch, Batch]:
        return _predicted(model, output), {name: leaf.cpu() for name, leaf in truth.items()}

    return each_batch(model, data, use, precision, batch_size)


def predictions_at(model: Model, data: Dataset, index: Tensor, precision: Precision = "float32") -> Batch:
    """The predictions of the samples of a split at some places, as one batch; on the CPU, floats in float32.

    Args:
        model: on the data's device, in evaluation mode.
        data: the split.
        index: [B] places.
        precision: of the forward pass.
    """
    ahead = data.made_ahead(index) if data.live else None
    return _used(model, data, lambda output, _: _predicted(model, output), precision, index, ahead)


def _predicted(model: Model, output: Tensor) -> Batch:
    predicted = model.predict(output.float())
    return {name: (leaf.float() if leaf.is_floating_point() else leaf).cpu() for name, leaf in predicted.items()}


def losses_of_samples(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The head's loss of each sample [N], zero where truth is missing, and the mask of truth [N]; on the CPU."""

    def loss(output: Tensor, truth: Batch) -> Tensor:
        with autocast(data.device, precision):
            return model.output_head.loss(output, truth).float().cpu()

    return torch.cat(list(each_batch(model, data, loss, precision, batch_size))), data.truth["mask"].cpu()
