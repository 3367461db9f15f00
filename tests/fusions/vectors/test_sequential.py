"""Sequential fusion, against its formula one sample and one input after the other."""

import itertools

import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.sequential import SequentialFusion


def _states(fusion, case, sample):
    """The states: at the start, and after each input that is there."""
    states = [fusion.start]
    for name in case.widths:
        vector = case.vector(name, sample)
        if vector is not None:
            hidden = torch.clamp(fusion.project[name].weight @ vector + fusion.project[name].bias, min=0)
            step = fusion.step[name]
            states.append(torch.clamp(step.weight @ torch.cat([hidden, states[-1]]) + step.bias, min=0))
    return states


def test_each_input_that_is_there_changes_the_state(case, perturbed, same):
    fusion = perturbed(SequentialFusion(case.widths, width=6, hidden=5))
    found = fusion(case.features)
    same(found.vector(), [_states(fusion, case, sample)[-1] for sample in range(case.batch)])
    assert not found.penalties
    assert not fusion.train()(case.features).penalties


def test_the_penalty_is_on_what_changes(case, perturbed):
    fusion = perturbed(SequentialFusion(case.widths, width=6, hidden=5, change=0.5)).train()
    expected = []
    for sample in range(case.batch):
        states = _states(fusion, case, sample)
        moved = [((new - old) ** 2).mean() for old, new in itertools.pairwise(states)]
        expected.append(0.5 * sum(moved, torch.zeros(()).double()) / max(len(moved), 1))
    torch.testing.assert_close(fusion(case.features).penalties["change"], torch.stack(expected))
    assert not fusion.eval()(case.features).penalties


def test_the_order_of_the_names_counts(perturbed):
    """The same layers and vectors under other names give another result."""
    fusion, turned = (perturbed(SequentialFusion({"a": 4, "b": 4}, width=6)) for _ in range(2))
    for parts, others in ((fusion.project, turned.project), (fusion.step, turned.step)):
        others["a"].load_state_dict(parts["b"].state_dict())
        others["b"].load_state_dict(parts["a"].state_dict())
    torch.manual_seed(0)
    one, other = (Features.of(torch.randn(3, 4).double()) for _ in range(2))
    assert not torch.allclose(fusion({"a": one, "b": other}).vector(), turned({"a": other, "b": one}).vector())


def test_the_number_of_parameters():
    fusion = SequentialFusion({"a": 128, "b": 128})
    of_one = 128 * 128 + 128 + 256 * 128 + 128
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 128 + 2 * of_one
