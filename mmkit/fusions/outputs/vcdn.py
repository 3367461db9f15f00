"""View correlation discovery network (VCDN): an MLP over the outer product of what all inputs say.

Wang, Shao, Huang, Tang, Zhang, Ding and Huang, "MOGONET Integrates Multi-Omics Data Using Graph Convolutional Networks
Allowing Patient Classification and Biomarker Identification", Nature Communications 2021,
https://doi.org/10.1038/s41467-021-23774-w. The authors' code was read, not the paper. What differs: the hidden layer is
50 wide and not C^M; missing inputs; one input alone passes the network as well. In the code the loss of the whole
trains this network alone, and heads and encoders learn from their own losses: here `detach=true`.

Axes: B batch, M inputs, C classes, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, cast

from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features, Target
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import one_token, outer, there


class VcdnFusion(nn.Module):
    """Linear, leaky ReLU of slope 0.25, Linear over the [B C^M] products of one number of each input.

    The numbers of an input are the sigmoids of its output. A missing input says 1 / C for every class, so that what is
    left is the mean over its classes: a trace by design. The product grows with the power of the inputs, so it is
    refused where it is too large.

    Args:
        widths: width of the output of each input, by name; all are C.
        target: what is predicted; classes.
        hidden: H.
        detach: whether the network leaves heads and encoders alone, which are then trained by their own losses.
        budget: greatest number of parameters; a fusion that needs more is refused.

    Raises:
        ValueError: the target is no class, the outputs are not of its size, or it would need more parameters than
            `budget`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        hidden: Annotated[int, Gt(0)] = 50,
        detach: bool = False,
        budget: Annotated[int, Gt(0)] = 50_000_000,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(f"vcdn reads classes together; the target is {target.kind!r}: take late or log-pool")
        if any(size != target.size for size in widths.values()):
            raise ValueError(f"each output has the target's size, {target.size}; got {dict(widths)}")
        self.width = target.size
        self.inputs = tuple(widths)
        self.detach = detach
        numbers = math.prod(widths.values())
        parameters = (numbers + 1) * hidden + (hidden + 1) * target.size
        if parameters > budget:
            raise ValueError(
                f"vcdn of {len(widths)} inputs and {target.size} classes needs {parameters:,} parameters, more than "
                f"its budget of {budget:,}: take a smaller `hidden`, raise `budget`, or take late, log-pool or stacking"
            )
        self.network = nn.Sequential(nn.Linear(numbers, hidden), nn.LeakyReLU(0.25), nn.Linear(hidden, target.size))
        for layer in (self.network[0], self.network[2]):  # as in the authors' code
            nn.init.xavier_normal_(cast(Tensor, layer.weight))
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model."""
        said = [self._said(features[name]) for name in self.inputs]  # [B C] each
        return one_token(self.network(reduce(outer, said)), features, self.inputs)

    def _said(self, output: Features) -> Tensor:
        vector = output.vector().detach() if self.detach else output.vector()
        said = vector.sigmoid()
        return said if output.complete else masked(said, there(output), 1 / self.width)
