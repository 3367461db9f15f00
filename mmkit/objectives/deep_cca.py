"""Deep CCA: the projections of two inputs are as correlated as linear maps can make them.

Andrew, Arora, Bilmes and Livescu, "Deep Canonical Correlation Analysis", ICML 2013,
https://proceedings.mlr.press/v28/andrew13.html; Chang, Xiang and Hospedales, "Scalable and Effective Deep CCA via Soft
Decorrelation", CVPR 2018, https://arxiv.org/abs/1707.09669. What differs: a linear map of each input's features stands
for the last layer; the loss is added to that of the head, with S added so that it is not negative; features are brought
to variance 1 first, so that the ridge is a share of the variance and a singular covariance is harmless; all pairs of
any number of inputs. The soft form averages over the numbers that the paper adds up, so that its size does not grow
with S; that, and its weight of the decorrelation, are from the implementation of cca-zoo.

Axes: B batch, D an input's width, S width of the shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, exact_product, mean_over_pairs, standardised, wide

DECAY = 0.9
"""Of the running covariance of the soft form."""


class DeepCcaObjective(nn.Module):
    """S less the sum of the canonical correlations of two inputs: 0 where each tells all of the other.

    It is a loss of the whole batch, the mean over the pairs of inputs, and the same for each of its samples. Statistics
    are those of the rows that have both inputs; a pair of which fewer than two rows have both counts nothing. Where the
    batch has no more such rows than S, every correlation is 1 whatever the data, and nothing is learned: take a `space`
    of at most a quarter of the batch, or `soft`.

    Args:
        space: S.
        ridge: added to the diagonal of each covariance of features of variance 1.
        soft: in place of correlations, the squared difference of the projections, and the absolute covariances between
            the features of one input, averaged over batches: no matrix is factorised, and small batches serve.
        decorrelation: with `soft`, weight of the covariances.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs.
    """

    running: Tensor
    seen: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        space: Annotated[int, Gt(0)] = 8,
        ridge: Annotated[float, Interval(ge=1e-5, le=1)] = 1e-3,
        soft: bool = False,
        decorrelation: Annotated[float, Ge(0)] = 0.5,
        weight: Annotated[float, Gt(0)] = 0.01,
    ) -> None:
        super().__init__()
        check_pairs(widths, "deep-cca")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.space = space
        self.ridge = ridge
        self.soft = soft
        self.decorrelation = decorrelation
        self.weight = weight
        if soft:
            self.register_buffer("running", torch.zeros(len(widths), space, space))
            self.register_buffer("seen", torch.zeros(len(widths)))

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], one number."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() for f in features]  # [B] each
        points = [wide(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        costs = [self._covariances(i, one, rows) for i, (one, rows) in enumerate(zip(points, present, strict=True))]

        def loss(a: int, b: int, both: Tensor) -> Tensor:
            first, second = standardised(points[a], both), standardised(points[b], both)
            rows = both.sum()
            if self.soft:
                return (first - second).square().mean(1).sum() / rows.clamp(min=1) + costs[a] + costs[b]
            return self.space - self._correlations(first, second, rows).sum()

        return mean_over_pairs(present, loss, self.weight)

    def _correlations(self, first: Tensor, second: Tensor, rows: Tensor) -> Tensor:
        """[S]: singular values of L1^-1 C12 L2^-T, of the Cholesky factors of the covariances."""
        count = rows.clamp(min=1)
        ridge = self.ridge * torch.eye(self.space, dtype=first.dtype, device=first.device)
        inner = exact_product(first.T, second) / count
        for of_one in (first, second):
            # `cholesky_ex` does not wait for the device to say that it went well: the ridge sees to that.
            factor, _ = torch.linalg.cholesky_ex(exact_product(of_one.T, of_one) / count + ridge)
            inner = torch.linalg.solve_triangular(factor, inner, upper=False).T  # the next one stands on the left
        return torch.linalg.svdvals(inner)

    def _covariances(self, place: int, points: Tensor, rows: Tensor) -> Tensor:
        """The mean of the absolute covariances between the features of one input, averaged over the last batches."""
        if not self.soft:
            return points.new_zeros(())
        normal = standardised(points, rows)
        enough = (rows.sum() > 1).to(normal.dtype)
        now = exact_product(normal.T, normal) / rows.sum().clamp(min=1)  # [S S]
        running = DECAY * self.running[place] + enough * now
        seen = DECAY * self.seen[place] + enough
        if self.training:
            with torch.no_grad():
                self.running[place] = torch.where(enough > 0, running, self.running[place])
                self.seen[place] = torch.where(enough > 0, seen, self.seen[place])
        average = running / seen.clamp(min=1e-3)
        off = average.abs().sum() - average.diagonal().abs().sum()
        return self.decorrelation * off / max(self.space * (self.space - 1), 1)
