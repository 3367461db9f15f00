"""Multimodal transfer module, one number at a time, and where it changes nothing."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.inner.mmtm import MmtmFusion


def _gates(transfer, case, widths, sample, vectors):
    """2 sigmoid of a layer of relu of a layer, by name."""
    everything = torch.cat([vectors[name] for name in widths])
    seen = [
        max(0.0, float(row @ everything + bias))
        for row, bias in zip(transfer.squeeze.weight, transfer.squeeze.bias, strict=True)
    ]
    return {
        name: torch.tensor(
            [
                2 / (1 + math.exp(-sum(w * s for w, s in zip(row.tolist(), seen, strict=True)) - float(bias)))
                for row, bias in zip(gate.weight, gate.bias, strict=True)
            ],
            dtype=torch.float64,
        )
        for name, gate in transfer.gates.items()
    }


def test_every_channel_is_gated_behind_the_encoders(case, perturbed, same):
    fusion = perturbed(MmtmFusion(case.widths, dict.fromkeys(case.widths, ()), width=6))
    expected = []
    for sample in range(case.batch):
        vectors = {name: case.filled(name, sample) for name in case.widths}
        gates = _gates(fusion.transfers["1"], case, case.widths, sample, vectors)
        gated = torch.cat([gates[name] * vectors[name] for name in case.widths])
        expected.append(fusion.join.mix.weight @ gated + fusion.join.mix.bias)
    same(fusion(case.features).vector(), expected)


def test_maps_are_gated_at_a_place_and_an_input_without_places_is_read_there(make, perturbed):
    case = make("three")
    inner = {"audio": (9, 3), "image": (6,), "text": ()}
    fusion = perturbed(MmtmFusion(case.widths, inner, at=[2]))
    assert set(fusion.transfers["2"].gates) == {"audio", "image"}
    changed = fusion.exchange(2, case.features)
    assert set(changed) == {"audio", "image"}
    for sample in range(case.batch):
        vectors = {name: case.filled(name, sample) for name in case.widths}
        gates = _gates(fusion.transfers["2"], case, case.widths, sample, vectors)
        for name, features in changed.items():
            torch.testing.assert_close(features.tokens[sample], case.features[name].tokens[sample] * gates[name])
            assert torch.equal(features.mask, case.features[name].mask)


def test_it_starts_as_concatenation_and_has_as_many_numbers_as_the_formula_says():
    widths, inner = {"a": 16, "b": 8}, {"a": (4,), "b": ()}
    fusion = MmtmFusion(widths, inner, width=6, at="all").eval()
    given = {"a": Features.of(torch.randn(3, 5, 16)), "b": Features.of(torch.randn(3, 8))}
    torch.testing.assert_close(fusion(given).vector(), fusion.join(given).vector())
    counts = 24 * 6 + 6
    for sizes, gated in (([16, 8], 24), ([4, 8], 4)):  # place 1, place 2, where b is read and not gated
        d = sum(sizes)
        narrow = 2 * d // 4
        counts += d * narrow + narrow + (narrow + 1) * gated
    assert sum(parameter.numel() for parameter in fusion.parameters()) == counts


def test_the_places_are_those_where_two_meet():
    deep = {"a": (4, 4, 4), "b": (4,)}
    assert MmtmFusion({"a": 4, "b": 4}, deep, at="all").places == (2, 1)
    assert MmtmFusion({"a": 4, "b": 4}, {"a": (4, 4), "b": ()}, at="all").places == (3, 2, 1)
    assert MmtmFusion({"a": 4, "b": 4}, deep, at="last").places == (1,)
    with pytest.raises(ValueError, match=r"at \[5\]: these encoders have the places 1 to 4, counted from the end"):
        MmtmFusion({"a": 4, "b": 4}, deep, at=[5])
