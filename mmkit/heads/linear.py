"""Linear classifier: one linear layer to classes or labels.

Axes: B batch, D width of the features, C size of the target.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Target
from mmkit.heads.loss import CategoryLoss
from mmkit.transforms.truth import Categories


class LinearHead(nn.Module):
    """Logistic regression on the features: one logit for each class or label.

    Loss and prediction depend on the output only.

    Args:
        loss: "cross-entropy", or "focal" loss, which gives more weight to samples that are predicted badly.
        gamma: exponent of the focal loss; the higher it is, the less well-predicted samples count.
        label_smoothing: share of the truth that is spread evenly over all classes (for each label, over yes and no);
            none is 0.1 for cross-entropy over classes, and 0 otherwise and while encoders are tuned.
        class_weights: "balanced" weighs classes by the inverse of their frequency in training.

    Raises:
        ValueError: the target has neither classes nor labels, or no counts to balance.
    """

    reads: ClassVar[type[Categories]] = Categories

    def __init__(
        self,
        width: int,
        target: Target,
        transform: Categories,  # noqa: ARG002
        *,
        loss: Literal["cross-entropy", "focal"] = "cross-entropy",
        gamma: Annotated[float, Ge(0)] = 2.0,
        label_smoothing: Annotated[float, Interval(ge=0, lt=1)] | None = None,
        class_weights: Literal["none", "balanced"] = "none",
    ) -> None:
        super().__init__()
        self.criterion = CategoryLoss(
            target, label_smoothing=label_smoothing, class_weights=class_weights, loss=loss, gamma=gamma
        )
        self.logits = nn.Linear(width, target.size)

    def forward(self, features: Features) -> Tensor:
        """[B C] logits."""
        return self.logits(features.vector())

    def loss(self, output: Tensor, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        return self.criterion(output, truth)

    def predict(self, output: Tensor) -> Batch:
        """`probabilities` [B C]."""
        return {"probabilities": self.criterion.probabilities(output)}
