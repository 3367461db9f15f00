"""Multilayer perceptron over the numbers and embedded categories of a row.

Guo and Berkhahn, "Entity Embeddings of Categorical Variables", 2016, https://arxiv.org/abs/1604.06737. What differs:
beside each number the network reads whether it is there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.encoders.categories import CategoryEmbedding
from mmkit.transforms.table import TableTransform


class TableMlpEncoder(nn.Module):
    """One token for each row.

    Each number is read with a flag that says whether it is there; a missing category has its own vector.

    Args:
        transform: the fitted transform.
        width: D, the width of the token.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        embedding: width of the vector of each category.
        dropout: rate of dropout after each hidden layer, in training.
    """

    reads: ClassVar[type[TableTransform]] = TableTransform

    def __init__(
        self,
        transform: TableTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        hidden: Annotated[int, Gt(0)] = 128,
        layers: Annotated[int, Gt(0)] = 2,
        embedding: Annotated[int, Gt(0)] = 16,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        sizes = transform.sizes
        self.categories = CategoryEmbedding(sizes, embedding) if sizes else None
        widths = [2 * len(transform.scales) + embedding * len(sizes)] + [hidden] * layers
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*blocks, nn.Linear(hidden, width))

    def forward(self, batch: Batch) -> Features:
        """One token, zero where the row is missing."""
        mask = batch["mask"]  # [B]
        present = batch["present"] & mask[:, None]  # [B N]
        numbers = batch["numbers"].masked_fill(~present, 0)
        parts = [numbers, present.to(numbers.dtype)]
        if self.categories is not None:
            parts.append(self.categories(batch["categories"], mask).flatten(1))  # [B K*E]
        return Features.of(self.layers(torch.cat(parts, 1)), mask)
