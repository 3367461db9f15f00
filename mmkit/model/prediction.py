"""The one loop without gradients: a model over a split, batch by batch.

Axes: N samples of the split, C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.data.dataset import Dataset
from mmkit.model.network import Model
from mmkit.system.precision import Precision, autocast

_T = TypeVar("_T")


@torch.inference_mode()
def for_each_batch(
    model: Model, data: Dataset, use: Callable[[Tensor, Batch], _T], precision: Precision, batch_size: int
) -> list[_T]:
    """What `use` makes of the model's output [B C ...] and the truth, of each batch in order.

    Args:
        model: put into evaluation, on the data's device.
        data: the split.
        use: called without gradients and without autocast.
        precision: of the forward.
        batch_size: samples that are run together.
    """
    model.eval()
    device = data.truth["mask"].device
    found = []
    for index in data.batches(batch_size):
        batch, truth = data.batch(index)
        with autocast(device, precision):
            output = model(batch).output
        found.append(use(output, truth))
    return found


def predictions(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 256
) -> list[tuple[Batch, Batch]]:
    """The model's predictions of a split with their truth, batch by batch, on the CPU, floats in float32."""

    def predict(output: Tensor, truth: Batch) -> tuple[Batch, Batch]:
        predicted = model.output_head.predict(output.float())
        prediction = {n: (leaf.float() if leaf.is_floating_point() else leaf).cpu() for n, leaf in predicted.items()}
        return prediction, {name: leaf.cpu() for name, leaf in truth.items()}

    return for_each_batch(model, data, predict, precision, batch_size)


def losses_of_samples(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The head's loss of each sample of a split [N], zero where truth is missing, and where it is there [N], on CPU."""
    device = data.truth["mask"].device

    def loss(output: Tensor, truth: Batch) -> Tensor:
        with autocast(device, precision):
            return model.output_head.loss(output, truth).float().cpu()

    return torch.cat(for_each_batch(model, data, loss, precision, batch_size)), data.truth["mask"].cpu()
