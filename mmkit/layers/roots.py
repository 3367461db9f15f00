"""The signed square root that bilinear fusions put on their products.

Perronnin, Sanchez and Mensink, "Improving the Fisher Kernel for Large-Scale Image Classification", ECCV 2010,
https://doi.org/10.1007/978-3-642-15561-1_11, the power normalisation of exponent one half.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 1e-6
"""Below this size the root is a line."""
SHIFT = NEAR**0.5


def signed_root(values: Tensor) -> Tensor:
    """sign(z) (sqrt(|z| + e) - sqrt(e)), e = 1e-6: of any shape, in float32 at least.

    The plain root has an infinite slope at zero, and there sign(z) sqrt(|z|) has a gradient of NaN. This one has the
    slope 1 / (2 sqrt(e)) = 500, and is off by less than sqrt(e) = .001 everywhere. Written as a quotient, which is the
    same, it loses no digits near zero and has its slope there too.

    >>> signed_root(torch.tensor([-4.0, 0.0, 9.0])).round(decimals=2)
    tensor([-2.,  0.,  3.])
    """
    if values.dtype in {torch.bfloat16, torch.float16}:
        values = values.float()
    return values / ((values.abs() + NEAR).sqrt() + SHIFT)
