"""Where nothing is missing, told so of all, some or none: what the obvious form without masks gives, gradients too."""

import importlib
from dataclasses import replace

import pytest
import torch

from mmkit.contract import Features

speed = importlib.import_module("benchmarks.fusions.speed")  # by name: what is timed is not type-checked
VECTORS = [name for name, spec in speed.SPECS.items() if spec.family == "vectors"]


def _counts(name):
    spec = speed.SPECS[name]
    most = 3 if name == "tensor" else spec.max_inputs or 5  # which grows with the product of all widths
    return range(spec.min_inputs, most + 1)


@pytest.mark.parametrize(("name", "inputs"), [(name, count) for name in VECTORS for count in _counts(name)])
def test_it_is_the_obvious_form_without_masks(name, inputs):
    width = 8
    fusion, _ = speed.make(name, 6, width, inputs, 1, missing=False)
    for layer in [fusion, *fusion.apart]:
        layer.double()
    x = [torch.randn(6, width, dtype=torch.float64, requires_grad=True) for _ in range(inputs)]
    own = [] if hasattr(getattr(fusion, "project", None), "of") else list(fusion.parameters())  # else they are copies
    expected = speed.hand(name).obvious(fusion, x)
    wanted = [*x, *own]
    gradients = torch.autograd.grad(expected.square().sum(), wanted, allow_unused=True)
    told = {f"input{place}": Features.of(vector) for place, vector in enumerate(x)}
    untold = {key: replace(each, complete=False) for key, each in told.items()}
    parted = {key: replace(each, complete=key == "input0") for key, each in told.items()}
    for given in (told, untold, parted):
        found = fusion(given)
        torch.testing.assert_close(found.vector(), expected, rtol=1e-9, atol=1e-9)
        again = torch.autograd.grad(found.vector().square().sum(), wanted, allow_unused=True)
        for of, *both in zip(wanted, again, gradients, strict=True):
            one, other = (torch.zeros_like(of) if each is None else each for each in both)
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
