"""Multilayer perceptron to numbers.

Axes: B batch, D width of the features, C numbers of the target.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Target
from mmkit.heads.hidden import hidden_layers
from mmkit.heads.loss import NumberLoss
from mmkit.transforms.truth import Numbers


class RegressionHead(nn.Module):
    """Hidden layers, then C numbers, each standardised by its mean and standard deviation over the training split.

    Output and loss are standardised, so that numbers of large units do not outweigh others; `predict` gives the user's
    units. Loss and prediction depend on the output only.

    Args:
        hidden: width of the hidden layers.
        layers: number of hidden layers; 0 is linear regression.
        dropout: rate of dropout after each hidden layer, in training.
        norm: normalisation of each hidden layer: "layer" or "none".
        loss: squared error ("mse"), absolute error ("mae"), or "huber", which lies between the two.
        delta: error, in standard deviations, above which the Huber loss is linear.

    Raises:
        ValueError: the target is not a scalar.
    """

    reads: ClassVar[type[Numbers]] = Numbers

    def __init__(
        self,
        width: int,
        target: Target,
        transform: Numbers,  # noqa: ARG002
        *,
        hidden: Annotated[int, Gt(0)] = 128,
        layers: Annotated[int, Ge(0)] = 1,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        norm: Literal["none", "layer"] = "layer",
        loss: Literal["mse", "mae", "huber"] = "mse",
        delta: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.criterion = NumberLoss(target, loss=loss, delta=delta)
        self.hidden = hidden_layers(width, hidden, layers, dropout, norm)
        self.numbers = nn.Linear(hidden if layers else width, target.size)

    def forward(self, features: Features) -> Tensor:
        """[B C], standardised."""
        return self.numbers(self.hidden(features.vector()))

    def loss(self, output: Tensor, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        return self.criterion(output, truth)

    def predict(self, output: Tensor) -> Batch:
        """`values` [B C] in the user's units, and `standardised` [B C], of which the transform makes exact ones."""
        return self.criterion.prediction(output)
