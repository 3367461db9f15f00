"""Dynamic affine feature map transform, one number at a time."""

import pytest
import torch

from mmkit.fusions.inner.daft import DaftFusion


def _affine(fusion, vectors):
    everything = torch.cat([vectors[name] for name in (fusion.anchor, *fusion.others.names)])
    seen = [max(0.0, float(row @ everything)) for row in fusion.squeeze.weight]
    moved = torch.tensor(
        [sum(w * s for w, s in zip(row.tolist(), seen, strict=True)) for row in fusion.excite.weight],
        dtype=torch.float64,
    )
    return moved.chunk(2)


@pytest.mark.parametrize("name", ["two", "three", "four"])
def test_behind_the_encoder_the_vector_is_scaled_and_shifted(name, make, perturbed, same):
    case = make(name)
    fusion = perturbed(DaftFusion(case.widths, dict.fromkeys(case.widths, ()), width=6))
    anchor, *others = case.widths
    expected = []
    for sample in range(case.batch):
        vectors = {one: case.filled(one, sample) for one in case.widths}
        gamma, beta = _affine(fusion, vectors)
        fused = fusion.mix.bias
        if case.vector(anchor, sample) is None:
            fused = fused + fusion.instead.weight @ torch.cat([vectors[one] for one in others])
        else:
            fused = fused + fusion.mix.weight @ ((1 + gamma) * vectors[anchor] + beta)
        expected.append(fused)
    same(fusion(case.features).vector(), expected)


def test_at_a_place_every_position_is_changed_and_padding_stays_zero(make, perturbed):
    case = make("three")
    inner = {"audio": (3,), "image": (7, 6), "text": ()}
    fusion = perturbed(DaftFusion(case.widths, inner, anchor="image"))
    assert fusion.places == (2,)
    changed = fusion.exchange(2, case.features)
    assert set(changed) == {"image"}
    for sample in range(case.batch):
        vectors = {one: case.filled(one, sample) for one in case.widths}
        vectors["image"] = torch.zeros(6, dtype=torch.float64)
        real = case.tokens("image", sample)
        if real:  # within an encoder there is no summary
            vectors["image"] = case.features["image"].vector()[sample]
        gamma, beta = _affine(fusion, vectors)
        for token, before, there in zip(
            changed["image"].tokens[sample], case.features["image"].tokens[sample],
            case.features["image"].mask[sample], strict=True,
        ):  # fmt: skip
            torch.testing.assert_close(token, (1 + gamma) * before + beta if there else torch.zeros_like(before))


def test_it_starts_unchanged_and_has_as_many_numbers_as_the_formula_says(make):
    case = make("two", dtype=torch.float32)
    fusion = DaftFusion(case.widths, {"image": (5,), "text": ()}, width=6)
    changed = fusion.exchange(2, case.features)["image"]
    torch.testing.assert_close(changed.tokens, case.features["image"].tokens)
    d, beside, k = 5, 7, 7
    assert sum(p.numel() for p in fusion.parameters()) == (d + beside) * k + 2 * d * k + 5 * 6 + 6 + 7 * 6


def test_the_anchor_is_chosen_and_others_must_be_at_the_place():
    widths = {"a": 4, "b": 4}
    assert DaftFusion(widths, {"a": (), "b": (4,)}, anchor="b").places == (2,)
    assert DaftFusion(widths, {"a": (), "b": (4,)}).places == (1,)
    with pytest.raises(ValueError, match="at 3: the encoder of b has 2 places; take at=2"):
        DaftFusion(widths, {"a": (4, 4), "b": (4,)}, at=3)
    with pytest.raises(ValueError, match="anchor c is no input"):
        DaftFusion(widths, {"a": (), "b": ()}, anchor="c")
    with pytest.raises(ValueError, match="an anchor needs another input beside it"):
        DaftFusion({"a": 4}, {"a": ()})
