"""Stacking: a linear layer learns how to combine the predictions of the inputs.

Wolpert, "Stacked Generalization", Neural Networks 1992, https://doi.org/10.1016/S0893-6080(05)80023-1. What differs:
the paper fits the combiner on predictions for samples that the predictors have not seen, by cross-validation; here both
are trained side by side on the same samples, so an input whose head overfits is trusted too much. The combiner sees
which inputs are there. The paper was not at hand; this is stacking as it is commonly described.

Axes: B batch, M inputs, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.vectors import complete, one_token, present


class StackingFusion(nn.Module):
    """Linear over the predictions of all inputs and the M flags of which are there.

    A prediction is the logarithm of the probabilities for classes, the logits for labels, the values for scalars; zeros
    where the input is missing. It begins as their mean over all M inputs, so as the pool `log-pool:weights=mean` where
    nothing is missing.

    Args:
        widths: width of the output of each input, by name; all are C.
        target: what is predicted.
        detach: whether the combiner leaves the heads and encoders alone, which are then trained by their own losses.

    Raises:
        ValueError: the target is of a kind that has no such outputs, or the outputs are not of its size.
    """

    def __init__(self, widths: Mapping[str, int], target: Target, *, detach: bool = True) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(
                f"stacking combines predictions of classes, labels or scalars; the target is {target.kind!r}: take a "
                "fusion of features"
            )
        if any(size != target.size for size in widths.values()):
            raise ValueError(f"each output has the target's size, {target.size}; got {dict(widths)}")
        self.width = target.size
        self.inputs = tuple(widths)
        self.classes = target.kind == "classes"
        self.detach = detach
        mean = torch.eye(target.size).repeat(1, len(widths)) / len(widths)  # [C MC]
        self.weight = nn.Parameter(torch.cat([mean, torch.zeros(target.size, len(widths))], 1))  # [C MC+M]
        self.bias = nn.Parameter(torch.zeros(target.size))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model."""
        told = torch.stack([features[name].vector() for name in self.inputs], 1)  # [B M C], zero where missing
        told = told.detach() if self.detach else told
        told = told.log_softmax(2) if self.classes else told
        if complete(features, self.inputs):
            flags = told.new_ones(told.shape[:2])  # [B M]
        else:
            flags = present(features, self.inputs).to(told.dtype)
            told = told * flags.unsqueeze(2) if self.classes else told
        joined = torch.cat([told.flatten(1), flags], 1)
        return one_token(F.linear(joined, self.weight, self.bias), features, self.inputs)
