"""Each loss against the sum written out, sample by sample, in double precision."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from mmkit.contract import Target
from mmkit.heads.loss import (
    CategoryLoss,
    NumberLoss,
    balanced_weights,
    class_loss,
    label_loss,
    loss_of,
    number_loss,
)

B, C = 7, 4


@pytest.fixture
def output():
    return torch.randn(B, C, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def label():
    return torch.randint(C, (B,))


@pytest.fixture
def labels():
    return torch.randint(2, (B, C)).double()


ALL = torch.ones(B, dtype=torch.bool)


def slow_class_loss(logits, label, smoothing, gamma, weights):
    exponentials = [math.exp(z) for z in logits]
    total = 0.0
    for c, e in enumerate(exponentials):
        p = e / sum(exponentials)
        q = (1 - smoothing) * (c == label) + smoothing / len(logits)
        total += q * (1 - p) ** gamma * -math.log(p)
    return weights[label] * total


def slow_label_loss(logits, labels, smoothing, gamma, weights):
    total = 0.0
    for c, (z, label) in enumerate(zip(logits, labels, strict=True)):
        yes = 1 / (1 + math.exp(-z))
        question = slow_class_loss([math.log(1 - yes), math.log(yes)], int(label), smoothing, gamma, [1, 1])
        total += weights[int(label)][c] * question
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_loss_is_its_definition(output, label, smoothing, gamma, weighted):
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)
    found = class_loss(output, label, ALL, smoothing=smoothing, gamma=gamma, weights=weights if weighted else None)
    plain = weights.tolist() if weighted else [1.0] * C
    expected = [
        slow_class_loss(row, int(c), smoothing, gamma, plain) for row, c in zip(output.tolist(), label, strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_label_loss_is_its_definition(output, labels, smoothing, gamma, weighted):
    weights = torch.tensor([[0.5, 2.0, 1.0, 3.0], [1.5, 0.25, 1.0, 4.0]], dtype=torch.float64)
    found = label_loss(output, labels, ALL, smoothing=smoothing, gamma=gamma, weights=weights if weighted else None)
    plain = weights.tolist() if weighted else [[1.0] * C] * 2
    expected = [
        slow_label_loss(row, truth, smoothing, gamma, plain)
        for row, truth in zip(output.tolist(), labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_published_forms_elsewhere_agree(output, label, labels):
    def same(a, b):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

    same(
        class_loss(output, label, ALL, smoothing=0.3),
        F.cross_entropy(output, label, label_smoothing=0.3, reduction="none"),
    )
    same(label_loss(output, labels, ALL), F.binary_cross_entropy_with_logits(output, labels, reduction="none").mean(1))
    focal = sigmoid_focal_loss(output, labels, alpha=-1, gamma=2.0, reduction="none").mean(1)
    same(label_loss(output, labels, ALL, gamma=2.0), focal)
    values = torch.randn(B, C, dtype=torch.float64) * 3
    same(number_loss(output, values, ALL), (output - values).square().mean(1))
    same(number_loss(output, values, ALL, loss="mae"), (output - values).abs().mean(1))


def test_huber_is_its_definition():
    error = torch.tensor([[0.5], [-0.5], [3.0], [-4.0]], dtype=torch.float64)
    found = number_loss(error, torch.zeros_like(error), torch.ones(4, dtype=torch.bool), loss="huber", delta=2.0)
    # e^2 / 2 up to delta, then delta (|e| - delta / 2)
    assert found.tolist() == [0.125, 0.125, 2.0 * (3 - 1), 2.0 * (4 - 1)]


GARBAGE = {
    "classes": torch.full((B,), -987654321),
    "labels": torch.full((B, C), float("nan")),
    "scalar": torch.full((B, C), float("inf")),
}


@pytest.mark.parametrize("kind", ["classes", "labels", "scalar"])
@pytest.mark.parametrize("all_missing", [False, True])
def test_missing_truth_costs_nothing_and_is_not_read(output, label, labels, kind, all_missing):
    target = Target(kind, C, counts=(3, 2, 1, 1), mean=(1.0,) * C, std=(2.0,) * C, samples=B)
    leaf = {"classes": "label", "labels": "labels", "scalar": "values"}[kind]
    right = {"classes": label, "labels": labels.float(), "scalar": torch.randn(B, C)}[kind]
    mask = torch.zeros(B, dtype=torch.bool) if all_missing else torch.arange(B) % 2 == 0
    garbage = torch.where(mask if kind == "classes" else mask[:, None], right, GARBAGE[kind])
    variants = (
        [NumberLoss(target, loss=loss) for loss in ("mse", "mae", "huber")]
        if kind == "scalar"
        else [CategoryLoss(target, loss="focal", gamma=0.5, class_weights="balanced"), CategoryLoss(target)]
    )
    for criterion in variants:
        whole = criterion(output, {leaf: right, "mask": ALL})
        loss = criterion(output, {leaf: garbage, "mask": mask})
        assert loss.shape == (B,)
        assert torch.equal(loss, torch.where(mask, whole, 0))
        (gradient,) = torch.autograd.grad(loss.sum(), output)
        assert gradient.isfinite().all()
        assert torch.equal(gradient.abs().sum(1) > 0, mask)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_certain_outputs_have_finite_losses_and_gradients(gamma):
    logits = torch.tensor([[500.0, -500.0], [-500.0, 500.0]], requires_grad=True)
    right = torch.tensor([0, 0])
    both = torch.ones(2, dtype=torch.bool)
    for loss in (
        class_loss(logits, right, both, gamma=gamma),
        label_loss(logits, torch.eye(2), both, gamma=gamma),
    ):
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


def test_half_precision_outputs_are_measured_in_single():
    logits = torch.randn(B, C).bfloat16()
    label = torch.randint(C, (B,))
    assert class_loss(logits, label, ALL).dtype == torch.float32
    torch.testing.assert_close(class_loss(logits, label, ALL), class_loss(logits.float(), label, ALL))


def test_balanced_classes_weigh_1_on_average_and_equally_in_total():
    target = Target("classes", 3, counts=(1, 6, 13), samples=20)
    weights = balanced_weights(target)
    counts = torch.tensor(target.counts)
    assert (weights * counts).sum() / 20 == pytest.approx(1)
    torch.testing.assert_close(weights * counts, torch.full((3,), 20 / 3))


@pytest.mark.parametrize("counts", [(1,), (20,), (0, 5), (3, 7, 20)])
def test_balanced_labels_weigh_1_on_average(counts):
    weights = balanced_weights(Target("labels", len(counts), counts=counts, samples=20))
    assert weights.shape == (2, len(counts))
    yes = torch.tensor(counts)
    torch.testing.assert_close((weights[0] * (20 - yes) + weights[1] * yes) / 20, torch.ones(len(counts)))


def test_a_class_that_never_occurs_leaves_the_average_at_1():
    weights = balanced_weights(Target("classes", 3, counts=(5, 0, 15), samples=20))
    assert (weights[0] * 5 + weights[2] * 15) / 20 == pytest.approx(1)


def test_smoothing_is_for_cross_entropy_over_classes_unless_asked_for(output, label, labels):
    classes, any_of = Target("classes", C), Target("labels", C)
    truth = {"label": label, "labels": labels, "mask": ALL}
    torch.testing.assert_close(CategoryLoss(classes)(output, truth), class_loss(output, label, ALL, smoothing=0.1))
    torch.testing.assert_close(CategoryLoss(any_of)(output, truth), label_loss(output, labels, ALL))
    torch.testing.assert_close(
        CategoryLoss(any_of, label_smoothing=0.2)(output, truth), label_loss(output, labels, ALL, smoothing=0.2)
    )
    torch.testing.assert_close(
        CategoryLoss(classes, loss="focal")(output, truth), class_loss(output, label, ALL, gamma=2.0)
    )


def test_numbers_are_compared_in_standard_deviations(output):
    target = Target("scalar", 2, mean=(10.0, -2.0), std=(4.0, 0.5))
    criterion = NumberLoss(target).double()
    values = torch.tensor([[14.0, -3.0]])
    truth = {"values": values, "mask": torch.tensor([True])}
    standardised = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    assert criterion(standardised, truth).tolist() == [0.0]
    assert criterion(standardised + torch.tensor([1.0, 2.0]), truth).tolist() == [(1 + 4) / 2]
    assert criterion.values(standardised).tolist() == values.tolist()


def test_the_plain_loss_of_a_kind(output, label, labels):
    truth = {"label": label, "labels": labels, "values": labels, "mask": ALL}
    torch.testing.assert_close(loss_of(Target("classes", C))(output, truth), class_loss(output, label, ALL))
    torch.testing.assert_close(loss_of(Target("labels", C))(output, truth), label_loss(output, labels, ALL))
    torch.testing.assert_close(loss_of(Target("scalar", C))(output, truth), number_loss(output, labels, ALL))


def test_what_cannot_be_built():
    with pytest.raises(ValueError, match="predicts classes or labels; the target is of kind scalar"):
        CategoryLoss(Target("scalar", 1))
    with pytest.raises(ValueError, match="predicts numbers; the target is of kind classes"):
        NumberLoss(Target("classes", 3))
    with pytest.raises(ValueError, match="balanced needs the counts of the training split"):
        CategoryLoss(Target("classes", 3), class_weights="balanced")
    with pytest.raises(ValueError, match="the target is of kind text"):
        loss_of(Target("text", 3))
