"""FT-Transformer: each column of a row is a token of a transformer.

Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, https://arxiv.org/abs/2106.11959.
What differs: the token of a missing cell is masked; the feed-forward networks use GELU; the first layer keeps its norm,
and the prediction layer is left to the head.

Axes: B batch, N columns of numbers, K columns of categories, D width.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.encoders.categories import CategoryEmbedding
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.parts import in_turn
from mmkit.transforms.table import MISSING, TableTransform

State = tuple[Tensor, Tensor]
"""Tokens [B T D] and their mask [B T]."""


class FtTransformerEncoder(nn.Module):
    """First a learned token for the row, which is also the pooled vector, then one for each column: T is 1 + N + K.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens.
        layers: number of transformer layers.
        heads: attention heads of each layer; must divide `width`.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    reads: ClassVar[type[TableTransform]] = TableTransform

    def __init__(
        self,
        transform: TableTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.inner = (width,) * (layers - 1)
        sizes, count = transform.sizes, len(transform.scales)
        self.row = nn.Parameter(_uniform(1, width))
        self.slopes = nn.Parameter(_uniform(count, width)) if count else None
        self.biases = nn.Parameter(_uniform(count + len(sizes), width))
        self.categories = CategoryEmbedding(sizes, width) if sizes else None
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, batch: Batch) -> Features:
        """The token of the row, then one for each column; those of missing cells are masked."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The token of the row and of each column."""
        there = batch["mask"]  # [B]
        cells = []  # [B N D], [B K D]
        seen = [there[:, None]]  # [B 1], [B N], [B K]
        if self.slopes is not None:
            present = batch["present"] & there[:, None]
            numbers = batch["numbers"].masked_fill(~present, 0)
            cells.append(numbers[..., None] * self.slopes)
            seen.append(present)
        if self.categories is not None:
            cells.append(self.categories(batch["categories"], there))
            seen.append((batch["categories"] != MISSING) & there[:, None])
        columns = torch.cat(cells, 1) + self.biases  # [B N+K D]
        tokens = torch.cat([self.row.expand(there.shape[0], 1, -1), columns], 1)  # [B 1+N+K D]
        return tokens, torch.cat(seen, 1)

    def stage(self, number: int, state: State) -> State:
        """One layer."""
        tokens, mask = state
        return self.layers[number](tokens, mask), mask

    def get(self, state: State) -> Features:
        """[B T D]."""
        return Features(*state)

    def put(self, state: State, features: Features) -> State:
        """These tokens."""
        return features.tokens, state[1]

    def finish(self, state: State) -> Features:
        """The last layer and the norm; the token of the row is the summary."""
        tokens, mask = self.stage(len(self.inner), state)
        tokens = self.norm(tokens)
        return Features.of(tokens, mask, pooled=tokens[:, 0])


def _uniform(count: int, width: int) -> Tensor:
    return torch.empty(count, width).uniform_(-(width**-0.5), width**-0.5)
