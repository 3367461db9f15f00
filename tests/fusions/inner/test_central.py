"""CentralNet, one sample at a time."""

from dataclasses import replace

import torch

from mmkit.contract import Features
from mmkit.fusions.inner.central import CentralFusion


def _layer(layer, state, vectors):
    """relu(W (a h + sum of a_m (P_m x + p_m)) + b), of the inputs that are there."""
    total = torch.zeros(layer.layer.in_features, dtype=torch.float64)
    if state is not None:
        total = total + layer.share * state
    for share, (name, project) in zip(layer.shares, layer.project.items(), strict=True):
        if vectors[name] is not None:
            total = total + share * (project.weight @ vectors[name] + project.bias)
    return (layer.layer.weight @ total + layer.layer.bias).clamp(min=0)


def test_behind_the_encoders_it_is_one_layer(case, perturbed, same):
    fusion = perturbed(CentralFusion(case.widths, dict.fromkeys(case.widths, ()), width=6))
    expected = [
        _layer(fusion.layers["1"], None, {name: case.vector(name, sample) for name in case.widths})
        for sample in range(case.batch)
    ]
    same(fusion(case.features).vector(), expected)


def test_each_place_adds_a_layer_that_reads_the_last_state(make, perturbed, same):
    case = make("three")
    inner = {"audio": (3, 3), "image": (6,), "text": ()}
    fusion = perturbed(CentralFusion(case.widths, inner, width=6))
    assert fusion.places == (3, 2, 1)
    assert fusion.layers["3"].share is None
    given = dict(case.features)
    for place, names in ((3, ["audio", "text"]), (2, ["audio", "image", "text"])):
        for name, changed in fusion.exchange(place, {n: case.features[n] for n in names}).items():
            assert torch.equal(changed.tokens, case.features[name].tokens)
            given[name] = replace(given[name], inner={**given[name].inner, **changed.inner})
    expected = []
    for sample in range(case.batch):
        vectors = {name: case.vector(name, sample) for name in case.widths}
        state = None
        for place in fusion.places:
            state = _layer(fusion.layers[str(place)], state, vectors)
        expected.append(state)
    same(fusion(given).vector(), expected)


def test_it_starts_with_equal_shares_and_has_as_many_numbers_as_the_formula_says():
    widths = {"a": 16, "b": 8}
    fusion = CentralFusion(widths, {"a": (4,), "b": (2,)}, width=6)
    assert fusion.layers["1"].shares.tolist() == [0.5, 0.5]
    sizes = (16 * 6 + 8 * 6 + 2 * 6, 4 * 6 + 2 * 6 + 2 * 6)  # projections of place 1 and 2
    assert sum(p.numel() for p in fusion.parameters()) == sum(sizes) + 2 * (6 * 6 + 6) + 2 * 2 + 1


def test_without_shares_but_at_the_last_place_it_reads_the_last_place_alone(make, perturbed):
    case = make("two")
    inner = {name: (width,) for name, width in case.widths.items()}
    fusion = perturbed(CentralFusion(case.widths, inner, width=6))
    fusion.layers["1"].share.zero_()
    other = perturbed(CentralFusion(case.widths, dict.fromkeys(case.widths, ()), width=6))
    other.layers["1"].load_state_dict(fusion.layers["1"].state_dict(), strict=False)
    given = {
        name: replace(features, inner=fusion.exchange(2, case.features)[name].inner)
        for name, features in case.features.items()
    }
    torch.testing.assert_close(fusion(given).vector(), other(case.features).vector())


def test_one_input_is_a_layer_of_its_vector():
    fusion = CentralFusion({"a": 3}, {"a": ()}, width=2)
    x = torch.randn(4, 3)
    expected = torch.relu(fusion.layers["1"].layer(fusion.layers["1"].project["a"](x)))
    torch.testing.assert_close(fusion({"a": Features.of(x)}).vector(), expected)
