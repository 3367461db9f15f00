"""What the fusion of a model says of itself on one sample: attention, gates."""

from __future__ import annotations

import torch

from mmkit.explain.parts import Detail
from mmkit.explain.sample import THERE, Sample, detailed, rows


def details_of(sample: Sample) -> tuple[Detail, ...]:
    """The details of the fusion that are of one input each; none where it gives none."""
    module = sample.model.network
    given = {name: own for own, name in module.names.items()}
    with detailed(sample.model), torch.no_grad():
        here = {module.names[n]: rows(features, torch.tensor([THERE])) for n, features in sample.features.items()}
        details = module.fuse(here).fused.details
    found = []
    for name, detail in details.items():
        kind, _, of = name.partition(".")
        if of in given:
            tokens = detail[0][here[of].mask[0]].tolist() if detail.shape == here[of].mask.shape else None
            own = detail[0].cpu().double()
            value = own.sum() if kind == "attention" else own.mean()
            found.append(Detail(kind, given[of], float(value), tokens))
    return tuple(found)
