"""Values where an input is there, others elsewhere, by arithmetic.

On a CPU `where` and `masked_fill` with a mask that broadcasts over features go number by number; a product does not. It
keeps nothing out that is not finite: what is masked here has to be, as all is that a layer makes of the zeros of a
missing input. Axes: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked(values: Tensor, there: Tensor, neutral: float = 0.0) -> Tensor:
    """Finite `values` where `there` is True, and `neutral` elsewhere.

    Args:
        values: [B ...].
        there: bool, of a shape that broadcasts to that of the values.
        neutral: finite.

    >>> masked(torch.ones(2, 3), torch.tensor([[True], [False]]), 0.5)
    tensor([[1.0000, 1.0000, 1.0000],
            [0.5000, 0.5000, 0.5000]])
    """
    found = values * there
    return torch.add(found, ~there, alpha=neutral) if neutral else found


def chosen(values: Tensor, there: Tensor, otherwise: Tensor) -> Tensor:
    """Finite `values` where `there` is True, and finite `otherwise` elsewhere, each as it is.

    Args:
        values: [B ...].
        there: bool, of a shape that broadcasts to that of the values.
        otherwise: of a shape that broadcasts likewise.

    >>> chosen(torch.ones(2, 2), torch.tensor([[True], [False]]), torch.zeros(2, 2))
    tensor([[1., 1.],
            [0., 0.]])
    """
    dtype = torch.promote_types(values.dtype, otherwise.dtype)  # autocast may have made them unequal
    return torch.lerp(otherwise.to(dtype), values.to(dtype), there.to(dtype))
