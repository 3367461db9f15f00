"""Evidential fusion (TMC): what each input says counts as evidence, combined by Dempster's rule.

Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification", ICLR 2021, https://arxiv.org/abs/2102.02051; Xu et al.,
"Reliable Conflictive Multi-View Learning", AAAI 2024, https://arxiv.org/abs/2402.16897. The joint view is that of the
former's longer form, TPAMI 2022, https://arxiv.org/abs/2204.11423. What differs: the rule for any number of inputs in
one pass, without divisions; the mean of evidences is over all views at once, where the authors' chain of pairs weighs
later views more; missing inputs; the loss of the whole is the head's own, which of these outputs is the type II
likelihood, beside the companion's.

Axes: B batch, D an input's width, M inputs, H width between, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.joint import JointHead
from mmkit.layers.pairs import wide
from mmkit.layers.vectors import one_token, present, there

SAFE = 4
"""Views of which the product is finite in float32 for any evidence below a billion times C each."""


class EvidentialFusion(nn.Module):
    """The logarithm of the Dirichlet parameters of the combined evidence; its softmax is the expected probability.

    An output o is evidence e = softplus(o), belief e / S and uncertainty C / S, S = sum(e) + C. By Dempster's rule the
    evidence of several is C (prod_m (1 + e_m / C) - 1). A missing input is no evidence: it changes nothing. Where all
    inputs are missing, all classes are equally likely.

    Args:
        widths: D of each input, by name.
        target: what is predicted; classes.
        rule: "dempster", or "mean" of the evidences of the inputs that are there.
        joint: whether a head over the joined features is one more view.
        hidden: H, of the joint view.

    Raises:
        ValueError: the target is no class.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        rule: Literal["dempster", "mean"] = "dempster",
        joint: bool = False,
        hidden: Annotated[int, Gt(0)] = 128,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(
                f"evidential fusion combines evidence for classes; the target is {target.kind!r}: take late or log-pool"
            )
        self.width = target.size
        self.inputs = tuple(widths)
        self.rule = rule
        self.joint = JointHead(widths, hidden, target.size) if joint else None

    def forward(self, features: Mapping[str, Features], outputs: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model; of the joint view, its evidence as the detail `joint_evidence` [B C]."""
        views = [_evidence(outputs[name]) for name in self.inputs]  # [B C] each
        details = {}
        if self.joint is not None:
            some = present(features, self.inputs).any(1, keepdim=True)
            joint = F.softplus(wide(self.joint(features))) * some
            details["joint_evidence"] = joint
            views.append(joint)
        combined = self._dempster(views) if self.rule == "dempster" else self._mean(views, outputs)
        return replace(one_token(combined, outputs, self.inputs), details=details)

    def _dempster(self, views: list[Tensor]) -> Tensor:
        """log(1 + C (prod_m (1 + e_m / C) - 1)); of many views the product might be infinite, and logarithms are added.

        With s the logarithm of the product it is s + log(C - (C - 1) e^-s).
        """
        if len(views) <= SAFE:
            evidence = views[0]
            for view in views[1:]:  # C ((1 + e / C) (1 + f / C) - 1) = e + f + e f / C
                evidence = torch.addcmul(evidence + view, evidence, view, value=1 / self.width)
            return torch.log1p(evidence)
        s = reduce(torch.add, [torch.log1p(view / self.width) for view in views])
        return s + math.log(self.width) + torch.log1p(-(1 - 1 / self.width) * torch.exp(-s))

    def _mean(self, views: list[Tensor], outputs: Mapping[str, Features]) -> Tensor:
        flags = present(outputs, self.inputs)  # [B M]
        count = flags.sum(1, keepdim=True) + (flags.any(1, keepdim=True) if self.joint is not None else 0)
        return torch.log1p(reduce(torch.add, views) / count.clamp(min=1))


def _evidence(output: Features) -> Tensor:
    evidence = F.softplus(wide(output.vector()))
    return evidence if output.complete else evidence * there(output)
