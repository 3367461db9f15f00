"""Feature-wise linear modulation, against the formula one number at a time."""

import pytest
import torch

from mmkit.fusions.vectors.film import FilmFusion

SEVERAL = ["two", "three", "four"]


@pytest.mark.parametrize("of", SEVERAL)
@pytest.mark.parametrize("place", [None, 0, 1, -1])
def test_the_others_scale_and_shift_the_anchor(make, perturbed, same, of, place):
    case = make(of)
    names = list(case.widths)
    fusion = perturbed(FilmFusion(case.widths, width=6, anchor=None if place is None else names[place]))
    anchor = names[place or 0]
    layer, modulate = fusion.project[anchor], fusion.modulate
    expected = []
    for sample in range(case.batch):
        others = torch.cat([case.filled(name, sample) for name in names if name != anchor])
        x = case.vector(anchor, sample)
        numbers = []
        for i in range(6):
            gamma = float(modulate.weight[i] @ others + modulate.bias[i])
            beta = float(modulate.weight[6 + i] @ others + modulate.bias[6 + i])
            value = 0.0 if x is None else float(layer.weight[i] @ x + layer.bias[i])
            numbers.append((1 + gamma) * value + beta)
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("of", SEVERAL)
def test_at_the_start_it_is_the_projection_of_the_anchor(make, of):
    case = make(of)
    fusion = FilmFusion(case.widths, width=6).double()
    name = next(iter(case.widths))
    there = case.features[name].present()
    projection = fusion.project[name](case.features[name].vector())
    torch.testing.assert_close(fusion(case.features).vector()[there], projection[there], rtol=1e-12, atol=1e-12)
    assert bool((fusion(case.features).vector()[~there] == 0).all())


def test_of_an_anchor_of_zeros_its_bias_is_modulated(make, perturbed):
    """Zero is a value; a missing anchor is not."""
    case = make("two")
    fusion = perturbed(FilmFusion(case.widths, width=6))
    image, text = case.features["image"], case.features["text"]
    zeros = type(image)(torch.zeros_like(image.tokens), image.mask)
    gamma, beta = fusion.modulate(text.vector()).chunk(2, 1)
    there = image.present().unsqueeze(1)
    expected = torch.where(there, (1 + gamma) * fusion.project["image"].bias + beta, beta)
    torch.testing.assert_close(fusion({"image": zeros, "text": text}).vector(), expected)


def test_which_is_the_anchor_matters(make, perturbed):
    case = make("two")
    first, second = (perturbed(FilmFusion(case.widths, width=6, anchor=name)) for name in case.widths)
    assert not torch.allclose(first(case.features).vector(), second(case.features).vector())


@pytest.mark.parametrize("widths", [{"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
@pytest.mark.parametrize("anchor", ["a", "b"])
def test_number_of_parameters(widths, anchor):
    d, s, h = widths[anchor], sum(widths.values()), 6
    count = sum(p.numel() for p in FilmFusion(widths, width=h, anchor=anchor).parameters())
    assert count == d * h + h + 2 * h * (s - d) + 2 * h


def test_it_takes_no_single_input_and_no_anchor_that_is_not_there():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        FilmFusion({"a": 2})
    with pytest.raises(ValueError, match="anchor photo is no input; there are image, text: name one of them"):
        FilmFusion({"image": 2, "text": 2}, anchor="photo")
