"""Flex-MoE, against its formula one sample, one token and one expert at a time."""

import math
from types import SimpleNamespace

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.flex_moe import ExpertLayer, FlexMoeFusion
from mmkit.layers.attention import TransformerLayer


def _pattern(case, sample):
    """The place among all patterns but the complete one, counted as a binary number; None of a complete sample."""
    code = sum(2**i for i, name in enumerate(case.widths) if case.vector(name, sample) is None)
    return code - 1 if code else None


def _tokens(fusion, case, sample):
    pattern = _pattern(case, sample)
    return [
        fusion.bank[pattern, i]
        if case.vector(name, sample) is None
        else fusion.project[name](case.vector(name, sample))
        for i, name in enumerate(case.widths)
    ]


def _gates(layer, normed):
    scores = (layer.route.weight @ normed).tolist()
    best = sorted(range(len(scores)), key=lambda e: -scores[e])[: layer.top]
    total = sum(math.exp(scores[e]) for e in best)
    return {e: math.exp(scores[e]) / total for e in best}, torch.tensor(scores, dtype=torch.float64)


def _expert(layer, each, values):
    experts, count = layer.experts, layer.experts.count
    inner = experts.hidden.weight.chunk(count)[each] @ values + experts.hidden.bias.chunk(count)[each]
    hidden = torch.tensor([0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in inner.tolist()], dtype=torch.float64)
    return experts.weight.chunk(count, 1)[each] @ hidden + experts.bias[each]


def _run(fusion, slow_layer, tokens):
    """The tokens behind all layers, and of each layer with experts the gates and the scores of each token."""
    told = []
    for layer in fusion.layers:
        if not isinstance(layer, ExpertLayer):
            tokens = slow_layer(layer, tokens)
            continue
        seen = []

        def network(state, layer=layer, seen=seen):
            normed = layer.before_experts(state)
            gates, scores = _gates(layer, normed)
            seen.append((gates, scores))
            return sum(weight * _expert(layer, e, normed) for e, weight in gates.items())

        parts = SimpleNamespace(
            before_attention=layer.before_attention, attention=layer.attention, feed_forward=network
        )
        tokens = slow_layer(parts, tokens)
        told.append(seen)
    return tokens, told


@pytest.mark.parametrize(("layers", "experts", "top"), [(1, 4, 2), (2, 3, 1), (3, 3, 9)])
def test_attention_then_the_best_experts_of_each_token(case, perturbed, same, slow_layer, layers, experts, top):
    options = {"width": 4, "heads": 2, "hidden": 3, "layers": layers, "experts": experts, "top": top}
    fusion = perturbed(FlexMoeFusion(case.widths, **options))
    expected = []
    for sample in range(case.batch):
        tokens, _ = _run(fusion, slow_layer, _tokens(fusion, case, sample))
        expected.append(fusion.mix(torch.cat([fusion.norm(token) for token in tokens])))
    found = fusion(case.features)
    same(found.vector(), expected)
    assert not found.penalties
    assert not found.details


def test_five_inputs_with_every_pattern(perturbed, same, slow_layer):
    torch.manual_seed(0)
    widths = dict.fromkeys("abcde", 2)
    there = torch.tensor([[row >> i & 1 for i in range(5)] for row in range(32)], dtype=torch.bool)
    fusion = perturbed(FlexMoeFusion(widths, width=4, heads=2, hidden=3))
    features = {n: Features.of(torch.randn(32, 2, dtype=torch.float64), there[:, i]) for i, n in enumerate(widths)}
    expected = []
    for row in range(32):
        code = sum(2**i for i in range(5) if not there[row, i]) - 1
        tokens = [
            fusion.project[name](features[name].tokens[row, 0]) if there[row, i] else fusion.bank[code, i]
            for i, name in enumerate(widths)
        ]
        tokens, _ = _run(fusion, slow_layer, tokens)
        expected.append(fusion.mix(torch.cat([fusion.norm(token) for token in tokens])))
    same(fusion(features).vector(), expected)


def _quiet(fusion):
    """Without noise: softplus of a very negative number is 0."""
    for layer in fusion.layers:
        if isinstance(layer, ExpertLayer):
            layer.noise.weight.fill_(0)
            layer.noise.register_forward_hook(lambda *_: torch.tensor(-1e9))
    return fusion.train()


@pytest.mark.parametrize("experts", [3, 8])
def test_penalties_teach_the_expert_of_a_pattern_and_spread_complete_samples(make, perturbed, slow_layer, experts):
    case = make("three")
    options = {"width": 4, "heads": 2, "hidden": 3, "layers": 3, "experts": experts, "top": 2, "dropout": 0.0}
    fusion = _quiet(perturbed(FlexMoeFusion(case.widths, **options, route=0.5, balance=0.25)))
    route, chosen, probability, tokens_counted = [], {0: [0.0] * experts, 1: [0.0] * experts}, {}, 0
    probability = {0: torch.zeros(experts).double(), 1: torch.zeros(experts).double()}
    for sample in range(case.batch):
        _, told = _run(fusion, slow_layer, _tokens(fusion, case, sample))
        pattern = _pattern(case, sample)
        if pattern is None:
            route.append(0.0)
            tokens_counted += len(case.widths)
            for number, seen in enumerate(told):
                for gates, scores in seen:
                    probability[number] += scores.softmax(0)
                    for e in gates:
                        chosen[number][e] += 1
            continue
        expert = 1 + pattern % (experts - 1)
        lost = [-float(scores.log_softmax(0)[expert]) for seen in told for _, scores in seen]
        route.append(0.5 * sum(lost) / len(lost))
    balance = sum(
        experts
        * sum(chosen[n][e] / (2 * tokens_counted) * float(probability[n][e]) / tokens_counted for e in range(experts))
        for n in (0, 1)
    )
    found = fusion(case.features).penalties
    torch.testing.assert_close(found["route"], torch.tensor(route, dtype=torch.float64))
    torch.testing.assert_close(found["balance"], torch.full((case.batch,), 0.25 * balance / 2, dtype=torch.float64))


def test_routers_learn_where_incomplete_samples_go():
    torch.manual_seed(0)
    fusion = FlexMoeFusion({"a": 4, "b": 4}, width=8, heads=2, experts=4, top=1, route=1.0, dropout=0.0)
    there = {"a": torch.arange(60) % 3 != 1, "b": torch.arange(60) % 3 != 2}
    optimiser = torch.optim.Adam(fusion.parameters(), lr=0.01)
    for _ in range(150):
        features = {name: Features.of(torch.randn(60, 4), mask) for name, mask in there.items()}
        loss = sum(penalty.mean() for penalty in fusion.train()(features).penalties.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fusion.detailed = True
    chosen = fusion.eval()(features).details["experts"].argmax(2)  # [B M]
    assert bool((chosen[1::3] == 1).all())  # a is missing: the first pattern
    assert bool((chosen[2::3] == 2).all())


def test_complete_samples_read_no_embedding(make, perturbed):
    case = make("two")
    fusion = perturbed(FlexMoeFusion(case.widths, width=4, heads=2))
    full = case.features["image"].present() & case.features["text"].present()
    before = fusion(case.features).vector()
    fusion.bank += torch.randn_like(fusion.bank)
    after = fusion(case.features).vector()
    assert torch.equal(before[full], after[full])
    assert not torch.isclose(before[~full], after[~full]).all(1).any()


def test_told_or_not_nothing_missing_is_the_same(perturbed):
    fusion = perturbed(FlexMoeFusion({"a": 5, "b": 3}, width=8))
    x = {"a": torch.randn(4, 5, dtype=torch.float64), "b": torch.randn(4, 3, dtype=torch.float64)}
    told = fusion({name: Features.of(each) for name, each in x.items()})
    untold = fusion({name: Features.of(each, torch.ones(4, dtype=torch.bool)) for name, each in x.items()})
    torch.testing.assert_close(told.vector(), untold.vector())


def test_training_draws_noise_and_evaluation_none(make):
    case = make("three")
    fusion = FlexMoeFusion(case.widths, width=4, heads=2, dropout=0.0).double()
    state = torch.get_rng_state()
    fusion.eval()(case.features)
    assert torch.equal(torch.get_rng_state(), state)
    one, other = (fusion.train()(case.features).vector() for _ in range(2))
    assert not torch.equal(one, other)


def test_more_than_six_inputs_are_refused():
    with pytest.raises(ValueError, match="flex-moe is for 6 inputs at most"):
        FlexMoeFusion(dict.fromkeys("abcdefg", 2))


@pytest.mark.parametrize(("layers", "top"), [(1, 2), (2, 4), (3, 1)])
def test_the_number_of_parameters(layers, top):
    h, e, f, widths = 16, 4, 5, {"a": 5, "b": 3, "c": 2}
    fusion = FlexMoeFusion(widths, width=h, layers=layers, experts=e, top=top, hidden=f)
    experts = (h + 1) * e * f + (f + 1) * e * h + e * h * (1 + (top < e))
    sparse = 4 * h + 4 * h * h + 3 * h + experts  # two norms, and an attention with biases of q, k and v
    dense = sum(parameter.numel() for parameter in TransformerLayer(h, 8).parameters())
    assert dense == 8 * h * h + 10 * h
    expected = sum((d + 1) * h for d in widths.values()) + 7 * 3 * h + 2 * h + (3 * h + 1) * h
    expected += (layers + 1) // 2 * sparse + layers // 2 * dense
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_autocast_does_not_change_the_choice(perturbed):
    fusion = perturbed(FlexMoeFusion({"a": 64, "b": 64}, width=16)).float()
    fusion.detailed = True
    features = {name: Features.of(torch.randn(512, 64), torch.rand(512) < 0.8) for name in "ab"}
    expected = fusion(features).details["experts"]
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(features).details["experts"]
    torch.testing.assert_close(found, expected)
