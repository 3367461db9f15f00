"""How well one thing is found by another: ranks among all candidates, recall at K, mean reciprocal rank.

A query may have several right answers, and the best of them counts. A tie counts against: wrong candidates that are as
near as the best right one stand before it, so that vectors which say nothing (all alike) find nothing.

Axes: N queries, M candidates, D width, L ways to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.errors import MmkitError, UsageError

AT = (1, 5, 10)
"""K of recall at K."""
MOST_AT_ONCE = 2**22
"""Similarities that stand in memory together."""


def ranks(
    queries: Tensor,
    candidates: Tensor,
    same: tuple[Tensor, Tensor],
    *,
    at_once: int = MOST_AT_ONCE,
) -> Tensor:
    """The place [N] of the best right answer to each query, 1 being the first, by cosine similarity.

    Args:
        queries: [N D].
        candidates: [M D].
        same: numbers [N L] of the queries and [M L] of the candidates; a candidate is right where any column agrees.
        at_once: similarities that are computed together; N x M never stand in memory.

    >>> pairs = torch.arange(3).unsqueeze(1)  # the answer to each query is the candidate of its own number
    >>> ranks(torch.eye(3), torch.eye(3).flip(0), (pairs, pairs))
    tensor([3, 1, 3])

    Raises:
        UsageError: the widths differ, or a query has no right answer among the candidates.
        MmkitError: a vector is not finite.
    """
    if queries.shape[1] != candidates.shape[1]:
        raise UsageError(
            f"vectors of {queries.shape[1]} and of {candidates.shape[1]} values cannot be compared; give equal widths"
        )
    for name, vectors in (("query", queries), ("candidate", candidates)):
        bad = int((~vectors.isfinite()).any(1).sum())
        if bad:
            raise MmkitError(f"{bad} of {len(vectors)} {name} vectors are not finite; look at the encoder")
    kind = torch.promote_types(queries.dtype, torch.float32)  # half precision would tie what is not alike
    whole = F.normalize(candidates.to(kind), dim=-1).T  # [D M]
    found = []
    step = max(1, at_once // max(len(candidates), 1))
    for part, names in zip(F.normalize(queries.to(kind), dim=-1).split(step), same[0].split(step), strict=True):
        near = part @ whole  # [n M]
        right = torch.zeros_like(near, dtype=torch.bool)
        for column in range(names.shape[1]):
            right |= names[:, column, None] == same[1][None, :, column]
        if not bool(right.any(1).all()):
            raise UsageError("a query has no right answer among the candidates; leave it out")
        best = near.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        found.append(1 + ((near >= best) & ~right).sum(1))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long)


def chance(same: Tensor) -> float:
    """Recall at 1 of answers drawn blindly among N candidates, themselves the queries; `same` [N 2] as of `ranks`."""
    one, other = same.T
    both = torch.stack((one, other)).unique(dim=1, return_inverse=True)[1]
    right = sum(sign * alike.bincount()[alike] for sign, alike in ((1, one), (1, other), (-1, both)))
    return float(torch.as_tensor(right).double().mean() / len(same))


def figures(places: Tensor, at: Sequence[int] = AT) -> dict[str, float | None]:
    """Recall at each K ("recall@5"), mean reciprocal rank ("mrr") and median rank of places [N]; None of no query.

    >>> figures(torch.tensor([1, 1, 2, 4]), at=(1, 2))
    {'recall@1': 0.5, 'recall@2': 0.75, 'mrr': 0.6875, 'median_rank': 1.5}
    """
    if not len(places):
        return dict.fromkeys([*(f"recall@{k}" for k in at), "mrr", "median_rank"])
    places = places.double()
    found: dict[str, float | None] = {f"recall@{k}": float((places <= k).double().mean()) for k in at}
    return found | {"mrr": float((1 / places).mean()), "median_rank": float(places.quantile(0.5))}
