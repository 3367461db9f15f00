"""The authors' minimal code of the scan, listing 1 of the paper, in the layer of our obvious form."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from benchmarks.fusions.obvious.state_space import obvious
from mmkit.fusions.tokens.state_space import StateSpaceFusion
from mmkit.layers.state_space import CHUNK

REPOSITORY, FILE, INPUTS = "state-spaces/mamba", "mamba_ssm/modules/ssd_minimal.py", 2
STANDS_IN = {"mamba_ssm.ops.triton.ssd_combined": {"mamba_chunk_scan_combined": None}}
NOTE = "what all heads read is given to it for each head, as it asks; it is called once for each direction"


def published(module: Any, fusion: StateSpaceFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    def scan(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        size = x.shape[1] if x.shape[1] <= CHUNK else math.gcd(CHUNK, x.shape[1])
        b, c = (part.unsqueeze(2).expand(-1, -1, x.shape[2], -1) for part in (b, c))
        return module.ssd_minimal_discrete(x, a, b, c, size)[0]

    return fusion, partial(obvious, fusion, scan=scan)
