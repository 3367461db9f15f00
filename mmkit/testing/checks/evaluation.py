"""Checks of what a component keeps and touches: its state, its inputs, the generators of random numbers."""

from __future__ import annotations

import random

import torch

from mmkit.errors import ContractError
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import copied, expect_same, leaves


def deterministic(specimen: ModuleSpecimen) -> str | None:
    """In evaluation the same input gives the same result, to the bit, and no random number is drawn."""
    inputs, module = specimen.draw(4), specimen.module
    before = torch.get_rng_state(), random.getstate()
    first, second = specimen.evaluate(inputs, module), specimen.evaluate(inputs, module)
    if not torch.equal(before[0], torch.get_rng_state()) or before[1] != random.getstate():
        raise ContractError("a random number is drawn in evaluation")
    expect_same(second, first, "the second time", tolerance=0)
    return None


def state_dict(specimen: ModuleSpecimen) -> str | None:
    """A new one that loads its state dict computes the same: nothing it learned or drew is kept elsewhere."""
    module = specimen.fresh()
    inputs = specimen.draw(4)
    specimen.differentiate(inputs, module)  # what a normalisation counts in training is state as well
    expected = specimen.evaluate(inputs, module)
    other = specimen.build(seed=99)
    other.load_state_dict({name: tensor.clone() for name, tensor in module.state_dict().items()})
    expect_same(specimen.evaluate(inputs, other), expected, "after its state is loaded", tolerance=1e-6)
    return None


def mutation(specimen: ModuleSpecimen) -> str | None:
    """What it is given it does not change, neither tensors nor mappings, in training or in evaluation."""
    inputs = specimen.draw(4, absent={specimen.names[0]: (2,)})
    before = dict(leaves(copied(inputs)))
    for training in (False, True):
        specimen.module.train(training)
        with torch.set_grad_enabled(training):
            specimen.call(specimen.module, inputs)
        after = dict(leaves(inputs))
        if list(after) != list(before):
            raise ContractError(f"it was given {list(before)} and left {list(after)}")
        for place, tensor in after.items():
            if not torch.equal(tensor, before[place]):
                raise ContractError(f"it changes {place} in {'training' if training else 'evaluation'}; copy it first")
    return None
