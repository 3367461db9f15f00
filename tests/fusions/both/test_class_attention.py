"""Class-wise attention, one sample, one class and one part at a time, from probabilities instead of logits."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.fusions.both.class_attention import ClassAttentionFusion, divergence, mean_logit

WIDTHS = {"image": 5, "text": 7}


@pytest.fixture
def two(make):
    return make("two")


@pytest.fixture
def heads(two):
    generator = torch.Generator().manual_seed(5)
    return {
        name: Features.of(3 * torch.randn(two.batch, 3, generator=generator, dtype=torch.float64), each.present())
        for name, each in two.features.items()
    }


def _parts(fusion, case, sample):
    """Private and shared vectors of the inputs that are there, by name."""
    here = [name for name in case.widths if case.vector(name, sample) is not None]
    own = {name: fusion.private[name](case.vector(name, sample)) for name in here}
    common = {name: fusion.common(fusion.shared[name](case.vector(name, sample))) for name in here}
    return own, common


def slow(fusion, case, outputs, sample):
    """The C keys of each part as the published code has them, and the mean in probabilities."""
    own, common = _parts(fusion, case, sample)
    if not own:
        return torch.zeros(fusion.width, dtype=torch.float64), {}
    probability = sum(1 / (1 + (-s).exp()) for s in common.values()) / len(common)
    parts = {"shared": (probability / (1 - probability)).log(), **own}
    query = sum(fusion.query(p) for p in parts.values()) / len(parts)
    hidden = len(query)
    found, shares = [], {}
    for c in range(fusion.width):
        key = fusion.keys.weight.view(fusion.width, hidden, hidden)[c].T  # of this class
        scores = {k: math.exp(float(query @ (key @ p)) / hidden**0.5) for k, p in parts.items()}
        shares[c] = {k: score / sum(scores.values()) for k, score in scores.items()}
        values = {k: fusion.score.weight[c] @ p + fusion.score.bias[c] for k, p in parts.items()}
        for name in own:
            values[name] = values[name] + outputs[name].tokens[sample, 0, c]
        found.append(sum(shares[c][k] * value for k, value in values.items()))
    return torch.stack(found), shares


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_each_class_weighs_the_parts_that_are_there(two, heads, perturbed, same, kind):
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target(kind, 3), hidden=4))
    found = fusion(two.features, heads)
    same(found.vector(), [slow(fusion, two, heads, sample)[0] for sample in range(two.batch)])
    assert not found.penalties
    assert not found.details


def test_details_are_the_shares_of_the_parts(two, heads, perturbed):
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4))
    fusion.detailed = True
    found = fusion(two.features, heads).details["shares"]  # [B 3 C]
    for sample in range(two.batch):
        shares = slow(fusion, two, heads, sample)[1]
        for c in range(3):
            expected = [shares.get(c, {}).get(part, 0.0) for part in ("image", "shared", "text")]
            torch.testing.assert_close(found[sample, :, c], torch.tensor(expected, dtype=torch.float64))


def test_penalties_are_of_the_rows_that_have_what_is_compared(two, heads, perturbed):
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4, alike=0.5, apart=3.0)).train()
    found = fusion(two.features, heads).penalties
    for sample in range(two.batch):
        own, common = _parts(fusion, two, sample)
        apart = 3 * sum(abs(float(own[n] @ common[n]) / float(own[n].norm() * common[n].norm())) for n in own)
        assert float(found["apart"][sample]) == pytest.approx(apart)
        alike = 0.0
        if len(common) == 2:
            for one, other in zip(*(s.sigmoid().tolist() for s in common.values()), strict=True):
                for p, q in ((one, other), (1 - one, 1 - other)):
                    alike += 0.25 * (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 4
        assert float(found["alike"][sample]) == pytest.approx(alike)


def test_without_scores_of_its_own_it_is_the_heads_weighed(two, heads, perturbed):
    """Equal keys weigh alike, so that the logits of the two heads are added and divided by three."""
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4))
    for parameter in (fusion.score.weight, fusion.score.bias, fusion.keys.weight):
        parameter.zero_()
    both = two.features["image"].present() & two.features["text"].present()
    expected = (heads["image"].vector() + heads["text"].vector()) / 3
    torch.testing.assert_close(fusion(two.features, heads).vector()[both], expected[both])


def test_it_is_the_published_form_where_nothing_is_missing_and_heads_say_nothing(perturbed):
    """Keys of each class for each part, a value layer of ones, and the diagonal of C x C scores."""
    torch.manual_seed(0)
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4))
    x = {name: torch.randn(6, d, dtype=torch.float64) for name, d in WIDTHS.items()}
    h1, h2 = (fusion.common(fusion.shared[name](x[name])) for name in WIDTHS)
    zero = torch.zeros_like(h1)
    top = torch.stack([h1 + h2, h1 + h2, h1, h2], 2).logsumexp(2)
    shared = top - torch.stack([zero, zero, h1, h2], 2).logsumexp(2)
    parts = torch.stack([fusion.private["image"](x["image"]), shared, fusion.private["text"](x["text"])], 1)
    keys = torch.stack([parts @ weight for weight in fusion.keys.weight.view(3, 4, 4)], 1)
    query = fusion.query(parts).mean(1)
    weights = (torch.einsum("bd,bnkd->bnk", query, keys) / 2).softmax(-1)
    expected = torch.diagonal(fusion.score(weights @ parts), dim1=1, dim2=2)
    found = fusion(
        {name: Features.of(each) for name, each in x.items()},
        {name: Features.of(torch.zeros(6, 3, dtype=torch.float64)) for name in x},
    )
    torch.testing.assert_close(found.vector(), expected)


def test_the_mean_of_probabilities_in_logits():
    one, other = torch.randn(2, 50, dtype=torch.float64) * 4
    mean = (one.sigmoid() + other.sigmoid()) / 2
    torch.testing.assert_close(mean_logit(one, other), (mean / (1 - mean)).log())
    far = mean_logit(torch.tensor([300.0, -300.0, 300.0]), torch.tensor([300.0, -300.0, -300.0]))
    torch.testing.assert_close(far, torch.tensor([300.0, -300.0, 0.0]))


def test_the_divergence_is_zero_of_equals_and_at_most_the_logarithm_of_two():
    logits = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(divergence(logits, logits, mean_logit(logits, logits)), torch.zeros(5).double())
    one, other = torch.full((1, 3), 200.0), torch.full((1, 3), -200.0)
    torch.testing.assert_close(divergence(one, other, mean_logit(one, other)), torch.tensor([math.log(2)]))


def test_told_or_not_nothing_missing_is_the_same(perturbed):
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4))
    x = {name: torch.randn(4, d, dtype=torch.float64) for name, d in WIDTHS.items()}
    o = {name: torch.randn(4, 3, dtype=torch.float64) for name in WIDTHS}
    there = torch.ones(4, dtype=torch.bool)
    told = fusion({n: Features.of(v) for n, v in x.items()}, {n: Features.of(v) for n, v in o.items()})
    untold = fusion({n: Features.of(v, there) for n, v in x.items()}, {n: Features.of(v, there) for n, v in o.items()})
    torch.testing.assert_close(told.vector(), untold.vector())


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"between two inputs; got 3 \(a, b, c\)"):
        ClassAttentionFusion(dict.fromkeys("abc", 2), Target("classes", 3))
    with pytest.raises(ValueError, match="keys are of classes or labels; the target is 'scalar'"):
        ClassAttentionFusion(WIDTHS, Target("scalar", 1))


def test_the_number_of_parameters():
    h, c = 6, 3
    fusion = ClassAttentionFusion(WIDTHS, Target("classes", c), hidden=h)
    expected = sum(2 * (d * h + h) for d in WIDTHS.values())
    expected += (h * 2 * h + 2 * h) + (2 * h * h + h) + 2 * (h * h + h) + c * h * h + h * c + c
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_autocast_keeps_the_penalties_in_single_precision(two, heads):
    torch.manual_seed(0)
    fusion = ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4).train()
    given = [{n: Features.of(f.tokens.float(), f.mask) for n, f in part.items()} for part in (two.features, heads)]
    expected = fusion(*given).penalties
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(*given).penalties
    assert all(penalty.dtype == torch.float32 for penalty in found.values())
    for name, penalty in expected.items():
        torch.testing.assert_close(found[name], penalty, rtol=0.1, atol=0.02)


def test_logits_go_through_softmax_of_the_head_unchanged(two, heads, perturbed):
    """Both missing is zero, hence uniform."""
    fusion = perturbed(ClassAttentionFusion(WIDTHS, Target("classes", 3), hidden=4))
    none = ~two.features["image"].present() & ~two.features["text"].present()
    assert bool(none.any())
    uniform = F.softmax(fusion(two.features, heads).vector()[none], 1)
    torch.testing.assert_close(uniform, torch.full_like(uniform, 1 / 3))
