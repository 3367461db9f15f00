"""MultiBench's interaction of two inputs, all products: `form=matrix`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.multiplicative import Matrix, MultiplicativeFusion

REPOSITORY, FILE, INPUTS = "pliang279/MultiBench", "fusions/common_fusions.py", 2
OPTIONS = {"form": "matrix"}


def published(module: Any, fusion: MultiplicativeFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    terms = cast(Matrix, fusion.terms)
    first = second = terms.lower.in_features // 2
    network = module.MultiplicativeInteractions2Modal([first, second], fusion.width, "matrix")
    with torch.no_grad():
        network.W.copy_(terms.product.weight.T.view(first, second, fusion.width))
        network.U.copy_(terms.lower.weight[:, :first].T)
        network.V.copy_(terms.lower.weight[:, first:].T)
        network.b.copy_(terms.lower.bias)
    return network, network
