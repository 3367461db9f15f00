"""AGM: Shapley values over all orders, factors one number at a time, and gradients of encoders, fusion and head."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.balances.agm import Agm, ahead, shapley
from mmkit.contract import Features, Target
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.testing import tiny_task
from tests.balances.steps import balanced, gradients_of

TARGET = Target("classes", 3, ("x", "y", "z"), (3, 2, 2), samples=7)
B = 8


def subsets_of(names, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        chosen: torch.randn(B, 3, generator=generator, dtype=torch.float64).requires_grad_()
        for size in range(len(names) + 1)
        for chosen in itertools.combinations(sorted(names), size)
    }


def features_of(names, there):
    return {
        name: Features.of(torch.ones(B, 1, 4, dtype=torch.float64), torch.tensor(there[name])[:, None])
        for name in names
    }


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_values_are_the_means_over_all_orders(names):
    subsets = subsets_of(names)
    for name, value in zip(names, shapley(list(names), subsets), strict=True):
        found = []
        for order in itertools.permutations(names):
            before = tuple(sorted(order[: order.index(name)]))
            found.append(subsets[tuple(sorted((*before, name)))] - subsets[before])
        torch.testing.assert_close(value, torch.stack(found).mean(0))
    total = sum(shapley(list(names), subsets))
    torch.testing.assert_close(total, subsets[tuple(names)] - subsets[()])


def test_of_two_inputs_it_is_the_closed_form_of_the_published_code():
    subsets = subsets_of("ab")
    a, b = shapley(["a", "b"], subsets)
    both, left, right, none = (subsets[chosen] for chosen in (("a", "b"), ("a",), ("b",), ()))
    torch.testing.assert_close(a + none / 2, (both - right + left) / 2)
    torch.testing.assert_close(b + none / 2, (both - left + right) / 2)


def scores(names, subsets, there, truth):
    """The cross-entropy of each share, a mean over the rows that have the input and a truth."""
    found = {}
    for name, value in zip(names, shapley(list(names), subsets), strict=True):
        rows = [row for row in range(B) if there[name][row] and truth["mask"][row]]
        if rows:
            losses = [F.cross_entropy(value[row : row + 1], truth["label"][row : row + 1]) for row in rows]
            found[name] = float(sum(losses).detach()) / len(rows)
    return found


def lead(scores, name):
    others = [score for other, score in scores.items() if other != name]
    return math.exp(sum(others) / len(others) - scores[name])


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("alpha", [0.3, 5.0])
def test_gradients_of_shares_are_those_of_the_paper(names, alpha):
    there = {
        "a": [True] * B,
        "b": [True] * (B - 2) + [False] * 2,
        "c": [False] + [True] * (B - 1),
    }
    features = features_of(names, there)
    mask = torch.arange(B) != 3
    method = Agm(dict.fromkeys(names, 4), 6, TARGET, alpha=alpha, limit=1.5).double().train()
    history = []
    for seed in range(3):
        subsets = subsets_of(names, seed)
        truth = {"label": torch.randint(3, (B,)).where(mask, -100), "mask": mask}
        found = method.output(subsets, features, truth)
        assert torch.equal(found, subsets[tuple(names)])
        now = scores(names, subsets, there, truth)
        factors = dict.fromkeys(names, 1.0)
        if history:
            before = {name: sum(one[name] for one in history) / len(history) for name in names}
            for name in names:
                factors[name] = math.exp(1.5 * math.tanh(alpha * (lead(before, name) - lead(now, name)) / 1.5))
            assert len(set(factors.values())) > 1
        history.append(now)
        none = subsets[()]
        values = dict(zip(names, shapley(list(names), subsets), strict=True))
        expected = sum(factors[name] * (values[name] + none / len(names)) for name in names)
        weights = torch.randn(B, 3, dtype=torch.float64)
        torch.testing.assert_close(
            torch.autograd.grad((found * weights).sum(), list(subsets.values()), retain_graph=True),
            torch.autograd.grad((expected * weights).sum(), list(subsets.values())),
        )


def test_alpha_of_none_is_the_plain_gradient():
    subsets = subsets_of("abc")
    features = features_of("abc", dict.fromkeys("abc", [True] * B))
    truth = {"label": torch.zeros(B, dtype=torch.long), "mask": torch.ones(B, dtype=torch.bool)}
    method = Agm(dict.fromkeys("abc", 4), 6, TARGET, alpha=0.0).double().train()
    for _ in range(2):
        found = method.output(subsets, features, truth)
        grads = torch.autograd.grad(found.sum(), list(subsets.values()))
        for chosen, gradient in zip(subsets, grads, strict=True):
            expected = 1.0 if chosen == ("a", "b", "c") else 0.0
            torch.testing.assert_close(gradient, torch.full_like(gradient, expected), atol=1e-12, rtol=0)


def test_who_is_ahead_needs_another_and_stays_a_number():
    seen = torch.tensor([True, True, False])
    torch.testing.assert_close(ahead(torch.tensor([1.0, 3.0, 9.0]), seen), torch.tensor([math.e**2, math.e**-2, 0.0]))
    assert not ahead(torch.tensor([1.0, 3.0]), torch.tensor([True, False])).any()
    assert ahead(torch.tensor([0.0, 1e30]), torch.tensor([True, True])).isfinite().all()


def test_evaluation_remembers_nothing():
    method = Agm({"a": 4, "b": 4}, 6, TARGET).double().eval()
    truth = {"label": torch.zeros(B, dtype=torch.long), "mask": torch.ones(B, dtype=torch.bool)}
    method.output(subsets_of("ab"), features_of("ab", dict.fromkeys("ab", [True] * B)), truth)
    assert not method.batches.any()


class TestInAStep:
    def test_subsets_are_what_the_model_gives_of_them(self):
        """And by them the gradients of the whole model are those of the scaled shares."""
        step, batch, truth = balanced("concat", "agm:alpha=.5")
        gradients_of(step, batch, truth)  # the first batch, which changes nothing
        step.balance.method.means.copy_(torch.tensor([3.0, 1.0, 1.5]))
        state = {name: tensor.clone() for name, tensor in step.state_dict().items()}
        found = gradients_of(step, batch, truth)
        step.load_state_dict(state)
        names = sorted(step.model.names.values())
        features = step.model.encode(batch)
        subsets = {}
        for size in range(4):
            for chosen in itertools.combinations(names, size):
                shown = {
                    name: part if name in chosen else Features.of(part.tokens, torch.zeros_like(part.mask), part.pooled)
                    for name, part in features.items()
                }
                subsets[chosen] = step.model.fuse(shown).output
        method = step.balance.method
        known = [features[name].present() & truth["mask"] for name in names]
        values = shapley(names, subsets)
        factors = method._factors([method.loss(value.detach(), truth) for value in values], known)
        assert len(set(factors.tolist())) == 3
        changed = sum(k * (value + subsets[()] / 3) for k, value in zip(factors, values, strict=True))
        whole = subsets[tuple(names)]
        loss = step.model.output_head.loss(whole.detach() + changed - changed.detach(), truth).sum()
        parameters = dict(step.named_parameters())
        expected = torch.autograd.grad(loss / truth["mask"].sum(), [parameters[name] for name in found])
        for name, gradient in zip(found, expected, strict=True):
            torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-10)

    def test_it_changes_gradients_from_the_second_batch_on(self):
        step, batch, truth = balanced("attention", "agm:alpha=4")
        first = gradients_of(step, batch, truth)
        step.balance.eval()
        plain = gradients_of(step, batch, truth)
        torch.testing.assert_close(first, plain)
        step.balance.train()
        step.balance.method.means.mul_(torch.tensor([3.0, 1.0, 0.5]))
        second = gradients_of(step, batch, truth)
        assert not all(torch.allclose(second[name], gradient) for name, gradient in plain.items())


def test_more_than_three_inputs_are_refused():
    task = tiny_task(dict.fromkeys("abcd", "series"))
    with pytest.raises(UsageError, match="balance agm takes 2 to 3 inputs; there are 4"):
        plan(installed(), task=task, fusions=["concat"], balances=["agm"])
