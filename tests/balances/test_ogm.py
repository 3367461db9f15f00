"""OGM: the shares of gradients, one number at a time, and what reaches encoders, fusion and heads."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.balances.ogm import Ogm, modulation
from mmkit.contract import Features, Target
from tests.balances.steps import balanced, gradients_of

B, C = 7, 3
WIDTHS = {"a": 4, "b": 3, "c": 5}
TARGETS = {
    "classes": Target("classes", C, ("x", "y", "z"), (3, 2, 2), samples=7),
    "labels": Target("labels", C, ("x", "y", "z"), (3, 2, 2), samples=7),
    "scalar": Target("scalar", C, ("x", "y", "z"), (), (1.0, 0.0, -1.0), (2.0, 1.0, 0.5), 7),
}


def drawn(names, kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {}
    for name in names:
        mask = torch.rand(B, 2, generator=generator) > 0.4
        values = torch.randn(B, 2, WIDTHS[name], generator=generator, dtype=torch.float64)
        features[name] = Features.of(values.requires_grad_(), mask)
    outputs = {name: 2 * torch.randn(B, C, generator=generator, dtype=torch.float64) for name in names}
    mask = torch.rand(B, generator=generator) > 0.2
    if kind == "classes":
        truth = {"label": torch.randint(C, (B,), generator=generator).where(mask, -100)}
    elif kind == "labels":
        truth = {"labels": torch.randint(2, (B, C), generator=generator).float()}
    else:
        truth = {"values": torch.randn(B, C, generator=generator, dtype=torch.float64)}
    return features, outputs, {**truth, "mask": mask}


def probability(kind, output, truth, target, row):
    """exp(-loss) of one row."""
    if kind == "classes":
        return float(output[row].softmax(0)[truth["label"][row]])
    if kind == "labels":
        each = [torch.sigmoid(x if y else -x) for x, y in zip(output[row], truth["labels"][row].tolist(), strict=True)]
        return math.exp(sum(math.log(float(one)) for one in each) / C)
    errors = [
        (float(o) - (float(v) - m) / s) ** 2
        for o, v, m, s in zip(output[row], truth["values"][row], target.mean, target.std, strict=True)
    ]
    return math.exp(-sum(errors) / C)


def slow(kind, features, outputs, truth, target, alpha):
    names = sorted(features)
    scores = {}
    for name in names:
        rows = [row for row in range(B) if truth["mask"][row] and bool(features[name].mask[row].any())]
        if rows:
            scores[name] = sum(probability(kind, outputs[name], truth, target, row) for row in rows) / len(rows)
    found = {}
    for name in names:
        others = [score for other, score in scores.items() if other != name]
        ratio = scores[name] / (sum(others) / len(others)) if others and name in scores else 1.0
        found[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return found


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_scaled_as_the_formula_says(kind, names, seed):
    features, outputs, truth = drawn(names, kind, seed)
    method = Ogm({name: WIDTHS[name] for name in names}, 6, TARGETS[kind], alpha=0.4)
    seen = method.border(features, outputs, truth)
    shares = slow(kind, features, outputs, truth, TARGETS[kind], 0.4)
    assert len(set(shares.values())) > 1
    for name, part in seen.items():
        torch.testing.assert_close(part.tokens, features[name].tokens, rtol=0, atol=1e-15)
        weights = torch.randn(part.tokens.shape, dtype=torch.float64)
        (found,) = torch.autograd.grad((part.tokens * weights).sum(), features[name].tokens)
        torch.testing.assert_close(found, shares[name] * weights, rtol=1e-6, atol=1e-12)


def test_the_worked_example():
    """Scores .6 and .3, alpha .3: 1 - tanh(.6) = .463, and 1."""
    right = torch.tensor([[0.6, 0.3]], dtype=torch.float64)
    found = modulation(right, torch.ones(1, 2, dtype=torch.bool), 0.3)
    torch.testing.assert_close(found, torch.tensor([1 - math.tanh(0.6), 1.0], dtype=torch.float64))
    assert round(float(found[0]), 3) == 0.463


@pytest.mark.parametrize(("alpha", "after"), [(0.1, 0.900), (0.8, 0.336)])
def test_it_jumps_where_the_ratio_passes_one(alpha, after):
    there = torch.ones(1, 2, dtype=torch.bool)
    level = modulation(torch.tensor([[0.5, 0.5]], dtype=torch.float64), there, alpha)
    above = modulation(torch.tensor([[0.5 + 1e-9, 0.5]], dtype=torch.float64), there, alpha)
    assert level.tolist() == [1, 1]
    assert round(float(above[0]), 3) == after
    assert above[1] == 1


@pytest.mark.parametrize("there", [[True, False], [False, True], [False, False]])
def test_without_another_input_in_the_batch_nothing_is_scaled(there):
    right = torch.full((4, 2), 0.9)
    assert modulation(right, torch.tensor([there]).expand(4, 2), 0.5).tolist() == [1, 1]


def test_it_stops_after_its_last_epoch():
    features, outputs, truth = drawn("ab", "classes")
    method = Ogm({"a": 4, "b": 3}, 6, TARGETS["classes"], alpha=0.8, until=2)
    for number, acts in ((1, True), (2, True), (3, False)):
        method.epoch(number, None)
        seen = method.border(features, outputs, truth)
        grads = torch.autograd.grad(
            sum(part.tokens.sum() for part in seen.values()), [f.tokens for f in features.values()]
        )
        assert any(bool((g != 1).any()) for g in grads) == acts


class TestInAStep:
    def test_the_fusion_learns_as_without_it_and_encoders_by_their_share(self):
        step, batch, truth = balanced("concat", "ogm:alpha=.5")
        found = gradients_of(step, batch, truth)
        features = step.model.encode(batch)
        heads = {name: head(features[name]) for name, head in step.balance.heads.items()}
        method = step.balance.method
        there = torch.stack([features[n].present() & truth["mask"] for n in method.inputs], 1)
        right = torch.stack([F.softmax(heads[n], 1).gather(1, truth["label"][:, None])[:, 0] for n in method.inputs], 1)
        shares = dict(zip(method.inputs, modulation(right, there, 0.5).tolist(), strict=True))
        assert min(shares.values()) < 1
        step.balance.method.alpha = 0.0
        plain = gradients_of(step, batch, truth)
        for name, gradient in found.items():
            parts = name.split(".")
            share = shares[parts[2]] if parts[1] == "encoders" else 1.0
            torch.testing.assert_close(gradient, share * plain[name], rtol=1e-9, atol=1e-12)

    def test_heads_that_measure_teach_no_encoder(self):
        step, batch, truth = balanced("concat", "ogm")
        losses, _ = step(batch, truth)
        own = [loss for name, loss in losses.items() if name.startswith("balance.")]
        assert len(own) == 3
        encoders = list(step.model.encoders.parameters())
        assert all(g is None for g in torch.autograd.grad(sum(own), encoders, allow_unused=True, retain_graph=True))
        heads = torch.autograd.grad(sum(own), list(step.balance.heads.parameters()))
        assert all(bool(g.any()) for g in heads)
