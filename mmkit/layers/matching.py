"""Matching of rows with columns by a softmax over their similarities: each row's own column is the right one.

Axes: B batch.
"""

from __future__ import annotations

import math

from torch import Tensor

GREATEST_SCALE = 100.0
"""Of the logits, as in Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML
2021, https://arxiv.org/abs/2103.00020, section 2.5."""
NEVER = -1e4
"""A logit whose exponential is 0 beside any within the greatest scale."""


def limited_scale(log_scale: Tensor) -> Tensor:
    """exp(log_scale), `GREATEST_SCALE` at most; the gradient passes, or a scale above the limit never came back."""
    over = (log_scale - math.log(GREATEST_SCALE)).clamp(min=0)
    return (log_scale - over.detach()).exp()


def matching_loss(similarity: Tensor, present: Tensor) -> Tensor:
    """[B]: -log of the diagonal's share of each row's softmax over the columns that are present.

    Args:
        similarity: [B B] logits, those of one row beside each other.
        present: [B] bool, of the columns.
    """
    # A finite floor: a row without any column would be -inf, which not every derivative of logsumexp survives.
    shown = similarity.masked_fill(~present, NEVER)
    return shown.logsumexp(-1) - similarity.diagonal()
