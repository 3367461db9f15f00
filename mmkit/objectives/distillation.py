"""Distillation: each input learns from a frozen model of that input alone.

Du, Teng, Li, Liu, Yuan, Wang, Yuan and Zhao, "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML
2023, https://arxiv.org/abs/2305.01233; Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531: the uni-modal teacher of the first, of outputs by the second. Trained together,
encoders learn less of their input than each would alone; teachers of single inputs show them what there is to learn.

What differs: the mean over the width and not the sum, so that the weight means the same for every encoder; the weight
is 1, where the code of BalanceBenchmark takes 10: features that are normalised differ by about 2 at the start, beside a
cross-entropy of about 1, and on little data the loss of the task should not be drowned; a linear map that is learned
goes from the model's features to the teacher's where their widths differ; of outputs, the model learns from all
teachers of the inputs that a sample has, so that its target is their mean.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import wide

_TEMPERATURE = 2.0


class DistillationObjective(nn.Module):
    """sum_m mean_d (x_m - t_m)^2 over the inputs of a sample; t_m the teacher's features, which get no gradient.

    With `of=outputs` it is sum_m T^2 KL(softmax(o_m / T) || softmax(o / T)), o_m the output of the teacher and o that
    of the model; for labels the mean over the labels of the same with two classes each; for numbers
    mean_c (o - o_m)^2. An input whose encoder is frozen has no teacher.

    Args:
        teachers: folder with a saved model of each input alone, `mmkit train --fusion only:INPUT --out DIR/INPUT`, or
            that of a suite with its saved models.
        of: "features" of the inputs, or "outputs".
        temperature: T of `of=outputs` for classes and labels; none is 2. The higher it is, the more the unlikely
            classes count.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: `of=outputs` and the target is of a kind whose outputs cannot be compared, or a temperature of what
            has none.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        taught: Mapping[str, int],
        *,
        teachers: str = "",  # noqa: ARG002 (the core has read it)
        of: Literal["features", "outputs"] = "features",
        temperature: Annotated[float, Gt(0)] | None = None,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        if of == "outputs" and target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(f"of=outputs compares classes, labels or numbers; the target is {target.kind}")
        if temperature is not None and (of == "features" or target.kind == "scalar"):
            raise ValueError("a temperature is of of=outputs for classes and labels; leave it out")
        self.inputs = tuple(taught)
        self.of = of
        self.kind = target.kind
        self.temperature = _TEMPERATURE if temperature is None else temperature
        self.weight = weight
        unequal = {name: d for name, d in taught.items() if d != widths[name]} if of == "features" else {}
        self.maps = nn.ModuleDict({name: nn.Linear(widths[name], d) for name, d in unequal.items()})

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], zero where no input with a teacher is there."""
        losses = []
        for name in self.inputs:
            distance = self._features(model_output, name) if self.of == "features" else self._output(model_output, name)
            losses.append(distance.masked_fill(~model_output.features[name].present(), 0))
        return self.weight * torch.stack(losses).sum(0)

    def _features(self, found: ModelOutput, name: str) -> Tensor:
        vector = found.features[name].vector()
        own = self.maps[name](vector) if name in self.maps else vector
        return _squared(own, found.teachers[name].fused.vector())

    def _output(self, found: ModelOutput, name: str) -> Tensor:
        own, its = wide(found.output), wide(found.teachers[name].output)
        if self.kind == "scalar":
            return _squared(own, its)
        own, its = own / self.temperature, its / self.temperature
        if self.kind == "classes":
            return self.temperature**2 * _divergence(own.log_softmax(-1), its.log_softmax(-1))
        # Of each label yes and no.
        pairs = [torch.stack([F.logsigmoid(one), F.logsigmoid(-one)], -1) for one in (own, its)]  # [B C 2]
        return self.temperature**2 * _divergence(*pairs).mean(-1)


def _squared(own: Tensor, its: Tensor) -> Tensor:
    return (wide(own) - wide(its)).square().mean(-1)


def _divergence(own: Tensor, its: Tensor) -> Tensor:
    """KL(its || own) of log-probabilities over the last axis; not below zero, which it is but for rounding."""
    return (its.exp() * (its - own)).sum(-1).clamp(min=0)
