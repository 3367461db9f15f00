"""Multiplicative interactions, against the polynomial one number at a time, and against what they are the same as."""

import pytest
import torch

from mmkit.fusions.inner.film import FilmFusion
from mmkit.fusions.vectors.multiplicative import MultiplicativeFusion
from mmkit.fusions.vectors.tensor import TensorFusion


@pytest.mark.parametrize("form", ["vector", "scalar"])
def test_each_other_input_gives_a_factor_and_a_shift(case, perturbed, same, form):
    fusion = perturbed(MultiplicativeFusion(case.widths, width=6, form=form))
    first, *others = case.widths
    factors = 6 if form == "vector" else 1
    expected = []
    for sample in range(case.batch):
        numbers = [float(row @ case.filled(first, sample)) for row in fusion.terms.first.weight]
        for name in others:
            layer, x = fusion.terms.others[name], case.filled(name, sample)
            for h in range(6):
                i = h if form == "vector" else 0
                factor = float(layer.weight[i] @ x + layer.bias[i])
                shift = float(layer.weight[factors + i] @ x + layer.bias[factors + i])
                numbers[h] = factor * numbers[h] + shift
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_matrix_weighs_every_product_of_two_numbers(make, perturbed, same):
    case = make("two")
    fusion = perturbed(MultiplicativeFusion(case.widths, width=6, form="matrix"))
    product = fusion.terms.product.weight.view(6, 5, 7)
    expected = []
    for sample in range(case.batch):
        x, y = case.filled("image", sample).tolist(), case.filled("text", sample).tolist()
        numbers = fusion.terms.lower.bias.tolist()
        for h in range(6):
            numbers[h] += sum(float(product[h, i, j]) * x[i] * y[j] for i in range(5) for j in range(7))
            numbers[h] += sum(w * v for w, v in zip(fusion.terms.lower.weight[h].tolist(), x + y, strict=True))
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_matrix_is_tensor_fusion_of_two(make, perturbed):
    case = make("two")
    fusion = perturbed(MultiplicativeFusion(case.widths, width=6, form="matrix"))
    other = perturbed(TensorFusion(case.widths, width=6))
    weight = torch.zeros(6, 6, 8, dtype=torch.float64)  # of (x; 1) outer (y; 1)
    weight[:, :5, :7] = fusion.terms.product.weight.view(6, 5, 7)
    weight[:, :5, 7], weight[:, 5, :7] = fusion.terms.lower.weight.split([5, 7], 1)
    other.mix.weight.copy_(weight.flatten(1))
    other.mix.bias.copy_(fusion.terms.lower.bias)
    torch.testing.assert_close(fusion(case.features).vector(), other(case.features).vector(), rtol=1e-12, atol=1e-12)


def test_vector_of_two_is_modulation_without_a_bias_of_the_anchor(make, perturbed):
    case = make("two")
    fusion = perturbed(MultiplicativeFusion(case.widths, width=6))
    film = perturbed(FilmFusion(case.widths, dict.fromkeys(case.widths, ()), width=6))
    film.project["image"].weight.copy_(fusion.terms.first.weight)
    film.project["image"].bias.zero_()
    film.modulate.load_state_dict(fusion.terms.others["text"].state_dict())
    film.modulate.bias[:6] -= 1
    torch.testing.assert_close(fusion(case.features).vector(), film(case.features).vector(), rtol=1e-12, atol=1e-12)


def test_a_factor_lets_through_at_the_start(make):
    """What an input that is missing multiplies is not changed by it, but for its shift."""
    case = make("two")
    fusion = MultiplicativeFusion(case.widths, width=6).double()
    alone = case.features["image"].present() & ~case.features["text"].present()
    expected = fusion.terms.first(case.features["image"].vector()) + fusion.terms.others["text"].bias[6:]
    torch.testing.assert_close(fusion(case.features).vector()[alone], expected[alone])


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
def test_number_of_parameters(widths):
    h, others = 6, sum(d + 1 for d in list(widths.values())[1:])

    def count(form):
        return sum(p.numel() for p in MultiplicativeFusion(widths, width=h, form=form).parameters())

    assert count("vector") == 5 * h + 2 * h * others
    assert count("scalar") == 5 * h + 2 * others
    if len(widths) == 2:
        assert count("matrix") == (5 + 1) * (3 + 1) * h


def test_matrix_is_for_two():
    with pytest.raises(ValueError, match=r"form=matrix is for two inputs; got 3 \(a, b, c\): use form=vector, or the "):
        MultiplicativeFusion({"a": 2, "b": 2, "c": 2}, form="matrix")
