"""Mixture of experts, against its formula one sample and one expert at a time."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.mixture_of_experts import MixtureOfExpertsFusion
from mmkit.layers.routing import imbalance


def _everything(case, sample):
    there = [float(case.vector(name, sample) is not None) for name in case.widths]
    return torch.cat([*(case.filled(name, sample) for name in case.widths), torch.tensor(there).double()])


def _scores(fusion, u):
    if fusion.linear:
        return (fusion.route.weight @ u + fusion.route.bias).tolist()
    return [-math.sqrt(float(((u - point) ** 2).sum())) for point in fusion.route.weight]


def _expert(fusion, each, u):
    layer, count = fusion.experts, fusion.experts.count
    inner = layer.hidden.weight.chunk(count)[each] @ u + layer.hidden.bias.chunk(count)[each]
    hidden = torch.tensor([0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in inner.tolist()], dtype=torch.float64)
    return layer.weight.chunk(count, 1)[each] @ hidden + layer.bias[each]


@pytest.mark.parametrize("router", ["linear", "laplace"])
@pytest.mark.parametrize(("experts", "top"), [(4, 2), (3, 1), (3, 3), (2, 9)])
def test_the_best_experts_are_mixed_by_the_softmax_of_their_scores(case, perturbed, same, router, experts, top):
    fusion = perturbed(MixtureOfExpertsFusion(case.widths, width=5, hidden=7, experts=experts, top=top, router=router))
    expected = []
    for sample in range(case.batch):
        u = _everything(case, sample)
        scores = _scores(fusion, u)
        best = sorted(range(experts), key=lambda e: -scores[e])[:top]
        total = sum(math.exp(scores[e]) for e in best)
        expected.append(sum(math.exp(scores[e]) / total * _expert(fusion, e, u) for e in best))
    found = fusion(case.features)
    same(found.vector(), expected)
    assert not found.penalties


def test_one_expert_is_a_network_over_all_vectors_and_flags(case, perturbed, same):
    fusion = perturbed(MixtureOfExpertsFusion(case.widths, width=5, hidden=7, experts=1))
    assert fusion.route is None
    same(
        fusion(case.features).vector(),
        [_expert(fusion, 0, _everything(case, sample)) for sample in range(case.batch)],
    )
    assert not fusion.train()(case.features).penalties


@pytest.mark.parametrize("top", [1, 2, 4])
def test_the_penalty_is_one_where_experts_are_chosen_alike(top):
    """Four samples with scores that are rotations of each other."""
    scores = torch.stack([torch.tensor([3.0, 2.0, 1.0, 0.0]).double().roll(i) for i in range(4)])
    torch.testing.assert_close(imbalance(scores, top), torch.tensor(1.0).double())


def test_the_penalty_is_the_number_of_experts_where_all_samples_go_to_one():
    scores = torch.tensor([[0.0, 100.0, 0.0, 0.0]]).double().expand(6, 4)
    torch.testing.assert_close(imbalance(scores, 1), torch.tensor(4.0).double())


def test_the_penalty_by_hand_and_its_weight(make, perturbed):
    """Without noise, of all experts: E times the mean probabilities' mean is 1; of one, the shares count."""
    case = make("two")
    fusion = perturbed(MixtureOfExpertsFusion(case.widths, width=5, hidden=7, top=1, balance=0.3))
    fusion.noise.weight.fill_(0)
    fusion.noise.register_forward_hook(lambda *_: torch.tensor(-1e9))  # softplus of it is 0: nothing is drawn
    probabilities, chosen = torch.zeros(4).double(), torch.zeros(4).double()
    for sample in range(case.batch):
        scores = torch.tensor(_scores(fusion, _everything(case, sample)), dtype=torch.float64)
        probabilities += scores.softmax(0) / case.batch
        chosen[scores.argmax()] += 1 / case.batch
    expected = 0.3 * 4 * float((probabilities * chosen).sum())
    found = fusion.train()(case.features).penalties["balance"]
    torch.testing.assert_close(found, torch.full((case.batch,), expected).double())


def test_training_draws_noise_and_evaluation_none(make):
    case = make("three")
    fusion = MixtureOfExpertsFusion(case.widths, width=5, hidden=7).double()
    state = torch.get_rng_state()
    fusion.eval()(case.features)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(0)
    one, other = (fusion.train()(case.features).vector() for _ in range(2))
    assert not torch.equal(one, other)
    soft = MixtureOfExpertsFusion(case.widths, width=5, hidden=7, top=4).double().train()
    assert torch.equal(soft(case.features).vector(), soft(case.features).vector())


def test_the_noise_has_the_deviation_that_is_learned():
    torch.manual_seed(0)
    fusion = MixtureOfExpertsFusion({"a": 3}, width=2).train()
    torch.nn.init.normal_(fusion.noise.weight)
    u = torch.randn(1, 4)
    drawn = torch.cat([fusion._scores(u, fusion.route) for _ in range(4000)])
    expected = torch.nn.functional.softplus(fusion.noise(u))[0]
    torch.testing.assert_close(drawn.std(0), expected, rtol=0.06, atol=0)


@pytest.mark.parametrize("top", [2, 4])
def test_details_are_the_weights_of_the_experts(make, top):
    case = make("two")
    fusion = MixtureOfExpertsFusion(case.widths, width=5, hidden=7, top=top).double().eval()
    assert not fusion(case.features).details
    fusion.detailed = True
    gates = fusion(case.features).details["experts"]
    torch.testing.assert_close(gates.sum(1), torch.ones(case.batch).double())
    assert bool(((gates > 0).sum(1) == top).all())


def test_autocast_does_not_change_the_choice():
    torch.manual_seed(0)
    fusion = MixtureOfExpertsFusion({"a": 64, "b": 64}, width=5).eval()
    fusion.detailed = True
    features = {name: Features.of(torch.randn(512, 64)) for name in "ab"}
    expected = fusion(features).details["experts"]
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(features).details["experts"]
    torch.testing.assert_close(found, expected)


def test_the_number_of_parameters():
    fusion = MixtureOfExpertsFusion({"a": 128, "b": 128})
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 200_724
