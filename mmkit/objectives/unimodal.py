"""Loss of a separate head for each input, beside that of the fusion.

Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020,
https://arxiv.org/abs/1905.12681: networks that are trained jointly let one modality lead and leave the others
undertrained. What differs: their method weighs these losses by how much each overfits; here all have one fixed weight.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.heads.loss import loss_of


class UnimodalObjective(nn.Module):
    """The sum of the losses of the heads of all inputs that a sample has.

    The loss does not depend on the options of the head: cross-entropy for classes, binary cross-entropy for labels,
    squared error of standardised numbers for scalars.

    Args:
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: the target is of a kind that is not mmkit's.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.inputs = tuple(widths)
        self.weight = weight
        self.criterion = loss_of(target)

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        losses = [self.criterion(model_output.unimodal[name], truth) * model_output.shown(name) for name in self.inputs]
        return self.weight * torch.stack(losses).sum(0)
