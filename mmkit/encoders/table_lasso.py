"""Perceptron over the few columns of a wide row that carry signal.

Feng and Simon, "Sparse-Input Neural Networks for High-Dimensional Nonparametric Regression and Classification", 2017,
https://arxiv.org/abs/1711.07592: a group lasso on the columns of the first layer, which is that of Yuan and Lin, "Model
Selection and Estimation in Regression with Grouped Variables", Journal of the Royal Statistical Society B 68, 2006,
https://doi.org/10.1111/j.1467-9868.2005.00532.x. A linear path beside the network shares the columns, as in Lemhadri et
al., "LassoNet: A Neural Network with Feature Sparsity", JMLR 22, 2021, https://jmlr.org/papers/v22/20-848.html.

With w_j [O] the weights of column j to all O outputs of the first layer, the loss of training gains

    strength * sum_j s_j |w_j|,   s_j = (sqrt(2 log(N + K)) + sqrt(p_j - 1)) / sqrt(n),

n being the rows of the training split, and p_j 1 for a column of numbers and one less than its values for one of
categories, whose |w_j| is the root of the mean square over its values: either way the deviation of what the column
adds. sqrt(2 log(N + K) / n) is the universal threshold of Donoho and Johnstone, "Ideal Spatial Adaptation by Wavelet
Shrinkage", Biometrika 81, 1994: where all columns are noise, the largest of their correlations with residuals of
deviation 1 is below that, and not far. What is left is how the loss changes with the first layer's output: the
deviation of the residuals (one half for two even classes) times the gain of the layers behind it, which grows while
they are trained. So `strength` is measured: of 0.05, 0.1, 0.2 and 0.4 the first may miss two columns of 2,000 in 108
rows, and the last two cost five points where all columns carry signal, see `benchmarks/wide.py`.

What differs from those papers: plain steps of AdamW along the subgradient, so columns of noise end near zero, not at
it; one strength in place of a path of them; the linear path has no constraint of its own, and the layers behind the
first have only the weight decay of training. Columns start alike, all of them together as large as torch's own start
makes a layer: early epochs read all columns, later ones few, and validation chooses the epoch.

Axes: B batch, N columns of numbers, K columns of categories, O outputs of the first layer.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.encoders.categories import CategoryEmbedding
from mmkit.transforms.table import TableTransform

TINY = 1e-12
"""Added to squares, as the root has no slope at zero."""


class TableLassoEncoder(nn.Module):
    """One token for each row, of few of its columns.

    Each number is read with a flag that says whether it is missing; a missing category has its own weights.

    Args:
        transform: the fitted transform.
        width: D, the width of the token.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        dropout: rate of dropout after each hidden layer, in training.
        strength: of the penalty on columns, as above; 0 is a perceptron with a linear path.
    """

    reads: ClassVar[type[TableTransform]] = TableTransform
    scale: Tensor
    owner: Tensor
    share: Tensor

    def __init__(
        self,
        transform: TableTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        hidden: Annotated[int, Gt(0)] = 128,
        layers: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        strength: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        sizes, numbers = transform.sizes, len(transform.scales)
        columns, outputs = numbers + len(sizes), hidden + width
        start = (3 * columns) ** -0.5
        self.numbers = nn.Parameter(torch.randn(2, numbers, outputs) * start) if numbers else None  # values, flags
        self.categories = CategoryEmbedding(sizes, outputs) if sizes else None
        if self.categories is not None:
            self.categories.embedding.weight.data *= start * math.sqrt(outputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        blocks: list[nn.Module] = [nn.GELU(), nn.Dropout(dropout)]
        for _ in range(layers - 1):
            blocks += [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*blocks, nn.Linear(hidden, width))
        values = [max(size - 2, 1) for size in sizes]  # without missing and unknown
        degrees = torch.tensor([1] * numbers + [max(count - 1, 1) for count in values])
        universal = math.sqrt(2 * math.log(max(columns, 2)))
        scale = strength * (universal + (degrees - 1).sqrt()) / math.sqrt(max(transform.rows, 1))
        self.register_buffer("scale", scale, persistent=False)  # [N+K]
        owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
        self.register_buffer("owner", owner, persistent=False)  # the column of each category
        self.register_buffer("share", 1 / torch.tensor(values, dtype=torch.float32), persistent=False)  # [K]

    def forward(self, batch: Batch) -> Features:
        """One token, zero where the row is missing; in training the penalty `columns`."""
        mask = batch["mask"]  # [B]
        first: Tensor = self.bias  # grows to [B O]
        if self.numbers is not None:
            present = batch["present"] & mask[:, None]  # [B N]
            values = batch["numbers"].masked_fill(~present, 0)
            absent = (~present).to(values.dtype)
            first = first + values @ self.numbers[0] + absent @ self.numbers[1]
        if self.categories is not None:
            first = first + self.categories.summed(batch["categories"], mask)
        hidden, linear = first.split([self.hidden, self.width], 1)
        penalties = {"columns": self._penalty().expand(len(mask))} if self.training else {}
        return Features.of(self.layers(hidden) + linear, mask, penalties=penalties)

    def _penalty(self) -> Tensor:
        """The sum over the columns of their lengths, as they are weighted."""
        squares = []
        if self.numbers is not None:
            squares.append(self.numbers.square().sum((0, 2)))  # [N]
        if self.categories is not None:
            of_values = self.categories.embedding.weight.square().sum(1)
            squares.append(torch.zeros_like(self.share).index_add(0, self.owner, of_values) * self.share)  # [K]
        return (self.scale * (torch.cat(squares) + TINY).sqrt()).sum()
