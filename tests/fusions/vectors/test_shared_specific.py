"""Shared and specific features, against the formulas one sample and one input at a time."""

import itertools
import math

import pytest
import torch

from mmkit.fusions.vectors.shared_specific import SharedSpecificFusion


def _there(case, sample):
    return [name for name in case.widths if case.vector(name, sample) is not None]


def _parts(fusion, case, name, sample):
    """What is shared and what is specific of one input."""
    z = fusion.project[name].weight @ case.vector(name, sample) + fusion.project[name].bias
    shared, own = (torch.clamp(part.weight @ z + part.bias, min=0) for part in (fusion.shared, fusion.specific[name]))
    return shared, own


def test_what_is_shared_stands_in_for_what_is_missing(case, perturbed, same):
    fusion = perturbed(SharedSpecificFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        parts = {name: _parts(fusion, case, name, sample) for name in _there(case, sample)}
        mean = sum((shared for shared, _ in parts.values()), torch.zeros(6).double()) / max(len(parts), 1)
        composed = []
        for name in case.widths:
            if name in parts:
                shared, own = parts[name]
                composed.append(shared + fusion.compose.weight @ torch.cat([shared, own]) + fusion.compose.bias)
            else:
                composed.append(mean)
        expected.append(fusion.mix.weight @ torch.cat(composed) + fusion.mix.bias)
    found = fusion(case.features)
    same(found.vector(), expected)
    assert not found.penalties


def test_penalties_are_of_what_is_there(case, perturbed):
    fusion = perturbed(SharedSpecificFusion(case.widths, width=6, align=0.5, tell=0.25)).train()
    found = fusion(case.features).penalties
    if len(case.widths) == 1:
        assert not found
        return
    for sample in range(case.batch):
        parts = {name: _parts(fusion, case, name, sample) for name in _there(case, sample)}
        distances = [
            float((parts[one][0] - parts[other][0]).abs().sum()) / 6 for one, other in itertools.combinations(parts, 2)
        ]
        unknown = []
        for name, (_, own) in parts.items():
            scores = (fusion.which.weight @ own + fusion.which.bias).tolist()
            unknown.append(math.log(sum(map(math.exp, scores))) - scores[list(case.widths).index(name)])
        assert float(found["align"][sample]) == pytest.approx(0.5 * sum(distances) / max(len(distances), 1), abs=1e-10)
        assert float(found["tell"][sample]) == pytest.approx(0.25 * sum(unknown) / max(len(unknown), 1), abs=1e-10)


def test_with_nothing_specific_and_one_input_there_all_places_hold_what_it_shares(make, perturbed):
    case = make("three")
    fusion = perturbed(SharedSpecificFusion(case.widths, width=4))
    fusion.compose.weight.zero_()
    fusion.compose.bias.zero_()
    for sample in range(case.batch):
        there = _there(case, sample)
        if len(there) == 1:
            shared = _parts(fusion, case, there[0], sample)[0]
            expected = fusion.mix.weight @ shared.repeat(3) + fusion.mix.bias
            torch.testing.assert_close(fusion(case.features).vector()[sample], expected)
        elif not there:
            torch.testing.assert_close(fusion(case.features).vector()[sample], fusion.mix.bias)


def test_details_are_the_shared_and_the_specific_features(make, perturbed):
    case = make("two")
    fusion = perturbed(SharedSpecificFusion(case.widths, width=4))
    fusion.detailed = True
    found = fusion(case.features).details
    assert set(found) == {f"{kind}.{name}" for kind in ("shared", "private") for name in case.widths}
    for sample in range(case.batch):
        for name in _there(case, sample):
            shared, own = _parts(fusion, case, name, sample)
            torch.testing.assert_close(found[f"shared.{name}"][sample], shared)
            torch.testing.assert_close(found[f"private.{name}"][sample], own)


def test_the_number_of_parameters():
    fusion = SharedSpecificFusion({"a": 128, "b": 128})
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 148_610
