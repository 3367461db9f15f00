"""Gated messages between inputs, against the formula over the inputs that are there, one number at a time."""

import math

import pytest
import torch

from mmkit.fusions.vectors.gated_cross import GatedCrossFusion


def test_projections_take_in_what_the_others_say(case, perturbed, same):
    fusion = perturbed(GatedCrossFusion(case.widths, width=6))
    names = list(case.widths)
    expected = []
    for sample in range(case.batch):
        x = {name: case.vector(name, sample) for name in names}
        there = [name for name in names if x[name] is not None]
        seen = {n: fusion.project[n].weight @ x[n] + fusion.project[n].bias for n in there}
        numbers = fusion.mix.bias.tolist()
        for m, name in enumerate(names):
            if name not in there:
                continue
            part = seen[name].tolist()
            if len(there) > 1:
                others = [n for n in names if n != name]
                for i in range(6):
                    said = float(fusion.message[name].bias[i])
                    for place, other in enumerate(others):
                        if other in there:
                            said += float(fusion.message[name].weight[i, 6 * place : 6 * place + 6] @ seen[other])
                    part[i] += math.tanh(float(fusion.gate[m, i])) * said
            for h in range(6):
                row = fusion.mix.weight[h, 6 * m : 6 * m + 6].tolist()
                numbers[h] += sum(w * v for w, v in zip(row, part, strict=True))
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_closed_gates_are_a_linear_layer_over_the_projections(case):
    """At the start; the messages then have no gradient, and the gates have."""
    fusion = GatedCrossFusion(case.widths, width=6).double()
    fused = fusion(case.features).vector()
    parts = [fusion.project[n](f.vector()).masked_fill(~f.present()[:, None], 0) for n, f in case.features.items()]
    torch.testing.assert_close(fused, fusion.mix(torch.cat(parts, 1)), rtol=1e-12, atol=1e-12)
    (fused * torch.linspace(-1, 1, 6)).sum().backward()
    assert all(bool((parameter.grad == 0).all()) for parameter in fusion.message.parameters())
    assert fusion.gate is None or bool((fusion.gate.grad != 0).any(1).all())


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
def test_number_of_parameters(widths):
    m, s, h = len(widths), sum(widths.values()), 6
    count = sum(p.numel() for p in GatedCrossFusion(widths, width=h).parameters())
    messages = m * ((m - 1) * h * h + h) + m * h if m > 1 else 0
    assert count == s * h + m * h + messages + m * h * h + h


def test_how_far_gates_are_open_is_told(make, perturbed):
    case = make("three")
    fusion = perturbed(GatedCrossFusion(case.widths, width=6))
    silent = fusion(case.features)
    fusion.detailed = True
    told = fusion(case.features)
    assert silent.details == {}
    assert torch.equal(silent.tokens, told.tokens)
    there = torch.stack([f.present() for f in case.features.values()], 1)
    for m, name in enumerate(case.widths):
        opening = told.details[f"exchange.{name}"]
        listens = there[:, m] & (there.sum(1) > 1)
        assert bool((opening[~listens] == 0).all())
        torch.testing.assert_close(opening[listens], fusion.gate[m].tanh().abs().expand(int(listens.sum()), -1))
