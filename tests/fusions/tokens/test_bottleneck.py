"""Attention bottlenecks, against transformers that take one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.tokens.bottleneck import BottleneckFusion


def _mean(vectors):
    return sum(vectors) / len(vectors)


@pytest.mark.parametrize(("layers", "bottlenecks"), [(2, 1), (3, 2), (2, 0)])
def test_inputs_meet_in_the_bottlenecks_alone(case, perturbed, same, slow_layer, layers, bottlenecks):
    fusion = perturbed(BottleneckFusion(case.widths, width=4, heads=2, layers=layers, bottlenecks=bottlenecks))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = {n: [fusion.project[n](token) for token in case.tokens(n, sample)] for n in case.widths}
        here = [n for n, each in tokens.items() if each]
        shared = list(fusion.bottlenecks.values)
        for layer in fusion.layers:
            carried = []
            for name in here:
                seen = slow_layer(layer[name], [*tokens[name], *shared])
                tokens[name], own = seen[: len(tokens[name])], seen[len(tokens[name]) :]
                carried.append(own)
            if carried:
                shared = [_mean(each) for each in zip(*carried, strict=True)]
        last = {n: [fusion.norm(token) for token in tokens[n]] for n in here}
        if here:
            same(fused.tokens[sample][fused.mask[sample]], [token for n in here for token in last[n]])
        none = torch.zeros(4, dtype=torch.float64)
        expected.append(_mean([_mean(last[n]) for n in here]) if here else none)
    same(fused.vector(), expected)


def _pair(**options):
    torch.manual_seed(0)
    fusion = BottleneckFusion({"a": 5, "b": 3}, width=8, heads=2, **options).double().eval()
    mask = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 0]]).bool()
    given = {
        "a": Features.of(torch.randn(3, 4, 5, dtype=torch.float64)),
        "b": Features.of(torch.randn(3, 3, 3, dtype=torch.float64), mask),
    }
    return fusion, given


def test_without_bottlenecks_it_is_the_mean_of_transformers_apart():
    fusion, given = _pair(bottlenecks=0)
    vectors = []
    for name in "ab":
        alone = AttentionFusion({name: given[name].width}, width=8, heads=2, layers=2).double().eval()
        state = {k: v for k, v in fusion.state_dict().items() if k.startswith((f"project.{name}.", "norm."))}
        state |= {
            k.replace(f".{name}.", "."): v
            for k, v in fusion.state_dict().items()
            if k.startswith("layers.") and k.split(".")[2] == name
        }
        alone.load_state_dict(state)
        vectors.append(alone({name: given[name]}).vector())
    expected = torch.stack([(vectors[0][0] + vectors[1][0]) / 2, (vectors[0][1] + vectors[1][1]) / 2, vectors[0][2]])
    torch.testing.assert_close(fusion(given).vector(), expected)


@pytest.mark.parametrize("layers", [2, 3])
def test_one_input_hears_of_another_from_the_second_layer_on(layers):
    fusion, given = _pair(layers=layers)
    heard = []

    def listen(module, inputs, output):
        heard.append(output[:, :4].detach())

    for layer in fusion.layers:
        layer["a"].register_forward_hook(listen)
    fusion(given)
    fusion({**given, "b": Features.of(given["b"].tokens + 1, given["b"].mask)})
    assert torch.equal(heard[0], heard[layers])
    for number in range(1, layers):
        difference = (heard[number] - heard[layers + number]).abs().amax((1, 2))
        assert bool((difference[:2] > 1e-6).all())
        assert difference[2] == 0  # where the other is missing, nothing is heard of it


def test_swapping_two_inputs_with_their_layers_changes_nothing():
    fusion, given = _pair()
    other = BottleneckFusion({"a": 3, "b": 5}, width=8, heads=2).double().eval()
    names = {"a": "b", "b": "a"}
    other.load_state_dict(
        {".".join(names.get(part, part) for part in name.split(".")): v for name, v in fusion.state_dict().items()}
    )
    swapped = {"a": given["b"], "b": given["a"]}
    torch.testing.assert_close(other(swapped).vector(), fusion(given).vector())


@pytest.mark.parametrize(("layers", "count"), [(2, 4), (3, 1)])
def test_number_of_parameters(layers, count):
    h, widths = 16, {"a": 5, "b": 3, "c": 2}
    fusion = BottleneckFusion(widths, width=h, layers=layers, bottlenecks=count)
    expected = sum(widths.values()) * h + 3 * h + count * h + 3 * layers * (8 * h * h + 10 * h) + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected
