"""Compact bilinear pooling, against the count sketch of the outer product that is written out."""

import itertools
import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.compact_bilinear import CompactBilinearFusion


def _sketched(fusion, case, sample):
    """The sketch of the outer product of those that are there, one product at a time."""
    there = [name for name in case.widths if case.vector(name, sample) is not None]
    found = [0.0] * fusion.size
    for places in itertools.product(*(range(case.widths[name]) for name in there)):
        value, place = 1.0, 0
        for name, i in zip(there, places, strict=True):
            sketch = fusion.sketch[name]
            value *= float(sketch.signs[i] * case.vector(name, sample)[i])
            place += int(sketch.places[i])
        found[place % fusion.size] += value
    return found


@pytest.mark.parametrize("size", [16, 37])
def test_it_is_the_sketch_of_the_outer_product(case, perturbed, same, size):
    fusion = perturbed(CompactBilinearFusion(case.widths, width=3, size=size))
    expected = []
    for sample in range(case.batch):
        roots = [math.copysign(math.sqrt(abs(z) + 1e-6) - 1e-3, z) for z in _sketched(fusion, case, sample)]
        length = math.sqrt(sum(root * root for root in roots))
        normed = torch.tensor([root / length for root in roots], dtype=torch.float64)
        expected.append(fusion.mix.weight @ normed + fusion.mix.bias)
    # The transform's rounding, 1e-16, is multiplied by the slope of the root at zero.
    torch.testing.assert_close(fusion(case.features).vector(), torch.stack(expected), rtol=1e-8, atol=1e-8)
    assert case.batch >= 2


def test_inner_products_are_on_average_those_of_the_outer_products():
    torch.manual_seed(0)
    a, b = torch.randn(2, 4).double(), torch.randn(2, 3).double()
    expected = float((a[0] @ a[1]) * (b[0] @ b[1]))
    found = []
    for _ in range(1500):
        fusion = CompactBilinearFusion({"a": 4, "b": 3}, width=1, size=16).double()
        spectra = [torch.fft.rfft(fusion.sketch[n](Features.of(x))) for n, x in (("a", a), ("b", b))]
        one, other = torch.fft.irfft(spectra[0] * spectra[1], n=16)
        found.append(float(one @ other))
    drawn = torch.tensor(found)
    assert abs(float(drawn.mean()) - expected) < 4 * float(drawn.std()) / len(drawn) ** 0.5


def test_signs_and_places_are_saved_and_not_trained():
    fusion = CompactBilinearFusion({"a": 128, "b": 128})
    assert {"sketch.a.places", "sketch.a.signs", "sketch.b.places", "sketch.b.signs"} < set(fusion.state_dict())
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 262_272
    assert set(fusion.sketch["a"].signs.tolist()) == {-1.0, 1.0}
    assert not torch.equal(fusion.sketch["a"].places, fusion.sketch["b"].places)


def test_autocast_computes_the_transforms_in_float32():
    torch.manual_seed(0)
    fusion = CompactBilinearFusion({"a": 8, "b": 8}, width=4, size=64).eval()
    features = {name: Features.of(torch.randn(5, 8)) for name in "ab"}
    halved = {name: Features.of(each.vector().bfloat16()) for name, each in features.items()}
    rounded = {name: Features.of(each.vector().float()) for name, each in halved.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(halved).vector()
    torch.testing.assert_close(found.float(), fusion(rounded).vector(), rtol=0.02, atol=0.01)
