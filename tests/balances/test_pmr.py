"""PMR: prototypes and losses, one number at a time, and what reaches the encoders."""

import math

import pytest
import torch

from mmkit.balances.pmr import Pmr
from mmkit.contract import Features, ModelOutput, Target
from tests.balances.steps import balanced, gradients_of

WIDTHS = {"a": 4, "b": 3, "c": 5}
TARGET = Target("classes", 3, ("x", "y", "z"), (3, 2, 2), samples=7)


def drawn(names="ab", size=9, seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    features = {}
    for name in names:
        mask = torch.rand(size, 2, generator=generator) > 0.3
        values = torch.randn(size, 2, WIDTHS[name], generator=generator, dtype=torch.float64)
        features[name] = Features.of(values, mask)
        features[name].tokens.requires_grad_()
    mask = torch.rand(size, generator=generator) > 0.2
    label = torch.randint(classes, (size,), generator=generator).where(mask, -100)
    output = ModelOutput(features, features["a"], torch.zeros(size, 3))
    return output, {"label": label, "mask": mask}


def method(names="ab", **options):
    return Pmr({name: WIDTHS[name] for name in names}, 6, TARGET, **options).double().train()


def means(batches, name):
    """By class, one sample after the other."""
    found = {}
    for output, truth in batches:
        part = output.features[name]
        for row, label in enumerate(truth["label"].tolist()):
            if truth["mask"][row] and part.mask[row].any():
                found.setdefault(label, []).append(part.vector()[row].detach())
    return {label: sum(rows) / len(rows) for label, rows in found.items()}


def distances(prototypes, vector):
    return {label: -math.sqrt(float(((vector - point) ** 2).sum()) + 1e-12) for label, point in prototypes.items()}


def slow(prototypes, output, truth):
    """The loss of each input by row, and its score."""
    losses: dict = {}
    scores: dict = {}
    for name, part in output.features.items():
        rows = [
            row
            for row, label in enumerate(truth["label"].tolist())
            if truth["mask"][row] and part.mask[row].any() and label in prototypes[name]
        ]
        losses[name] = {}
        for row in rows:
            logits = distances(prototypes[name], part.vector()[row].detach())
            total = sum(math.exp(logit) for logit in logits.values())
            losses[name][row] = math.log(total) - logits[int(truth["label"][row])]
        if rows:
            scores[name] = sum(math.exp(-loss) for loss in losses[name].values()) / len(rows)
    return losses, scores


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_losses_are_those_of_inputs_that_are_behind(names):
    one = method(names, weight=0.5)
    earlier = [drawn(names, seed=seed) for seed in (1, 2)]
    for output, truth in earlier:
        one.weigh({}, output, truth)
    one.epoch(2, None)
    output, truth = drawn(names, seed=3)
    losses, scores = slow({name: means(earlier, name) for name in names}, output, truth)
    found = one.weigh({"head": torch.zeros(9)}, output, truth)
    assert set(found) == {"head", *(f"prototypes.{name}" for name in names)}
    acted = []
    for name in names:
        others = [scores[other] for other in names if other != name]
        behind = scores[name] < sum(others) / len(others)
        acted.append(behind)
        expected = [0.5 * losses[name].get(row, 0.0) if behind else 0.0 for row in range(9)]
        torch.testing.assert_close(found[f"prototypes.{name}"], torch.tensor(expected, dtype=torch.float64))
    assert any(acted)
    assert not all(acted)


def test_prototypes_are_means_of_an_epoch_and_a_share_of_the_one_before():
    one = method(momentum=0.25)
    first, second = drawn(seed=1), drawn(seed=2)
    one.weigh({}, *first)
    one.epoch(2, None)
    before = means([first], "a")
    for label, point in before.items():
        torch.testing.assert_close(one.prototypes["a"].points[label], point)
    one.weigh({}, *second)
    one.epoch(3, None)
    now = means([second], "a")
    assert set(now) & set(before)
    for label, point in now.items():
        expected = 0.25 * before[label] + 0.75 * point if label in before else point
        torch.testing.assert_close(one.prototypes["a"].points[label], expected)


def test_a_class_without_samples_keeps_its_prototype_and_has_none_before():
    one = method()
    few = drawn(seed=1, classes=2)
    one.weigh({}, *few)
    one.epoch(2, None)
    prototypes = one.prototypes["a"]
    assert not prototypes.seen[2]
    output, truth = drawn(seed=4)
    found = one.weigh({}, output, truth)
    assert all(bool((loss[truth["label"] == 2] == 0).all()) for loss in found.values())
    one.epoch(3, None)
    kept = prototypes.points.clone()
    one.epoch(4, None)
    torch.testing.assert_close(prototypes.points[:2], kept[:2])


def test_the_first_epoch_and_those_after_the_last_have_no_loss():
    one = method(until=2)
    output, truth = drawn()
    for number, acts in ((1, False), (2, True), (3, False)):
        one.epoch(number, None)
        found = one.weigh({}, output, truth)
        assert any(bool(loss.any()) for loss in found.values()) == acts


def test_evaluation_counts_nothing():
    one = method().eval()
    one.weigh({}, *drawn())
    assert not one.prototypes["a"].counts.any()


def test_a_sample_on_its_prototype_has_a_finite_gradient():
    one = method()
    alone = {"label": torch.zeros(1, dtype=torch.long), "mask": torch.ones(1, dtype=torch.bool)}
    part = Features.of(torch.ones(1, 4, dtype=torch.float64))
    part.tokens.requires_grad_()
    one.prototypes["a"](part, alone["label"], alone["mask"])
    one.epoch(2, None)
    loss, _ = one.prototypes["a"](part, alone["label"], alone["mask"])
    loss.sum().backward()
    assert part.tokens.grad.isfinite().all()


class TestInAStep:
    def test_encoders_of_inputs_that_are_behind_learn_of_it_and_nothing_else_does(self):
        step, batch, truth = balanced("concat", "pmr:weight=.5")
        plain = gradients_of(step, batch, truth)  # the first epoch
        step.balance.before_epoch(2, None)
        losses, _ = step(batch, truth)
        own = {name: loss for name, loss in losses.items() if name.startswith("prototypes.")}
        behind = {name.partition(".")[2] for name, loss in own.items() if loss > 0}
        assert behind
        assert len(behind) < len(own)
        found = gradients_of(step, batch, truth)
        for name, gradient in found.items():
            parts = name.split(".")
            same = torch.allclose(gradient, plain[name], rtol=1e-9, atol=1e-12)
            assert same == (parts[1] != "encoders" or parts[2] not in behind), name
