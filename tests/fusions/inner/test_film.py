"""Feature-wise linear modulation, against the formula one number at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.inner.film import FilmFusion

SEVERAL = ["two", "three", "four"]


def _film(widths, **options):
    """Behind encoders without places."""
    return FilmFusion(widths, dict.fromkeys(widths, ()), **options)


@pytest.mark.parametrize("of", SEVERAL)
@pytest.mark.parametrize("place", [None, 0, 1, -1])
def test_behind_the_encoders_the_others_scale_and_shift_the_anchor(make, perturbed, same, of, place):
    case = make(of)
    names = list(case.widths)
    fusion = perturbed(_film(case.widths, width=6, anchor=None if place is None else names[place]))
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


def test_at_a_place_every_position_is_modulated_and_padding_stays_zero(make, perturbed):
    case = make("three")
    inner = {"audio": (3,), "image": (7, 6), "text": ()}
    fusion = perturbed(FilmFusion(case.widths, inner, anchor="image", at="all"))
    assert fusion.places == (3, 2, 1)  # at 3 it meets the text, which has no places
    modulate = fusion.within["2"]
    changed = fusion.exchange(2, case.features)
    assert set(changed) == {"image"}
    for sample in range(case.batch):
        others = torch.cat([case.filled(name, sample) for name in ("audio", "text")])
        numbers = torch.stack([row @ others for row in modulate.weight]) + modulate.bias
        gamma, beta = numbers[:6], numbers[6:]
        for token, before, there in zip(
            changed["image"].tokens[sample], case.features["image"].tokens[sample],
            case.features["image"].mask[sample], strict=True,
        ):  # fmt: skip
            torch.testing.assert_close(token, (1 + gamma) * before + beta if there else torch.zeros_like(before))


def test_what_the_anchor_says_itself_changes_no_scale_and_no_shift(make, perturbed):
    """Which sets it apart from `daft`."""
    case = make("two")
    fusion = perturbed(FilmFusion(case.widths, {"image": (5,), "text": ()}, at="all"))
    image = case.features["image"]
    twice = Features(2 * image.tokens, image.mask)
    once = fusion.exchange(2, {**case.features, "image": Features(image.tokens, image.mask)})["image"].tokens
    thrice = fusion.exchange(2, {**case.features, "image": Features(3 * image.tokens, image.mask)})["image"].tokens
    between = fusion.exchange(2, {**case.features, "image": twice})["image"].tokens
    torch.testing.assert_close(between, (once + thrice) / 2)  # affine in the anchor
    assert not torch.allclose(once, thrice)


def test_at_a_place_the_encoder_starts_unchanged(make):
    case = make("two")
    fusion = FilmFusion(case.widths, {"image": (5,), "text": ()}, at="all").double()
    changed = fusion.exchange(2, case.features)["image"]
    assert torch.equal(changed.tokens, case.features["image"].tokens)


@pytest.mark.parametrize("of", SEVERAL)
def test_at_the_start_it_is_the_projection_of_the_anchor(make, of):
    case = make(of)
    fusion = _film(case.widths, width=6).double()
    name = next(iter(case.widths))
    there = case.features[name].present()
    projection = fusion.project[name](case.features[name].vector())
    torch.testing.assert_close(fusion(case.features).vector()[there], projection[there], rtol=1e-12, atol=1e-12)
    assert bool((fusion(case.features).vector()[~there] == 0).all())


def test_of_an_anchor_of_zeros_its_bias_is_modulated(make, perturbed):
    """Zero is a value; a missing anchor is not."""
    case = make("two")
    fusion = perturbed(_film(case.widths, width=6))
    image, text = case.features["image"], case.features["text"]
    zeros = type(image)(torch.zeros_like(image.tokens), image.mask)
    gamma, beta = fusion.modulate(text.vector()).chunk(2, 1)
    there = image.present().unsqueeze(1)
    expected = torch.where(there, (1 + gamma) * fusion.project["image"].bias + beta, beta)
    torch.testing.assert_close(fusion({"image": zeros, "text": text}).vector(), expected)


def test_which_is_the_anchor_matters(make, perturbed):
    case = make("two")
    first, second = (perturbed(_film(case.widths, width=6, anchor=name)) for name in case.widths)
    assert not torch.allclose(first(case.features).vector(), second(case.features).vector())


@pytest.mark.parametrize("widths", [{"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
@pytest.mark.parametrize("anchor", ["a", "b"])
def test_number_of_parameters(widths, anchor):
    d, s, h = widths[anchor], sum(widths.values()), 6
    count = sum(p.numel() for p in _film(widths, width=h, anchor=anchor).parameters())
    assert count == d * h + h + 2 * h * (s - d) + 2 * h


def test_number_of_parameters_within_encoders():
    widths, inner = {"a": 5, "b": 3, "c": 4}, {"a": (8, 7), "b": (2,), "c": ()}
    count = sum(p.numel() for p in FilmFusion(widths, inner, width=6, at="all").parameters())
    behind = 5 * 6 + 6 + 2 * 6 * (3 + 4) + 2 * 6
    assert count == behind + 2 * 7 * (2 + 4) + 2 * 7 + 2 * 8 * 4 + 2 * 8


def test_the_places_are_those_of_the_anchor_at_which_another_is_shown():
    widths, inner = {"a": 4, "b": 4}, {"a": (4, 4), "b": (4,)}
    assert FilmFusion(widths, inner, at="all").places == (2, 1)
    assert FilmFusion(widths, inner, anchor="b", at="all").places == (2, 1)
    assert FilmFusion(widths, inner).places == (1,)
    assert FilmFusion(widths, inner, at=[2]).places == (2, 1)
    assert FilmFusion(widths, {"a": (4, 4), "b": ()}, at="all").places == (3, 2, 1)
    assert FilmFusion(widths, {"a": (), "b": (4, 4)}, at="all").places == (1,)
    with pytest.raises(ValueError, match="at 3: a, the anchor, meets another input at 2, 1, counted from the end"):
        FilmFusion(widths, inner, at=[3])
    with pytest.raises(ValueError, match="at 2: a, the anchor, meets another input at 1, counted from the end"):
        FilmFusion(widths, {"a": (), "b": (4, 4)}, at=[2])
    with pytest.raises(ValueError, match=r"at \[4\]: these encoders have the places 1 to 3"):
        FilmFusion(widths, inner, at=[4])


def test_it_takes_no_single_input_and_no_anchor_that_is_not_there():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        _film({"a": 2})
    with pytest.raises(ValueError, match="anchor photo is no input; there are image, text: name one of them"):
        _film({"image": 2, "text": 2}, anchor="photo")
