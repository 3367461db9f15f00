"""Memory fusion, against LSTM cells of torch and the memory written out, one sample and one step after the other."""

import math

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.fusions.tokens.memory import MemoryFusion


def _network(layers, values):
    return layers[3].weight @ (layers[0].weight @ values + layers[0].bias).relu() + layers[3].bias


def _sigmoid(values):
    return 1 / (1 + (-values).exp())


def _cell(fusion, name):
    """torch's own, with the same weights; it has its gates in another order, and a bias for the states too."""
    n = fusion.hidden
    cell = nn.LSTMCell(fusion.project[name].in_features, n).double()
    order = torch.cat([torch.arange(0, 2 * n), torch.arange(3 * n, 4 * n), torch.arange(2 * n, 3 * n)])
    with torch.no_grad():
        cell.weight_ih.copy_(fusion.project[name].weight[order])
        cell.bias_ih.copy_(fusion.project[name].bias[order])
        cell.weight_hh.copy_(fusion.recur[name].T[order])
        cell.bias_hh.zero_()
    return cell


@torch.no_grad()
def slow(fusion, features, sample):
    """A missing input is not there at all: its states are no numbers of the softmax."""
    names = list(fusion.project)
    here = [name for name in names if features[name].mask[sample].any()]
    n = fusion.hidden
    states = {name: (torch.zeros(1, n).double(), torch.zeros(1, n).double()) for name in here}
    cells = {name: _cell(fusion, name) for name in here}
    memory = torch.zeros(fusion.memory).double()
    for t in range(max(each.mask.shape[1] for each in features.values())):
        stepping = [name for name in here if t < features[name].mask.shape[1] and features[name].mask[sample, t]]
        if not stepping:
            continue
        before = {name: c for name, (_, c) in states.items()}
        for name in stepping:
            states[name] = cells[name](features[name].tokens[sample, t][None], states[name])
        zero = torch.zeros(1, n).double()
        changes = torch.cat(
            [before.get(m, zero) for m in names] + [states[m][1] if m in here else zero for m in names], 1
        )
        counted = torch.tensor([m in here for m in names]).repeat_interleave(n).repeat(2)
        scores = [
            math.exp(s) if real else 0 for s, real in zip(_network(fusion.attend, changes[0]), counted, strict=True)
        ]
        attended = torch.tensor(scores, dtype=torch.float64) / sum(scores) * changes[0]
        first, second = (fusion.gates.weight @ torch.cat([attended, memory]) + fusion.gates.bias).relu().chunk(2)
        keep = _sigmoid(fusion.keep.weight @ first + fusion.keep.bias)
        take = _sigmoid(fusion.take.weight @ second + fusion.take.bias)
        memory = keep * memory + take * _network(fusion.propose, attended).tanh()
    last = [states[m][0][0] if m in here else torch.zeros(n).double() for m in names]
    return fusion.mix.weight @ torch.cat([*last, memory]) + fusion.mix.bias


def test_memory_and_states_are_those_of_the_real_steps(case, perturbed, same):
    fusion = perturbed(MemoryFusion(case.widths, width=5, hidden=3, memory=4, inner=6))
    fused = fusion(case.features)
    assert fused.mask.all()
    same(fused.vector(), [slow(fusion, case.features, sample) for sample in range(case.batch)])


def test_five_inputs(perturbed, same):
    torch.manual_seed(0)
    widths = dict(zip("abcde", (2, 3, 1, 4, 2), strict=True))
    fusion = perturbed(MemoryFusion(widths, width=5, hidden=2, memory=4, inner=6))
    given = {
        name: Features.of(torch.randn(3, 4, d, dtype=torch.float64), torch.rand(3, 4) < 0.5)
        for name, d in widths.items()
    }
    same(fusion(given).vector(), [slow(fusion, given, sample) for sample in range(3)])


def test_a_missing_input_is_a_fusion_without_it(make, perturbed):
    """The weights of its states are cut out of every layer."""
    case = make("three")
    fusion = perturbed(MemoryFusion(case.widths, width=5, hidden=2, memory=4, inner=6))
    names = list(case.widths)
    rest = [name for name in names if name != "image"]
    given = dict(case.features)
    given["image"] = Features.of(given["image"].tokens, torch.zeros_like(given["image"].mask))
    other = MemoryFusion({name: case.widths[name] for name in rest}, width=5, hidden=2, memory=4, inner=6)
    other = other.double().eval().requires_grad_(requires_grad=False)
    kept = torch.tensor([name in rest for name in names]).repeat_interleave(2)
    twice, memory = kept.repeat(2), torch.ones(4, dtype=torch.bool)
    columns = {
        "attend.0": twice,
        "propose.0": twice,
        "gates": torch.cat([twice, memory]),
        "mix": torch.cat([kept, memory]),
    }
    state = {key: value for key, value in fusion.state_dict().items() if ".image" not in key}
    for layer, columns_kept in columns.items():
        state[f"{layer}.weight"] = state[f"{layer}.weight"][:, columns_kept]
    for key in ("attend.3.weight", "attend.3.bias"):
        state[key] = state[key][twice]
    other.load_state_dict(state)
    torch.testing.assert_close(fusion(given).vector(), other({name: given[name] for name in rest}).vector())


def test_padding_behind_and_gaps_in_all_inputs_are_no_steps():
    torch.manual_seed(0)
    fusion = MemoryFusion({"a": 3, "b": 2}, width=5, hidden=3).double().eval()
    tokens = {"a": torch.randn(2, 4, 3, dtype=torch.float64), "b": torch.randn(2, 4, 2, dtype=torch.float64)}
    places = torch.tensor([1, 2, 5, 7])
    given = {}
    for name, each in tokens.items():
        wide = torch.randn(2, 11, each.shape[2], dtype=torch.float64)
        wide[:, places] = each
        mask = torch.zeros(2, 11, dtype=torch.bool)
        mask[:, places] = True
        given[name] = Features.of(wide, mask)
    expected = fusion({name: Features.of(each) for name, each in tokens.items()}).vector()
    torch.testing.assert_close(fusion(given).vector(), expected)


def test_told_or_not_nothing_missing_is_the_same():
    torch.manual_seed(0)
    fusion = MemoryFusion({"a": 5, "b": 3}, width=8).double().eval()
    tokens = {"a": torch.randn(2, 4, 5, dtype=torch.float64), "b": torch.randn(2, 3, 3, dtype=torch.float64)}
    told = {name: Features.of(each) for name, each in tokens.items()}
    untold = {name: Features.of(each, torch.ones(each.shape[:2], dtype=torch.bool)) for name, each in tokens.items()}
    torch.testing.assert_close(fusion(told).vector(), fusion(untold).vector())


def test_unequal_numbers_of_tokens_are_said():
    fusion = MemoryFusion({"a": 3, "b": 4})
    given = {"a": Features.of(torch.randn(2, 5, 3)), "b": Features.of(torch.randn(2, 4))}
    (said,) = fusion.remarks(given)
    assert said.endswith("inputs have unequal numbers: a 5, b 1")
    given["b"] = Features.of(torch.randn(2, 5, 4))
    assert fusion.remarks(given) == []


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_of_training_alone(dropout):
    torch.manual_seed(0)
    fusion = MemoryFusion({"a": 3}, width=8, dropout=dropout)
    given = {"a": Features.of(torch.randn(4, 5, 3))}
    one, other = (fusion.train()(given).vector() for _ in range(2))
    assert torch.equal(one, other) == (dropout == 0)
    assert torch.equal(fusion.eval()(given).vector(), fusion(given).vector())


def test_number_of_parameters():
    h, n, k, f, widths = 16, 3, 7, 6, {"a": 5, "b": 3, "c": 2}
    fusion = MemoryFusion(widths, width=h, hidden=n, memory=k, inner=f)
    both = 2 * 3 * n
    expected = sum(4 * n * (d + 1 + n) for d in widths.values())
    expected += f * (both + 1) + both * (f + 1) + f * (both + 1) + k * (f + 1)
    expected += 2 * f * (both + k + 1) + 2 * k * (f + 1) + h * (3 * n + k + 1)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected
