"""A fixed program, timed beside what is measured: it tells how fast the machine was just then.

It never changes with mmkit, so what it takes in two measurements on one machine differs by the machine alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

ROWS, WIDTH = 64, 256


def reference(device: torch.device | str = "cpu") -> Callable[[], torch.Tensor]:
    """A call that does the same work each time: two matrix products, a normalisation and what lies between.

    Args:
        device: on which it computes.
    """
    generator = torch.Generator().manual_seed(0)
    x, up, down = (
        torch.randn(*shape, generator=generator) for shape in ((ROWS, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH))
    )
    x, up, down = x.to(device), up.to(device) / WIDTH**0.5, down.to(device) / WIDTH**0.5

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return x + F.gelu(F.layer_norm(x, (WIDTH,)) @ up) @ down  # [ROWS, WIDTH]

    return call
