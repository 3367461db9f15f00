"""Outputs of the heads beside the features of a case: of the same rows, of three classes, labels or numbers."""

import pytest
import torch

from mmkit.contract import Features


@pytest.fixture
def outputs(case):
    generator = torch.Generator().manual_seed(5)
    return {
        name: Features.of(3 * torch.randn(case.batch, 3, generator=generator, dtype=torch.float64), each.present())
        for name, each in case.features.items()
    }


@pytest.fixture
def said():
    """A function: the output of an input in a sample, or None where it is missing."""

    def of(outputs, name, sample):
        return outputs[name].tokens[sample, 0] if bool(outputs[name].mask[sample, 0]) else None

    return of
