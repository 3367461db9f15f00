"""Decoupled: an encoder's gradient is that of its own head alone, whatever the fusion is."""

import pytest
import torch

from tests.balances.steps import WITHIN, balanced, gradients_of

FUSIONS = ["concat", "attention", "tensor:inner=4", "late", "log-pool", "central"]
MEETING = ["mmtm", "daft", "channel-exchange"]
"""By which the features of an input hang on those of others."""


def encoders(gradients):
    return {name: gradient for name, gradient in gradients.items() if name.startswith("model.encoders.")}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_encoders_learn_what_training_each_input_alone_would_teach_them(fusion):
    step, batch, truth = balanced(fusion, "decoupled:weight=.7", objectives=["none"])
    found = encoders(gradients_of(step, batch, truth))
    for given, name in step.model.names.items():
        features = step.model.encode_input(name, batch[given])
        head = step.balance.heads[name]
        losses = head.loss(head(features), truth) * features.present() * truth["mask"]
        parameters = dict(step.model.encoders[name].named_parameters())
        alone = torch.autograd.grad(0.7 * losses.sum() / truth["mask"].sum(), list(parameters.values()))
        for parameter, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(found[f"model.encoders.{name}.{parameter}"], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fusion", [*FUSIONS, *MEETING])
def test_nothing_of_the_fusion_s_loss_reaches_them(fusion):
    step, batch, truth = balanced(fusion, "decoupled", objectives=["none"])
    losses, _ = step(batch, truth)
    assert step.model.fuses_within == (fusion in WITHIN)
    through = torch.stack([loss for name, loss in losses.items() if not name.startswith("balance.")]).sum()
    encoders = list(step.model.encoders.parameters())
    found = torch.autograd.grad(through, encoders, allow_unused=True, materialize_grads=True)
    assert not any(gradient.any() for gradient in found)


def test_they_do_not_depend_on_the_fusion():
    step, batch, truth = balanced("concat", "decoupled")
    before = gradients_of(step, batch, truth)
    with torch.no_grad():
        for parameter in step.model.fusion.parameters():
            parameter.mul_(3)
    after = gradients_of(step, batch, truth)
    torch.testing.assert_close(encoders(after), encoders(before), rtol=0, atol=0)
    fusion = [name for name in after if name.startswith("model.fusion.")]
    assert fusion
    assert all(not torch.equal(after[name], before[name]) for name in fusion)


def test_the_fusion_learns_what_it_would_from_encoders_that_are_frozen():
    step, batch, truth = balanced("concat", "decoupled")
    found = gradients_of(step, batch, truth)
    output = step.model(batch)
    loss = step.model.head.loss(output.output, truth).sum() / truth["mask"].sum()
    names = dict(step.model.fusion.named_parameters())
    for name, gradient in zip(names, torch.autograd.grad(loss, list(names.values())), strict=True):
        torch.testing.assert_close(found[f"model.fusion.{name}"], gradient, rtol=1e-9, atol=1e-12)
