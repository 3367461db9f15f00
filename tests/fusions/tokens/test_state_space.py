"""State-space fusion, against the plain recurrence over the real tokens of one sample."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.state_space import StateSpaceFusion


def _silu(values):
    return values / (1 + (-values).exp())


def _layer(layer, tokens):
    """The tokens behind a layer: one head, one direction and one step after the other."""
    inner, _, shared, _ = layer.sizes
    heads, states = layer.heads, shared // 4
    width = inner // heads
    read = [layer.read(layer.before(token)).split(layer.sizes) for token in tokens]
    mixed = [_silu(values) * layer.skip.repeat_interleave(width) for _, values, _, _ in read]
    for way in (0, 1):
        for n in range(heads):
            place, part = way * heads + n, slice(n * width, (n + 1) * width)
            rate = 0.0 if layer.rate is None else math.exp(float(layer.rate[place]))
            state = torch.zeros(states, width, dtype=torch.float64)
            for t in range(len(tokens))[:: 1 - 2 * way]:
                _, values, others, raw = read[t]
                step = math.log1p(math.exp(float(raw[place] + layer.step[place])))
                keys, queries = _silu(others).chunk(2)[way].chunk(2)
                state = math.exp(-step * rate) * state + step * torch.outer(keys, _silu(values)[part])
                mixed[t][part] += queries @ state
    gated = [each * _silu(parts[0]) for each, parts in zip(mixed, read, strict=True)]
    normed = [each / (each.square().mean() + 1e-5).sqrt() * layer.norm.weight for each in gated]
    return [token + layer.out(each) for token, each in zip(tokens, normed, strict=True)]


@pytest.mark.parametrize(("layers", "decay"), [(1, True), (3, True), (2, False)])
def test_states_run_over_the_tokens_of_all_inputs_both_ways(case, perturbed, same, layers, decay):
    fusion = perturbed(StateSpaceFusion(case.widths, width=4, layers=layers, states=3, heads=2, decay=decay))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = [fusion.project[name](token) for name in case.widths for token in case.tokens(name, sample)]
        for layer in fusion.layers:
            tokens = _layer(layer, tokens)
        tokens = [fusion.norm(token) for token in tokens]
        if tokens:
            torch.testing.assert_close(fused.tokens[sample][fused.mask[sample]], torch.stack(tokens))
        expected.append(sum(tokens) / len(tokens) if tokens else torch.zeros(4, dtype=torch.float64))
    same(fused.vector(), expected)


def test_a_missing_input_is_a_fusion_without_it(make, perturbed):
    case = make("three")
    fusion = perturbed(StateSpaceFusion(case.widths, width=8))
    given = dict(case.features)
    given["image"] = Features.of(given["image"].tokens, torch.zeros_like(given["image"].mask))
    widths = {name: d for name, d in case.widths.items() if name != "image"}
    other = StateSpaceFusion(widths, width=8).double().eval()
    other.load_state_dict({key: v for key, v in fusion.state_dict().items() if not key.startswith("project.image")})
    torch.testing.assert_close(fusion(given).vector(), other(given).vector())


def test_holes_and_chunks_do_not_matter():
    """Real tokens among 300 places, far apart, give what they give side by side."""
    torch.manual_seed(0)
    fusion = StateSpaceFusion({"a": 3}, width=8).double().eval()
    tokens = torch.randn(2, 20, 3, dtype=torch.float64)
    places = torch.arange(20) * 15 + 3
    wide = torch.zeros(2, 300, 3, dtype=torch.float64)
    wide[:, places] = tokens
    mask = torch.zeros(2, 300, dtype=torch.bool)
    mask[:, places] = True
    found = fusion({"a": Features.of(wide, mask)}).tokens[:, places]
    torch.testing.assert_close(found, fusion({"a": Features.of(tokens)}).tokens)


def test_told_or_not_nothing_missing_is_the_same():
    torch.manual_seed(0)
    fusion = StateSpaceFusion({"a": 5, "b": 3}, width=8).double().eval()
    tokens = {"a": torch.randn(2, 4, 5, dtype=torch.float64), "b": torch.randn(2, 3, 3, dtype=torch.float64)}
    told = {name: Features.of(each) for name, each in tokens.items()}
    untold = {name: Features.of(each, torch.ones(each.shape[:2], dtype=torch.bool)) for name, each in tokens.items()}
    torch.testing.assert_close(fusion(told).tokens, fusion(untold).tokens)


def test_tokens_far_away_count_less_with_decay():
    """Of equal tokens, what an early one changes in the last one's state falls with the way between them."""
    torch.manual_seed(0)
    fusion = StateSpaceFusion({"a": 3}, width=8, layers=1).double().eval()
    tokens = torch.ones(1, 200, 3, dtype=torch.float64).requires_grad_()
    last = fusion({"a": Features.of(tokens)}).tokens[0, -1]
    (gradient,) = torch.autograd.grad((last * torch.linspace(-1, 1, 8)).sum(), tokens)
    sizes = gradient[0].abs().sum(1)
    assert (sizes[:-1].diff() > 0).all()


@pytest.mark.parametrize(("decay", "layers"), [(True, 1), (True, 2), (False, 2)])
def test_number_of_parameters(decay, layers):
    h, s, n, widths = 16, 6, 4, {"a": 5, "b": 3, "c": 2}
    fusion = StateSpaceFusion(widths, width=h, states=s, heads=n, layers=layers, decay=decay)
    one = 2 * h + h * (4 * h + 4 * s + 2 * n) + 2 * n * (1 + decay) + n + 2 * h + 2 * h * h
    expected = sum(widths.values()) * h + 3 * h + layers * one + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected
