"""Ranking metrics of retrieval: the rank among all candidates, recall at K, mean reciprocal rank.

A query may have several right answers; the one with the best rank counts. Ties are counted pessimistically: wrong
candidates that are as similar as the best right one rank before it, so constant vectors get the worst ranks. What
differs by no more than rounding is a tie: a product gives equal vectors at two places similarities that differ by it.

Axes: N queries, M candidates, D width, L labels per query or candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.errors import MmkitError, UsageError
from mmkit.metrics.formulas import Measures

AT = (1, 5, 10)
"""The values K of recall at K."""
MAX_AT_ONCE = 2**22
"""The greatest number of similarities that are in memory at once."""
ROUNDING = 16
"""Units of rounding of 1 up to which two similarities are the same."""


def ranks(
    queries: Tensor,
    candidates: Tensor,
    same: tuple[Tensor, Tensor],
    *,
    at_once: int = MAX_AT_ONCE,
) -> Tensor:
    """The rank [N] from 1 of the best right answer to each query, by cosine similarity.

    Args:
        queries: [N D].
        candidates: [M D].
        same: labels [N L] of the queries and [M L] of the candidates; a candidate is right if any column is equal.
        at_once: the greatest number of similarities that are computed together, so that N x M need no memory.

    Raises:
        UsageError: the widths differ, or a query has no right answer among the candidates.
        MmkitError: a vector is not finite.
    """
    if queries.shape[1] != candidates.shape[1]:
        raise UsageError(
            f"queries have {queries.shape[1]} values and candidates {candidates.shape[1]}; expected equal widths"
        )
    for name, vectors in (("query", queries), ("candidate", candidates)):
        bad = int((~vectors.isfinite()).any(1).sum())
        if bad:
            raise MmkitError(f"{bad} of {len(vectors)} {name} vectors are not finite; check the encoder")
    dtype = torch.promote_types(queries.dtype, torch.float32)  # half precision would give false ties
    slack = ROUNDING * torch.finfo(dtype).eps
    keys = F.normalize(candidates.to(dtype), dim=-1).T  # [D M]
    all_ranks = []
    step = max(1, at_once // max(len(candidates), 1))
    for part, labels in zip(F.normalize(queries.to(dtype), dim=-1).split(step), same[0].split(step), strict=True):
        similarity = part @ keys  # [n M]
        right = torch.zeros_like(similarity, dtype=torch.bool)
        for column in range(labels.shape[1]):
            right |= labels[:, column, None] == same[1][None, :, column]
        if not bool(right.any(1).all()):
            raise UsageError("a query has no right answer among the candidates; leave it out")
        best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        all_ranks.append(1 + ((similarity >= best - slack) & ~right).sum(1))
    return torch.cat(all_ranks) if all_ranks else torch.zeros(0, dtype=torch.long)


def chance(same: Tensor, queries: Tensor) -> float:
    """Recall at 1 of random answers among N candidates, of which some are the queries.

    Args:
        same: [N 2] as in `ranks`.
        queries: [Q] the places of the queries.
    """
    one, other = same.T
    both = torch.stack((one, other)).unique(dim=1, return_inverse=True)[1]
    right = sum(sign * labels.bincount()[labels] for sign, labels in ((1, one), (1, other), (-1, both)))
    return float(torch.as_tensor(right)[queries].double().mean() / len(same))


class Ranked:
    """The metrics of ranks [N], of which intervals can be drawn.

    Args:
        ranks: from 1, of each query.
    """

    def __init__(self, ranks: Tensor) -> None:
        self._ranks = ranks
        self.samples = len(ranks)
        """N."""

    def resampled(self, index: Tensor) -> Measures:
        """The metrics of the queries at some places, which may repeat."""
        found = rank_metrics(self._ranks[index])
        return {name: partial(found.get, name) for name in found}


def rank_metrics(ranks: Tensor, at: Sequence[int] = AT) -> dict[str, float | None]:
    """Recall at each K ("recall@5"), mean reciprocal rank ("mrr") and median rank of ranks [N]; None if N is 0."""
    if not len(ranks):
        return dict.fromkeys([*(f"recall@{k}" for k in at), "mrr", "median_rank"])
    ranks = ranks.double()
    recalls: dict[str, float | None] = {f"recall@{k}": float((ranks <= k).double().mean()) for k in at}
    return recalls | {"mrr": float((1 / ranks).mean()), "median_rank": float(ranks.quantile(0.5))}
