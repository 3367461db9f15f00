"""Prediction: the loop without gradients over a split, batch by batch.

Axes: N samples of the split, C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.model.graph import Graph
from mmkit.model.network import Model
from mmkit.system.precision import Precision, autocast
from mmkit.system.ranks import ranks
from mmkit.system.state import own_state

_T = TypeVar("_T")


def each_batch(
    model: Model, data: Dataset, use: Callable[[Tensor, Batch], _T], precision: Precision, batch_size: int
) -> Iterator[_T]:
    """Yield the result of `use`, called with the model's output [B C ...] and the truth of each batch, in order.

    On several ranks each predicts every `world`-th batch, and gets the results of all: what one process would predict,
    with nothing padded and nothing twice.

    Args:
        model: on the data's device; it is put into evaluation mode.
        data: the split.
        use: called without gradients and without autocast.
        precision: of the forward pass.
        batch_size: samples per batch.
    """
    if any(module.training for module in model.modules()):  # setting the mode takes longer than asking for it
        model.eval()
    return _in_order(data, batch_size, partial(_used, model, data, use, precision))


def _in_order(data: Dataset, batch_size: int, make: Callable[[Tensor, Mapping[str, Batch] | None], _T]) -> Iterator[_T]:
    """What is made of each batch: of its index, and of what was made ahead. Ranks share the batches among them."""
    indices, world = data.batches(batch_size), ranks()
    own = indices[world.rank :: world.world]
    with Loader() as load:
        prefetched = load(lambda number: data.made_ahead(own[number]), len(own))

        def results(number: int) -> list[_T]:
            if number >= len(own):  # the last batches are those of other ranks
                return []
            return [make(own[number], next(prefetched) if data.live else None)]

        for number in range(-(-len(indices) // world.world)):
            for found in world.each(partial(results, number)):
                yield from found


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
    model: Model | Graph, data: Dataset, precision: Precision = "float32", batch_size: int = 256
) -> Iterator[tuple[Batch, Batch]]:
    """The predictions of a split, and its truth, batch by batch; on the CPU, floats in float32."""
    if isinstance(model, Graph):
        return _in_order(data, batch_size, partial(_of_graph, model, data))

    def use(output: Tensor, truth: Batch) -> tuple[Batch, Batch]:
        return _predicted(model, output), {name: leaf.cpu() for name, leaf in truth.items()}

    return each_batch(model, data, use, precision, batch_size)


@own_state()
@torch.inference_mode()
def _of_graph(model: Graph, data: Dataset, index: Tensor, ahead: Mapping[str, Batch] | None) -> tuple[Batch, Batch]:
    batch, truth = data.batch(index, ahead=ahead)
    return model.predict_batch(batch), dict(truth)


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
