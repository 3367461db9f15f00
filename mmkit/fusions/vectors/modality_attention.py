"""Modality attention: one linear projection for each input, weighed by a softmax over the inputs.

Hori et al., "Attention-Based Multimodal Fusion for Video Description", ICCV 2017, https://arxiv.org/abs/1701.03126.
What differs: there is no decoder whose state is scored along, and no tanh over the sum of the projections. The score
that reads all inputs is that of TorchMultimodal (`modules/fusions/attention_fusion.py`), which cites no paper; it is
the default, since what an input is worth may hang on the others.

Axes: B batch, M inputs, D an input's width, S the sum of all D, H fused width.

    y = sum_m a_m (W_m x_m + b_m)   [B H],   a = softmax over the inputs of s   [B M]
    joint:  s = V [x_1; ...; x_M] + c   [B M]
    own:    s_m = v . tanh(U_m x_m + c_m)   [B],   U_m [H D]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.vectors import complete, joined, one_token, present, weighed


class ModalityAttentionFusion(nn.Module):
    """A weighted mean of the projections, by weights that each sample gives its inputs.

    A missing input has weight 0, and the weights of the others have sum 1. Where all are missing, the result is zero.
    Its details, where they are asked for, are the weights.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        score: by what an input is weighed: "joint", a linear layer over all vectors, or "own", a small network over its
            own vector, whose cost grows with the number of inputs and not with its square.
        per_feature: each feature has weights of its own, in place of one weight an input.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        score: Literal["joint", "own"] = "joint",
        per_feature: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.widths = tuple(widths.values())
        numbers = width if per_feature else None
        self.score = Joint(widths, numbers) if score == "joint" else Own(widths, width, numbers)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        names = tuple(self.project)
        vectors = joined(features, names)  # [B S]
        there = None if complete(features, names) else present(features, names)
        weights = present_softmax(self.score(vectors), there)  # [B M], or [B M H]
        each = weights.split(1, 1) if weights.ndim == 2 else weights.unbind(1)  # [B 1] or [B H] of each input
        values = [layer(x) for layer, x in zip(self.project.values(), vectors.split(self.widths, 1), strict=True)]
        # Where an input is missing the weight is zero, so its bias needs no mask.
        fused = one_token(weighed(values, each), features, names)
        if not self.detailed:
            return fused
        return replace(fused, details={f"weight.{name}": weights[:, m] for m, name in enumerate(names)})


class Joint(nn.Module):
    """Scores of all inputs by one linear layer over all vectors.

    Args:
        widths: D of each input, by name.
        numbers: K, scores of each input; None is one.
    """

    def __init__(self, widths: Mapping[str, int], numbers: int | None) -> None:
        super().__init__()
        self.numbers = numbers
        self.linear = nn.Linear(sum(widths.values()), (numbers or 1) * len(widths))

    def forward(self, vectors: Tensor) -> Tensor:
        """[B M] of the joined vectors [B S], or [B M K]."""
        scores: Tensor = self.linear(vectors)
        return scores if self.numbers is None else scores.unflatten(1, (-1, self.numbers))


class Own(nn.Module):
    """Scores of each input by its own hidden layer, and a last one that all share.

    Args:
        widths: D of each input, by name.
        width: H, of the hidden layers.
        numbers: K, scores of each input; None is one.
    """

    def __init__(self, widths: Mapping[str, int], width: int, numbers: int | None) -> None:
        super().__init__()
        self.numbers = numbers
        self.widths = tuple(widths.values())
        self.hidden = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.last = nn.Linear(width, numbers or 1, bias=False)  # a bias would raise all scores alike

    def forward(self, vectors: Tensor) -> Tensor:
        """[B M] of the joined vectors [B S], or [B M K]."""
        apart = zip(self.hidden.values(), vectors.split(self.widths, 1), strict=True)
        scores: Tensor = self.last(torch.stack([layer(vector).tanh() for layer, vector in apart], 1))
        return scores.squeeze(2) if self.numbers is None else scores
