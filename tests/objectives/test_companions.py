"""The objectives that fusions bring along, against their formulas written out, with torch's Dirichlet as the judge."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.confidence_loss import ConfidenceLossObjective
from mmkit.objectives.evidential_loss import EvidentialLossObjective

B, C = 6, 3
WIDTHS = {"audio": 4, "image": 4, "text": 4}
PRESENT = {
    "audio": torch.tensor([1, 1, 0, 0, 1, 1], dtype=torch.bool),
    "image": torch.tensor([1, 0, 1, 0, 1, 1], dtype=torch.bool),
    "text": torch.tensor([1, 1, 1, 0, 0, 1], dtype=torch.bool),
}
MASK = torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.bool)
LABEL = torch.tensor([0, 2, 1, 1, 2, -100])
SAID = {
    "audio": torch.tensor([[2.0, -1, 0.5]] * B).double(),
    "image": torch.tensor([[-0.5, 3.0, 1]] * B).double(),
    "text": torch.tensor([[0.1, 0.2, 2.0]] * B).double(),
}


def given(details=None, unimodal=None, fused=None):
    features = {name: Features.of(torch.ones(B, 4).double(), PRESENT[name]) for name in WIDTHS}
    fused = torch.tensor([[1.0, 0.5, 2.0]] * B).double() if fused is None else fused
    whole = Features.of(fused, details=details)
    return ModelOutput(features, whole, whole.vector(), unimodal or SAID)


def of_view(alpha, label, share):
    """E[-log p_y] under the Dirichlet, and the divergence of what speaks for the others."""
    expected = torch.digamma(alpha.sum()) - torch.digamma(alpha[label])
    others = alpha.clone()
    others[label] = 1
    return expected + share * kl_divergence(Dirichlet(others), Dirichlet(torch.ones(C).double()))


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("conflict", [0.0, 0.7])
def test_evidential_losses_are_their_definition(joint, conflict):
    objective = EvidentialLossObjective(WIDTHS, C, Target("classes", C), anneal=4, conflict=conflict, weight=0.5)
    objective = objective.double().train()
    evidence = torch.tensor([[0.3, 0.1, 4.0]] * B).double()
    details = {"joint_evidence": evidence} if joint else None
    for step in range(6):  # the divergence grows by a quarter a batch, to 1
        share = min(1.0, (step + 1) / 4)
        found = objective(given(details), {"label": LABEL, "mask": MASK})
        for row in range(B):
            if not MASK[row]:
                assert found[row] == 0
                continue
            label = int(LABEL[row])
            views = [F.softplus(SAID[n][row]) + 1 for n in WIDTHS if PRESENT[n][row]]
            if joint and views:
                views.append(evidence[row] + 1)
            total = of_view(torch.tensor([1.0, 0.5, 2.0]).double().exp(), label, share)
            total = total + sum(of_view(alpha, label, share) for alpha in views)
            for i, one in enumerate(views):
                for j, other in enumerate(views):
                    if i != j:
                        distance = (one / one.sum() - other / other.sum()).abs().sum() / 2 / (len(views) - 1)
                        total = total + conflict * distance * (1 - C / one.sum()) * (1 - C / other.sum())
            torch.testing.assert_close(found[row], 0.5 * total)


def test_the_expected_surprise_is_what_sampling_gives():
    torch.manual_seed(0)
    alpha = torch.tensor([2.0, 5.0, 1.5]).double()
    sampled = -Dirichlet(alpha).sample((200_000,))[:, 1].log().mean()
    assert float(of_view(alpha, 1, 0.0)) == pytest.approx(float(sampled), abs=0.01)


def test_large_evidence_is_finite():
    objective = EvidentialLossObjective(WIDTHS, C, Target("classes", C), conflict=1.0).train()
    huge = {name: torch.full((B, C), 1e4, requires_grad=True) for name in WIDTHS}
    fused = torch.full((B, C), 1e3, requires_grad=True)
    loss = objective(given(unimodal=huge, fused=fused), {"label": LABEL, "mask": MASK})
    assert loss.isfinite().all()
    loss.sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in (*huge.values(), fused))


@pytest.mark.parametrize("evidence", [10.0, 1e3, 1e6, 1e10])
def test_large_evidence_is_as_exact_in_float32(evidence):
    """The divergence is a small number that is left of great ones: by the gamma function it would be rounded away."""
    objective = EvidentialLossObjective(WIDTHS, C, Target("classes", C), anneal=1)
    fused = torch.tensor([[0.7, 1.0, 0.2]] * B).mul(evidence).log().requires_grad_()
    nothing = given(unimodal=dict.fromkeys(WIDTHS, torch.zeros(B, C)), fused=fused)
    nothing.seen.update(dict.fromkeys(WIDTHS, torch.zeros(B, dtype=torch.bool)))
    found = objective(nothing, {"label": LABEL, "mask": MASK})
    exact = fused.detach().double().requires_grad_()
    rows = zip(exact[MASK], LABEL[MASK], strict=True)
    expected = torch.stack([of_view(row.exp(), int(label), 1.0) for row, label in rows])
    torch.testing.assert_close(found.double()[MASK], expected, rtol=1e-5, atol=1e-5)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(fused.grad.double(), exact.grad, rtol=1e-3, atol=1e-4)


def test_confidence_of_classes():
    told = {name: torch.linspace(0.1, 0.9, B).double() for name in WIDTHS}
    objective = ConfidenceLossObjective(WIDTHS, C, Target("classes", C), weight=0.5)
    found = objective(given({f"confidence.{n}": t for n, t in told.items()}), {"label": LABEL, "mask": MASK})
    for row in range(B):
        total = 0.0
        for name in WIDTHS:
            if PRESENT[name][row] and MASK[row]:
                chances = [math.exp(float(o)) for o in SAID[name][row]]
                total += abs(float(told[name][row]) - chances[int(LABEL[row])] / sum(chances))
        assert float(found[row]) == pytest.approx(0.5 * total)


def test_confidence_of_labels():
    labels = torch.tensor([[0, 1, 1.0]] * 5 + [[math.nan] * 3]).double()
    told = {name: torch.full((B, C), 0.3).double() for name in WIDTHS}
    objective = ConfidenceLossObjective(WIDTHS, C, Target("labels", C))
    found = objective(given({f"confidence.{n}": t for n, t in told.items()}), {"labels": labels, "mask": MASK})
    for row in range(B):
        total = 0.0
        for name in WIDTHS:
            if PRESENT[name][row] and MASK[row]:
                for yes, output in zip(labels[row], SAID[name][row], strict=True):
                    chance = 1 / (1 + math.exp(-float(output)))
                    total += abs(0.3 - (chance if yes else 1 - chance)) / C
        assert float(found[row]) == pytest.approx(total)


def test_confidence_gives_the_heads_no_gradient():
    heads = {name: output.clone().requires_grad_() for name, output in SAID.items()}
    told = {f"confidence.{name}": torch.full((B,), 0.2).double().requires_grad_() for name in WIDTHS}
    loss = ConfidenceLossObjective(WIDTHS, C, Target("classes", C))(given(told, heads), {"label": LABEL, "mask": MASK})
    loss.sum().backward()
    assert all(head.grad is None for head in heads.values())
    assert all(one.grad.any() for one in told.values())


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="evidence is for classes; the target is 'labels'"):
        EvidentialLossObjective(WIDTHS, C, Target("labels", C))
    with pytest.raises(ValueError, match="confidences are of classes or labels; the target is 'scalar'"):
        ConfidenceLossObjective(WIDTHS, C, Target("scalar", C))
