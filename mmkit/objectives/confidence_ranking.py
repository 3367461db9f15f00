"""Confidence ranking (CML): a prediction from fewer inputs is not surer than the one from more.

Ma, Zhang, Zhang, Wu, Fu, Zhou and Hu, "Calibrating Multimodal Learning", ICML 2023, https://arxiv.org/abs/2306.01265.
The paper's abstract was read, and the authors' code for MIWAE. What differs: what a model would predict from some of
its inputs is the sum of the outputs of their own heads, in place of another forward pass with the others left out: of
`log-pool` they are the same, and beside other fusions this asks of their outputs that they are surer than those pools;
every link of the chain counts, where the code asks nothing where more inputs are wrong and fewer are right, and never
makes what is wrong surer; missing inputs.

    s_k = sum of o_m over the first k of the n inputs that a sample has, in an order drawn for it; s_n = y, the output
    mean_{k < n} CE(s_k, truth) + ranking sum_{k < n} max(0, c(s_k) - c(s_{k+1})), c(o) = max(softmax(o))

Axes: B batch, M inputs, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, wide


class ConfidenceRankingObjective(nn.Module):
    """One chain of removals a sample: its inputs leave one after the other, and with each the confidence may only fall.

    It reads the output of each input's own head. A sample with one input has no loss. In evaluation, which draws
    nothing, inputs leave from the last name to the first.

    Args:
        ranking: factor of the hinges beside the losses of the predictions from fewer inputs.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs, or the target is no class.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        ranking: Annotated[float, Ge(0)] = 0.1,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        check_pairs(widths, "confidence-ranking")
        if target.kind != "classes":
            raise ValueError(f"confidences are those of classes; the target is {target.kind!r}")
        self.inputs = tuple(sorted(widths))
        self.ranking = ranking
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        said = torch.stack([wide(model_output.unimodal[name]) for name in self.inputs], 1)  # [B M C]
        there = torch.stack([model_output.shown(name) for name in self.inputs], 1)  # [B M]
        order = self._keys(said).masked_fill(~there, -1).argsort(1, descending=True)  # what is missing comes last
        said = torch.where(there.unsqueeze(2), said, 0)
        pools = said.gather(1, order.unsqueeze(2).expand_as(said)).cumsum(1)[:, :-1]  # [B M-1 C], of 1, 2, ... inputs
        number = torch.arange(1, len(self.inputs), device=said.device)  # k of each
        count = there.sum(1, keepdim=True)  # n, [B 1]
        link = (number < count) & truth["mask"].unsqueeze(1)  # [B M-1]
        logs = pools.log_softmax(2)
        fewer = logs.amax(2).exp()
        whole = wide(model_output.output).log_softmax(1).amax(1, keepdim=True).exp()
        more = torch.where(number + 1 == count, whole, torch.cat([fewer[:, 1:], whole], 1))
        label = torch.where(truth["mask"], truth["label"], 0)
        wrong = -logs.gather(2, label[:, None, None].expand(-1, len(number), 1)).squeeze(2)
        links = link.sum(1, keepdim=True).clamp(min=1)
        return self.weight * torch.where(link, wrong / links + self.ranking * (fewer - more).relu(), 0).sum(1)

    def _keys(self, said: Tensor) -> Tensor:
        """[B M], by which the inputs of a sample are ordered: those with a small one leave first."""
        if self.training:
            return torch.rand(said.shape[:2], device=said.device)
        return torch.arange(len(self.inputs), 0, -1.0, device=said.device).expand(said.shape[:2])
