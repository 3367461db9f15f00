"""Dynamic gate (DynMM): for each sample a gate chooses whose prediction counts, one input's or that of all.

Xue and Marculescu, "Dynamic Multimodal Fusion", CVPR Workshops 2023, https://arxiv.org/abs/2204.00102: the choice
between networks of whole inputs. The authors' code was read, not the paper. What differs: every input has a branch,
where the code leaves out those that do badly; branches and gate are trained together, where the code trains branches
first; the gate reads features in place of raw inputs; branches of missing inputs are not chosen. All branches are
computed for every sample, since nothing may branch on values: no time is saved. What is left of the method is that it
is sparse, and that it tells where one input was enough. So the penalty on the joint branch, which pays for time there,
is off unless it is asked for: with a weight of 0.1 two tasks that need both inputs were not learnt
(`benchmarks/evidence.md`).

Axes: B batch, D an input's width, M inputs, H hidden width, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Features, Target
from mmkit.layers.joint import JointHead
from mmkit.layers.precision import exactly
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.vectors import complete, joined, one_token, present, weighed


class DynamicGateFusion(nn.Module):
    """One of M + 1 predictions: of each input's head, and of an MLP over the joined features.

    A gate, an MLP over the joined features, scores the branches of what is there. In training all are mixed by the
    softmax of their scores; in evaluation the one with the highest score is taken, and the gradient is that of the
    mixture (straight-through). The gate computes in the precision of its weights, also under autocast: rounding must
    not change what it chooses. Where all inputs are missing, the output is zero. The detail `branches` [B M+1], where
    it is asked for, is what each branch counts, that of all inputs last.

    Args:
        widths: D of each input, by name.
        target: what is predicted.
        hidden: H, of the gate and of the joint branch.
        hard: whether in training, too, one branch is taken; those that are not chosen then learn nothing from the
            sample, but by the losses of the inputs' own heads.
        cost: weight of a penalty in training on how much the joint branch counts, which reads all inputs; 0 is none.

    Raises:
        ValueError: the target is of a kind whose outputs cannot be mixed.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        hidden: Annotated[int, Gt(0)] = 128,
        hard: bool = False,
        cost: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(
                f"dynamic-gate chooses among predictions of classes, labels or scalars; the target is {target.kind!r}: "
                f"take a fusion of features"
            )
        self.width = target.size
        self.inputs = tuple(widths)
        self.hard = hard
        self.cost = cost
        self.detailed = False
        self.joint = JointHead(widths, hidden, target.size)
        self.gate = JointHead(widths, hidden, len(widths) + 1)

    def forward(self, features: Mapping[str, Features], outputs: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model; with a penalty `cost` in training, where it has a weight."""
        vectors = joined(features, self.inputs)
        alone = [outputs[name].vector() for name in self.inputs]  # [B C] each
        branches = [*alone, self.joint.of(vectors)]  # [B C] each, M+1 of them
        flags = None
        if not complete(outputs, self.inputs):
            of_inputs = present(outputs, self.inputs)
            flags = torch.cat([of_inputs, of_inputs.any(1, keepdim=True)], 1)  # [B M+1]
        shares = present_softmax(self._scores(vectors), flags)
        if self.hard or not self.training:
            shares = shares + (self._chosen(shares, flags) - shares).detach()
        found = one_token(weighed(branches, shares.split(1, 1)), outputs, self.inputs)
        if self.training and self.cost and len(self.inputs) > 1:
            found.penalties["cost"] = self.cost * shares[:, -1]
        return replace(found, details={"branches": shares}) if self.detailed else found

    def _scores(self, vectors: Tensor) -> Tensor:
        """[B M+1], in the precision of the gate's weights."""
        with exactly(vectors.device):
            return self.gate.of(vectors.to(self.gate.first.weight.dtype))

    @staticmethod
    def _chosen(shares: Tensor, flags: Tensor | None) -> Tensor:
        """[B M+1] of 0 and 1: 1 at the greatest share; nowhere where all inputs are missing."""
        places = torch.arange(shares.shape[1], device=shares.device)
        chosen = shares.argmax(1, keepdim=True) == places  # vmap takes no one_hot
        return (chosen if flags is None else chosen & flags).to(shares.dtype)
