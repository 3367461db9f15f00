"""A model as one graph, in the engine of its format: what stands in the place of the network of an exported model.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from torch import Tensor

from mmkit.contract import Batch
from mmkit.data.readings import InputBatch
from mmkit.model.exported import Leaf

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A graph: its inputs to its outputs, both in their order."""


class Graph:
    """The prediction of a batch, by a graph on the CPU.

    Args:
        run: the graph.
        leaves: what it takes, in its order.
        outputs: the names of what it gives, in its order.
        format: of it.
    """

    rowwise: Sequence[str] = ()
    """Inputs whose rows can be grouped by their length: none, since a graph takes a whole batch."""

    def __init__(self, run: Run, leaves: Sequence[Leaf], outputs: Sequence[str], format: str) -> None:  # noqa: A002
        self._run, self._leaves, self._outputs = run, tuple(leaves), tuple(outputs)
        self.format = format
        self.names = {name: name for name in dict.fromkeys(leaf.input for leaf in leaves)}

    def predict_batch(self, batch: Mapping[str, InputBatch]) -> Batch:
        """The prediction of a batch [B ...], by name."""
        leaves = cast(Mapping[str, Batch], batch)  # of raw values; no encoder has made features of them
        found = self._run([leaves[leaf.input][leaf.leaf].contiguous() for leaf in self._leaves])
        return dict(zip(self._outputs, found, strict=True))
