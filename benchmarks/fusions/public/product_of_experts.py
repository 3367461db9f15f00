"""The authors' code of the product and of its prior, behind one linear layer for each input; its mean is read."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.product_of_experts import ProductOfExpertsFusion

REPOSITORY, FILE, INPUTS = "mhw32/multimodal-vae-public", "mnist/model.py", 2
NOTE = "it adds 1e-8 to each variance twice, and gives the variance of the product as well, which is not read"


def published(module: Any, fusion: ProductOfExpertsFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    network = module.ProductOfExperts()
    project = nn.ModuleList(deepcopy(list(fusion.project.values())))

    def form(vectors: list[Tensor]) -> Tensor:
        found = [layer(vector).unsqueeze(0).chunk(2, 2) for layer, vector in zip(project, vectors, strict=True)]
        prior = module.prior_expert((1, len(vectors[0]), fusion.width))
        means, spreads = (torch.cat(parts) for parts in zip(prior, *found, strict=True))
        return network(means, spreads)[0]

    return project, form
