"""GRAM: the directions of all inputs of one sample span little volume, and those of different samples much.

Cicchetti, Grassucci, Sigillo and Comminiello, "Gramian Multimodal Representation Learning and Alignment", ICLR 2025,
https://arxiv.org/abs/2412.11959. What differs: each input is the anchor once, where the authors have one for all (the
text), so that no input has a part of its own and rows that lack the anchor are not lost; no smoothing of the labels,
and no loss of matching by a cross-encoder beside it. Volumes have a floor under the root: the gradient of
sqrt(|det G|), which the authors' code takes, is not finite where two directions agree.

Axes: B batch, D an input's width, S width of the shared space, K inputs beside the anchor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.matching import limited_scale, matching_loss
from mmkit.layers.pairs import check_pairs, direction, exact_product

FLOOR = 1e-6
"""Added to the square of a volume, under the root."""


class VolumeObjective(nn.Module):
    """InfoNCE over -V / temperature, V = sqrt(det G + 1e-6), G the Gram matrix of the directions of all inputs.

    An anchor of one sample is compared with the other inputs of all samples, and they with the anchors of all samples.
    The loss of a sample is the mean over the anchors that it has, and 0 where it has fewer than two inputs. An input
    that is missing is left out of G. Of two inputs V is the sine of their angle; so opposite directions agree as well
    as equal ones do. Where the other inputs of a sample agree, V is small whatever the anchor is.

    Args:
        space: width of the shared space; as many as inputs at least.
        temperature: of the softmax over volumes, at the start of training; it is learned.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs, or a space in which they span nothing.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        space: Annotated[int, Gt(0)] = 64,
        temperature: Annotated[float, Interval(ge=0.01, le=10)] = 0.07,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        check_pairs(widths, "volume")
        if space < len(widths):
            raise ValueError(f"{len(widths)} directions span no volume in a space of {space}; set space={len(widths)}")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B]."""
        features = [model_output.features[name] for name in self.inputs]
        points = [direction(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        present = [f.present() for f in features]  # [B] each
        scale = limited_scale(self.log_scale)
        total = torch.zeros_like(points[0][:, 0])
        count = torch.zeros_like(total)
        for place, anchor in enumerate(points):
            rest, there = (of[:place] + of[place + 1 :] for of in (points, present))
            some = torch.stack(there).any(0)
            similarity = -scale * volumes(anchor, rest, there)  # [B B]
            loss = (matching_loss(similarity, some) + matching_loss(similarity.T, present[place])) / 2
            both = present[place] & some
            total = total + torch.where(both, loss, 0)
            count = count + both
        return self.weight * total / count.clamp(min=1)


def volumes(anchor: Tensor, others: Sequence[Tensor], present: Sequence[Tensor]) -> Tensor:
    """[B B]: V of each anchor with the other inputs of each sample.

    With A the Gram matrix of the others and g the products of the anchor with them, det G = det A - g^T adj(A) g. As
    products of matrices that is K(K + 1) of [B S] in place of B^2 determinants, and without a division it has a
    gradient wherever the directions lie.

    Args:
        anchor: [B S], of length 1.
        others: K of them, [B S] each, of length 1, or zero where an input is missing.
        present: [B] bool of each; what is missing is left out of G.
    """
    stacked = torch.stack(list(others), 1)  # [B K S]
    gone = ~torch.stack(list(present), 1)  # [B K]
    gram = exact_product(stacked, stacked.mT) + torch.diag_embed(gone.to(stacked.dtype))  # [B K K], 1 where it is gone
    determinant, adjugate = determinants(gram)
    turned = exact_product(adjugate, stacked)  # [B K S]
    square = determinant.unsqueeze(0)
    for first, second in zip(stacked.unbind(1), turned.unbind(1), strict=True):
        square = square - exact_product(anchor, first.T) * exact_product(anchor, second.T)
    return (square.clamp(min=0) + FLOOR).sqrt()


def determinants(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The determinant [B] and the adjugate [B K K] of matrices [B K K], by the recursion of Faddeev and LeVerrier."""
    size = matrices.shape[-1]
    unit = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
    adjugate = unit.expand_as(matrices)
    for step in range(1, size + 1):
        product = exact_product(matrices, adjugate)
        coefficient = -product.diagonal(dim1=-2, dim2=-1).sum(-1) / step  # [B]
        if step < size:
            adjugate = product + coefficient[..., None, None] * unit
    sign = (-1) ** (size - 1)
    return -sign * coefficient, sign * adjugate
