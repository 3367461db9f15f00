"""Dynamic gate, against the choice written out for one sample at a time."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.both.dynamic_gate import DynamicGateFusion
from mmkit.fusions.both.joint_pool import JointPoolFusion

KINDS = ["classes", "labels", "scalar"]


def mlp(head, vector):
    hidden = torch.clamp(head.first.weight @ vector + head.first.bias, min=0)
    return head.second.weight @ hidden + head.second.bias


def branches(fusion, case, outputs, said, sample):
    """(score, output) of each branch that is there, that of all inputs last."""
    vector = torch.cat([case.filled(name, sample) for name in case.widths])
    scores = mlp(fusion.gate, vector).tolist()
    there = [(s, said(outputs, n, sample)) for s, n in zip(scores, case.widths, strict=False)]
    there = [(score, output) for score, output in there if output is not None]
    return [*there, (scores[-1], mlp(fusion.joint, vector))] if there else []


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_the_best_branch_is_taken(case, outputs, said, perturbed, same, kind):
    fusion = perturbed(DynamicGateFusion(case.widths, Target(kind, 3), hidden=5))
    expected = []
    for sample in range(case.batch):
        there = branches(fusion, case, outputs, said, sample)
        best = max(there, key=lambda branch: branch[0])[1] if there else torch.zeros(3).double()
        expected.append(best)
    same(fusion(case.features, outputs).vector(), expected)


@pytest.mark.parametrize("hard", [False, True])
def test_in_training_all_are_mixed_unless_it_is_hard(case, outputs, said, perturbed, same, hard):
    fusion = perturbed(DynamicGateFusion(case.widths, Target("classes", 3), hidden=5, hard=hard, cost=0.1)).train()
    expected, joint = [], []
    for sample in range(case.batch):
        there = branches(fusion, case, outputs, said, sample)
        shares = [math.exp(score) for score, _ in there]
        shares = [share / sum(shares) for share in shares]
        if hard and there:
            shares = [float(share == max(shares)) for share in shares]
        row = torch.zeros(3).double()
        for share, (_, output) in zip(shares, there, strict=True):
            row = row + share * output
        expected.append(row)
        joint.append(shares[-1] if shares else 0.0)
    found = fusion(case.features, outputs)
    same(found.vector(), expected)
    if len(case.widths) == 1:
        assert not found.penalties
    else:
        torch.testing.assert_close(found.penalties["cost"], 0.1 * torch.tensor(joint).double())


def test_a_choice_has_the_gradient_of_the_mixture_for_the_gate_and_its_own_for_the_branches():
    torch.manual_seed(0)
    widths, target = {"a": 4, "b": 3}, Target("classes", 3)
    soft, hard = (DynamicGateFusion(widths, target, hidden=8, hard=h).double().train() for h in (False, True))
    hard.load_state_dict(soft.state_dict())
    features = {n: Features.of(torch.randn(6, d).double()) for n, d in widths.items()}
    outputs = {n: Features.of(torch.randn(6, 3).double().requires_grad_()) for n in widths}
    weights = torch.randn(6, 3).double()
    found = []
    for fusion in (soft, hard):
        score = (weights * fusion(features, outputs).vector()).sum()
        wanted = [*fusion.gate.parameters(), *(outputs[n].tokens for n in widths)]
        found.append(torch.autograd.grad(score, wanted))
    for mixture, choice in zip(found[0][:4], found[1][:4], strict=True):
        torch.testing.assert_close(choice, mixture)
    hard.detailed = True
    chosen = hard(features, outputs).details["branches"]
    for place in range(2):
        torch.testing.assert_close(found[1][4 + place].squeeze(1), chosen[:, place : place + 1] * weights)


def test_alike_scores_mix_as_the_joint_pool_of_numbers_does():
    widths, target = {"a": 4, "b": 3}, Target("scalar", 2)
    fusion = DynamicGateFusion(widths, target, hidden=8).double().train()
    with torch.no_grad():
        fusion.gate.second.weight.zero_()
        fusion.gate.second.bias.fill_(0.7)
    pool = JointPoolFusion(widths, target, hidden=8).double()
    pool.joint.load_state_dict(fusion.joint.state_dict())
    features = {
        n: Features.of(torch.randn(6, d).double(), torch.tensor([1, 1, 1, 0, 1, 0], dtype=torch.bool))
        for n, d in widths.items()
    }
    outputs = {n: Features.of(torch.randn(6, 2).double(), part.present()) for n, part in features.items()}
    there = features["a"].present()
    mixed, pooled = fusion(features, outputs).vector(), pool(features, outputs).vector()
    torch.testing.assert_close(mixed[there], pooled[there])
    assert not mixed[~there].any()


def test_what_is_told_complete_gives_the_same(perturbed):
    widths = {"a": 4, "b": 3}
    fusion = perturbed(DynamicGateFusion(widths, Target("classes", 3)))
    values = {n: (torch.randn(5, d).double(), torch.randn(5, 3).double()) for n, d in widths.items()}

    def run(mask):
        given = [{n: Features.of(pair[at], mask) for n, pair in values.items()} for at in (0, 1)]
        return fusion(*given).vector()

    torch.testing.assert_close(run(torch.ones(5, dtype=torch.bool)), run(None))


def test_details_are_what_each_branch_counts():
    fusion = DynamicGateFusion({"a": 4, "b": 3}, Target("classes", 3)).eval()
    fusion.detailed = True
    features = {n: Features.of(torch.randn(5, d)) for n, d in (("a", 4), ("b", 3))}
    outputs = {n: Features.of(torch.randn(5, 3)) for n in "ab"}
    chosen = fusion(features, outputs).details["branches"]
    assert chosen.shape == (5, 3)
    torch.testing.assert_close(chosen.sum(1), torch.ones(5))
    torch.testing.assert_close(chosen.amax(1), torch.ones(5))


@pytest.mark.parametrize(("inputs", "kind", "size"), [(1, "classes", 10), (2, "classes", 10), (5, "scalar", 1)])
def test_the_number_of_its_parameters(inputs, kind, size):
    fusion = DynamicGateFusion({f"i{i}": 16 for i in range(inputs)}, Target(kind, size), hidden=32)
    expected = 2 * (16 * inputs * 32 + 32) + (32 * size + size) + (32 * (inputs + 1) + inputs + 1)
    assert sum(p.numel() for p in fusion.parameters()) == expected


def test_what_has_no_outputs_to_mix_is_refused():
    with pytest.raises(ValueError, match="the target is 'text': take a fusion of features"):
        DynamicGateFusion({"a": 4}, Target("text", 9))
