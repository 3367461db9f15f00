"""Gates from the outer products of the inputs, then the outer product of what is gated."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.gated_tensor import GatedTensorFusion


def obvious(fusion: GatedTensorFusion, vectors: list[Tensor]) -> Tensor:
    first, *others = vectors
    forms = []
    for layer, vector in zip(fusion.gate.values(), others, strict=True):
        products = (first.unsqueeze(2) * vector.unsqueeze(1)).flatten(1)
        forms += (products @ layer.weight.transpose(1, 2).flatten(0, 1)).split(fusion.narrow["input0"].in_features, 1)
    found = []
    for form, bias, value, layer in zip(
        forms, fusion.bias.values(), projected(fusion, vectors), fusion.narrow.values(), strict=True
    ):
        found.append(layer((form + bias).sigmoid() * value.relu()).relu())
    product = None
    for one in found:
        ended = torch.cat([one, one.new_ones(len(one), 1)], 1)
        product = ended if product is None else (product.unsqueeze(2) * ended.unsqueeze(1)).flatten(1)
    hidden = fusion.mix(product).relu()
    return fusion.join(torch.cat([hidden, *found], 1)).relu()
