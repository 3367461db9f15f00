"""Class-wise attention (DrFuse): each class chooses between what two inputs share and what each has alone.

Yao, Yin, Cheung, Liu and Qin, "DrFuse: Learning Disentangled Representation for Clinical Multi-Modal Fusion with
Missing Modality and Modal Inconsistency", AAAI 2024, https://arxiv.org/abs/2403.06197. The authors' code was read
(dorothy-yao/drfuse, models/drfuse.py and drfuse_trainer.py). What differs:

- Shared and private parts are layers over one vector an input; there each is an encoder of its own.
- Either input may be missing; there one is always present.
- What an input's own head says is added to the scores of its private part, where the code only trains such heads
  beside it. The shared part has no head of its own, and the loss that ranks attention weights by the losses of the
  heads is left out.
- The divergence is that of yes and no of each number, averaged over numbers, where the code leaves out the no and adds
  up; penalties are of each row, zero where it has no pair.
- Value and score layers are linear, one after the other: here they are one.

Axes: B batch, D an input's width, H hidden width, C classes or labels, K the parts r_1, s, r_2.

    r_m = R_m x_m    s_m = P(S_m x_m)    s = logit of the mean of sigmoid(s_1) and sigmoid(s_2)
    a_c = softmax_k((Q mean_k p_k)^T K_c p_k / sqrt(H))    y_c = sum_k a_ck (w_c p_k + b_c + o_kc), o of s: 0
    penalties: alike JSD(sigmoid(s_1), sigmoid(s_2)) + apart sum_m |cos(r_m, s_m)|
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.pairs import wide
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.vectors import complete, one_token, present

LOG_2 = math.log(2)


class ClassAttentionFusion(nn.Module):
    """For each class a mean of the scores of three parts, weighed by an attention whose keys are of that class.

    Of a missing input there is no private part, and what is shared is what the other one says. Where both are missing,
    all classes are equally likely and every label has probability 0.5. The weights, [B 3 C] of r_1, s and r_2, are the
    detail `shares`, where it is asked for. In evaluation there are no penalties.

    Args:
        widths: D of each of the two inputs, by name.
        target: what is predicted; classes or labels.
        hidden: H, width of shared and private parts.
        alike: weight of the penalty that makes shared parts alike.
        apart: weight of the penalty that keeps private parts apart from shared ones.

    Raises:
        ValueError: there are not two inputs, or the target is neither classes nor labels.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        hidden: Annotated[int, Gt(0)] = 128,
        alike: Annotated[float, Ge(0)] = 1.0,
        apart: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"class-wise attention is between two inputs; got {len(widths)} ({', '.join(widths)})")
        if target.kind not in {"classes", "labels"}:
            raise ValueError(f"keys are of classes or labels; the target is {target.kind!r}: take late or joint-pool")
        self.width = target.size
        self.inputs = tuple(widths)
        self.alike = alike
        self.apart = apart
        self.detailed = False
        self.private = nn.ModuleDict({name: nn.Linear(d, hidden) for name, d in widths.items()})
        self.shared = nn.ModuleDict({name: nn.Linear(d, hidden) for name, d in widths.items()})
        self.common = nn.Sequential(
            nn.Linear(hidden, 2 * hidden),
            nn.ReLU(),
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
        )
        self.query = nn.Linear(hidden, hidden)
        self.keys = nn.Linear(hidden, target.size * hidden, bias=False)  # a bias would be the same for all parts
        self.score = nn.Linear(hidden, target.size)

    def forward(self, features: Mapping[str, Features], outputs: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model, with the penalties `alike` and `apart` in training."""
        vectors = [features[name].vector() for name in self.inputs]
        own = [linear(vector) for linear, vector in zip(self.private.values(), vectors, strict=True)]  # [B H] each
        read = torch.stack([linear(vector) for linear, vector in zip(self.shared.values(), vectors, strict=True)])
        common = wide(self.common(read))  # [2 B H]
        whole = complete(features, self.inputs)
        first, second = present(features, self.inputs).unsqueeze(2).unbind(1)  # [B 1] each
        mean = mean_logit(common[0], common[1])
        agreed = mean if whole else torch.where(first & second, mean, torch.where(first, common[0], common[1]))
        parts = torch.stack([own[0], agreed.to(own[0].dtype), own[1]], 1)  # [B 3 H]
        there = None if whole else torch.cat([first, first | second, second], 1)  # [B 3]
        query = self.query(parts.mean(1) if there is None else _mean(parts, there))
        keys = self.keys(query).unflatten(1, (self.width, -1))  # [B C H], the query is asked of each class once
        weights = present_softmax(parts @ keys.transpose(1, 2) * parts.shape[2] ** -0.5, there)  # [B 3 C]
        said = [outputs[name].vector() for name in self.inputs]
        scores = self.score(parts) + torch.stack([said[0], torch.zeros_like(said[0]), said[1]], 1)
        found = one_token((weights * scores).sum(1), outputs, self.inputs)
        if self.training:
            pair = (first & second).squeeze(1)
            found.penalties["alike"] = self.alike * torch.where(pair, divergence(common[0], common[1], mean), 0)
            apart = [
                torch.where(here.squeeze(1), F.cosine_similarity(wide(r), s).abs(), 0)
                for r, s, here in zip(own, common, (first, second), strict=True)
            ]
            found.penalties["apart"] = self.apart * (apart[0] + apart[1])
        return replace(found, details={"shares": weights}) if self.detailed else found


def mean_logit(one: Tensor, other: Tensor) -> Tensor:
    """The logit of the mean of two probabilities, from their logits, of any shape.

    >>> mean_logit(torch.tensor(0.0), torch.tensor(0.0))
    tensor(0.)
    """
    either = torch.logaddexp(one, other)
    return torch.logaddexp(either, one + other + LOG_2) - torch.logaddexp(either, torch.full_like(either, LOG_2))


def divergence(one: Tensor, other: Tensor, mean: Tensor) -> Tensor:
    """[B]: the Jensen-Shannon divergence of yes and no, from logits [B H] and that of the mean; averaged over H."""
    total = torch.zeros_like(mean)
    for side in (one, other):
        total = total + side.sigmoid() * (F.logsigmoid(side) - F.logsigmoid(mean))
        total = total + (-side).sigmoid() * (F.logsigmoid(-side) - F.logsigmoid(-mean))
    return 0.5 * total.mean(1)


def _mean(parts: Tensor, there: Tensor) -> Tensor:
    """[B H]: the mean of the parts [B 3 H] that are there, [B 3]."""
    return (parts * there.unsqueeze(2)).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
