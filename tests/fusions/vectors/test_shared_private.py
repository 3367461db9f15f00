"""Shared and private features, against the formulas one sample at a time; penalties against their definitions."""

import itertools

import pytest
import torch

from mmkit.fusions.vectors.shared_private import SharedPrivateFusion
from mmkit.layers.discrepancy import likeness, moment_distance


def _there(case, sample):
    return [name for name in case.widths if case.vector(name, sample) is not None]


def _parts(fusion, case, name, sample):
    """What one input said, what is shared of it and what is private."""
    linear, norm = fusion.project[name], fusion.norm[name]
    raw = torch.clamp(linear.weight @ case.vector(name, sample) + linear.bias, min=0)
    z = (raw - raw.mean()) / (raw.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias
    shared, private = (1 / (1 + torch.exp(-(p.weight @ z + p.bias))) for p in (fusion.shared, fusion.private[name]))
    return z, shared, private


def test_tokens_of_what_is_there_pass_a_transformer_layer(case, perturbed, same, slow_layer):
    fusion = perturbed(SharedPrivateFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        there = _there(case, sample)
        parts = [_parts(fusion, case, name, sample) for name in there]
        tokens = [private for _, _, private in parts] + [shared for _, shared, _ in parts]
        passed = iter(slow_layer(fusion.layer, tokens)) if tokens else iter(())
        joined = [next(passed) if name in there else torch.zeros(6).double() for name in [*case.widths] * 2]
        first, _, last = fusion.mix
        hidden = torch.clamp(first.weight @ torch.cat(joined) + first.bias, min=0)
        expected.append(last.weight @ hidden + last.bias)
    found = fusion(case.features)
    same(found.vector(), expected)
    assert not found.penalties


def test_penalties_are_over_the_rows_in_which_both_are_there(case, perturbed):
    fusion = perturbed(SharedPrivateFusion(case.widths, width=6, similar=0.5, different=2.0, rebuild=3.0)).train()
    parts = {n: {s: _parts(fusion, case, n, s) for s in range(case.batch) if n in _there(case, s)} for n in case.widths}

    def measured(measure, one, other, which):
        rows = [s for s in parts[one] if s in parts[other]]
        if len(rows) < 2:
            return torch.zeros(()).double()
        sides = [torch.stack([parts[n][s][k] for s in rows]) for n, k in zip((one, other), which, strict=True)]
        return measure(*sides, torch.ones(len(rows)).double())

    pairs = list(itertools.combinations(case.widths, 2))
    different = sum(measured(likeness, name, name, (2, 1)) for name in case.widths)
    different = different + sum(measured(likeness, one, other, (2, 2)) for one, other in pairs)
    errors = [
        ((fusion.rebuilt[n].weight @ (r + s) + fusion.rebuilt[n].bias - z) ** 2).mean()
        for n, rows in parts.items()
        for z, s, r in rows.values()
    ]
    expected = {"different": 2 * different, "rebuild": 3 * torch.stack(errors).mean()}
    if pairs:
        similar = [measured(moment_distance, one, other, (1, 1)) for one, other in pairs]
        expected["similar"] = 0.5 * torch.stack(similar).mean()
    found = fusion(case.features).penalties
    assert set(found) == set(expected)
    for name, penalty in expected.items():
        torch.testing.assert_close(found[name], penalty.expand(case.batch), rtol=1e-9, atol=1e-10)


def test_penalties_under_autocast_are_in_float32(make):
    case = make("two", dtype=torch.float32)
    fusion = SharedPrivateFusion(case.widths, width=8).train()
    expected = fusion(case.features).penalties
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(case.features).penalties
    assert {penalty.dtype for penalty in found.values()} == {torch.float32}
    for name, penalty in expected.items():
        torch.testing.assert_close(found[name], penalty, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("case", ["one", "three"], indirect=False)
def test_details_are_the_shared_and_the_private_features(make, perturbed, case):
    case = make(case)
    fusion = perturbed(SharedPrivateFusion(case.widths, width=6))
    fusion.detailed = True
    found = fusion(case.features).details
    assert set(found) == {f"{kind}.{name}" for kind in ("shared", "private") for name in case.widths}
    for sample in range(case.batch):
        for name in _there(case, sample):
            _, shared, private = _parts(fusion, case, name, sample)
            torch.testing.assert_close(found[f"shared.{name}"][sample], shared)
            torch.testing.assert_close(found[f"private.{name}"][sample], private)


def test_the_number_of_parameters():
    fusion = SharedPrivateFusion({"a": 128, "b": 128})
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 494_720
