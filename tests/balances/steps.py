"""Training steps with a balance method, which its tests share."""

import torch

from tests.model.network_cases import absent, in_float64, total, trained_from

WITHIN = {"central", "channel-exchange", "daft", "film:at=all", "mmtm"}
"""Fusions that act between the parts of encoders."""


def with_places(fusion):
    """Encoders with a place within, where the fusion acts there."""
    return {"encoders": {"series": "fcn:width=16,layers=2"}} if fusion in WITHIN else {}


def balanced(fusion, balance, rows=12, **rest):
    """A step in float64 in which nothing but the balance method is in training, a batch with gaps, and its truth."""
    torch.manual_seed(0)
    step, data = trained_from(fusion, balances=[balance], **with_places(fusion), **rest)
    step.double().eval()
    step.balance.train()  # without dropout elsewhere
    batch, truth = data.batch(torch.arange(rows))
    batch = in_float64(batch)
    batch["left"] = absent(batch["left"], [1, 3])
    batch["right"] = absent(batch["right"], [2, 3])
    truth["mask"][4] = False
    return step, batch, truth


def gradients_of(step, batch, truth):
    """The gradient of each parameter, by name."""
    step.zero_grad()
    total(step(batch, truth)[0]).backward()
    return {name: p.grad.clone() for name, p in step.named_parameters() if p.grad is not None}
