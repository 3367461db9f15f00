"""Evidential fusion, against Dempster's rule of two, applied one view after the other."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.fusions.both.evidential import EvidentialFusion


def dempster(first, second):
    """Beliefs and uncertainty of two views, as Han et al. write their definition 4."""
    (b1, u1), (b2, u2) = first, second
    conflict = sum(float(b1[i] * b2[j]) for i in range(len(b1)) for j in range(len(b2)) if i != j)
    return (b1 * b2 + b1 * u2 + b2 * u1) / (1 - conflict), u1 * u2 / (1 - conflict)


def opinion(evidence):
    total = evidence.sum() + len(evidence)
    return evidence / total, len(evidence) / total


def views_of(fusion, case, outputs, said, sample):
    """The evidence of each view that is there."""
    views = [F.softplus(said(outputs, n, sample)) for n in case.widths if said(outputs, n, sample) is not None]
    if fusion.joint is not None and views:
        row = torch.cat([case.filled(name, sample) for name in case.widths])
        views.append(F.softplus(fusion.joint.second(fusion.joint.first(row).relu())))
    return views


@pytest.mark.parametrize("joint", [False, True])
def test_it_is_dempsters_rule_one_view_after_the_other(case, outputs, said, perturbed, same, joint):
    fusion = perturbed(EvidentialFusion(case.widths, Target("classes", 3), joint=joint, hidden=5))
    expected = []
    for sample in range(case.batch):
        belief, uncertainty = torch.zeros(3, dtype=torch.float64), 1.0
        for evidence in views_of(fusion, case, outputs, said, sample):
            belief, uncertainty = dempster((belief, uncertainty), opinion(evidence))
        assert float(belief.sum() + uncertainty) == pytest.approx(1)
        expected.append((belief * 3 / uncertainty + 1).log())
    same(fusion(case.features, outputs).vector(), expected)


@pytest.mark.parametrize("joint", [False, True])
def test_the_mean_of_evidences(case, outputs, said, perturbed, same, joint):
    fusion = perturbed(EvidentialFusion(case.widths, Target("classes", 3), rule="mean", joint=joint, hidden=5))
    expected = []
    for sample in range(case.batch):
        views = views_of(fusion, case, outputs, said, sample)
        mean = sum(views) / len(views) if views else torch.zeros(3, dtype=torch.float64)
        expected.append((mean + 1).log())
    same(fusion(case.features, outputs).vector(), expected)


def test_a_worked_example_of_the_rule():
    """b (.6, .1), u .3 with b (.2, .3), u .5 is b (.6, .2125), u .1875."""
    fusion = EvidentialFusion({"a": 1, "b": 1}, Target("classes", 2))
    given = {"a": ([0.6, 0.1], 0.3), "b": ([0.2, 0.3], 0.5)}
    outputs = {}
    for name, (belief, uncertainty) in given.items():
        evidence = torch.tensor([belief], dtype=torch.float64) * 2 / uncertainty
        outputs[name] = Features.of(evidence + torch.log(-torch.expm1(-evidence)))  # softplus gives the evidence
    found = fusion({n: Features.of(torch.ones(1, 1).double()) for n in given}, outputs).vector().exp()[0]
    total = found.sum()
    torch.testing.assert_close((found - 1) / total, torch.tensor([0.6, 0.2125], dtype=torch.float64))
    assert float(2 / total) == pytest.approx(0.1875)


def test_its_softmax_is_the_expected_probability_and_its_cross_entropy_the_type_two_likelihood():
    fusion = EvidentialFusion({"a": 1, "b": 1}, Target("classes", 4))
    outputs = {name: Features.of(torch.randn(5, 4).double()) for name in "ab"}
    fused = fusion({n: Features.of(torch.ones(5, 1).double()) for n in "ab"}, outputs).vector()
    alpha, label = fused.exp(), torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(fused.softmax(1), alpha / alpha.sum(1, keepdim=True))
    likelihood = alpha.sum(1).log() - alpha[range(5), label].log()
    torch.testing.assert_close(F.cross_entropy(fused, label, reduction="none"), likelihood)


def test_the_defect_of_combining_each_ordered_pair_would_show():
    """Adding up the results of all ordered pairs, as one toolkit does, gives more than 1 in all; this rule gives 1."""
    torch.manual_seed(0)
    evidence = [F.softplus(torch.randn(3).double()) for _ in range(2)]
    pairs = [dempster(opinion(evidence[i]), opinion(evidence[1 - i])) for i in range(2)]
    published = float(sum(b.sum() for b, _ in pairs) + math.prod(float(u) for _, u in pairs))
    assert published > 1.2
    outputs = {
        n: Features.of((e + torch.log(-torch.expm1(-e))).unsqueeze(0)) for n, e in zip("ab", evidence, strict=True)
    }
    fusion = EvidentialFusion({"a": 1, "b": 1}, Target("classes", 3))
    alpha = fusion({n: Features.of(torch.ones(1, 1).double()) for n in "ab"}, outputs).vector().exp()[0]
    assert float(((alpha - 1) / alpha.sum()).sum() + 3 / alpha.sum()) == pytest.approx(1)
    torch.testing.assert_close((alpha - 1) / alpha.sum(), dempster(*map(opinion, evidence))[0])


def test_evidence_of_any_size_stays_finite():
    fusion = EvidentialFusion({"a": 1, "b": 1}, Target("classes", 3))
    features = {n: Features.of(torch.ones(2, 1)) for n in "ab"}
    outputs = {n: Features.of(torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], requires_grad=True)) for n in "ab"}
    fused = fusion(features, outputs).vector()
    assert fused.isfinite().all()
    assert fused[1].abs().max() < 1e-6  # no evidence at all
    gradients = torch.autograd.grad(fused.sum(), [o.tokens for o in outputs.values()])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_many_views_are_added_in_logarithms_and_give_the_same():
    names = "abcdefg"
    torch.manual_seed(0)
    outputs = {n: Features.of(torch.randn(4, 3).double()) for n in names}
    features = {n: Features.of(torch.ones(4, 1).double()) for n in names}
    fusion = EvidentialFusion(dict.fromkeys(names, 1), Target("classes", 3))
    product = math.prod(1 + F.softplus(outputs[n].vector()) / 3 for n in names)
    torch.testing.assert_close(fusion(features, outputs).vector(), torch.log(1 + 3 * (product - 1)))
    large = {n: Features.of(torch.full((4, 3), 1e6)) for n in names}
    assert fusion({n: Features.of(torch.ones(4, 1)) for n in names}, large).vector().isfinite().all()


def test_the_number_of_its_parameters():
    plain = EvidentialFusion({"a": 8, "b": 16}, Target("classes", 10))
    assert sum(p.numel() for p in plain.parameters()) == 0
    joint = EvidentialFusion({"a": 8, "b": 16}, Target("classes", 10), joint=True, hidden=32)
    assert sum(p.numel() for p in joint.parameters()) == 24 * 32 + 32 + 32 * 10 + 10


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="evidence for classes; the target is 'scalar': take late or log-pool"):
        EvidentialFusion({"a": 9}, Target("scalar", 9))
