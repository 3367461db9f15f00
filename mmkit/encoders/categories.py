"""Categories of a table's columns to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.transforms.table import MISSING, UNKNOWN


class CategoryEmbedding(nn.Module):
    """A vector for each category of each of K columns, all rows of one weight matrix.

    Args:
        sizes: number of categories of each column.
        width: D.
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        offsets = torch.tensor([0, *accumulate(sizes[:-1])])
        self.register_buffer("offsets", offsets, persistent=False)
        self.embedding = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        # Where training has no missing or unknown cell, such a cell gets zero instead of a random vector.
        self.embedding.weight.data[offsets + MISSING] = 0
        self.embedding.weight.data[offsets + UNKNOWN] = 0

    def forward(self, categories: Tensor, mask: Tensor) -> Tensor:
        """[B K D] from categories [B K]; rows under a False mask [B] are not read."""
        return self.embedding(self._rows(categories, mask))

    def summed(self, categories: Tensor, mask: Tensor) -> Tensor:
        """[B D]: the sum over the columns, without a vector for each of them in memory."""
        return F.embedding_bag(self._rows(categories, mask), self.embedding.weight, mode="sum")

    def _rows(self, categories: Tensor, mask: Tensor) -> Tensor:
        return categories.masked_fill(~mask[:, None], MISSING) + self.offsets
