"""MMPareto: the joined direction against a search, and encoders' gradients against two backward passes."""

import pytest
import torch

from mmkit.balances.mmpareto import MmPareto, joined
from mmkit.contract import Features, Target
from mmkit.errors import MmkitError
from mmkit.system.progress import Progress
from mmkit.training.descent import add_gradients
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training
from tests.balances.steps import balanced, gradients_of
from tests.model.network_cases import trained_from


def pair(*, conflict, seed=0):
    generator = torch.Generator().manual_seed(seed)
    g, h = (torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(2))
    if (g @ h < 0) != conflict:
        h = h - 2 * (g @ h) / (g @ g) * g
    return g, h


def slow(g, h, scale):
    """As published, one number after the other."""
    least = float((h @ h - g @ h) / ((g - h) @ (g - h)))
    share = 0.5 if float(g @ h) >= 0 else min(max(least, 0.0), 1.0)
    d = 2 * share * g + 2 * (1 - share) * h
    return d * max(1.0, float((g + h).norm() / d.norm())) * scale


@pytest.mark.parametrize("conflict", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_direction_is_that_of_the_paper(conflict, seed):
    g, h = pair(conflict=conflict, seed=seed)
    factors = joined(g, h, 1.5)
    torch.testing.assert_close(factors[0] * g + factors[1] * h, slow(g, h, 1.5))


def test_without_conflict_it_is_the_longer_sum():
    g, h = pair(conflict=False)
    torch.testing.assert_close(joined(g, h, 1.5), torch.full((2,), 1.5, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(20))
def test_it_makes_neither_loss_rise_and_has_the_least_norm(seed):
    g, h = pair(conflict=True, seed=seed)
    factors = joined(g, h, 1.0)
    d = factors[0] * g + factors[1] * h
    assert d @ g >= -1e-9
    assert d @ h >= -1e-9
    share = factors[0] / factors.sum()
    shortest = min(float((c * g + (1 - c) * h).norm()) for c in torch.linspace(0, 1, 10001))
    assert abs(float((share * g + (1 - share) * h).norm()) - shortest) < 1e-6


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e20])
def test_it_hangs_on_no_unit_of_the_loss(size):
    g, h = pair(conflict=True)
    torch.testing.assert_close(joined(size * g, size * h, 1.5), joined(g, h, 1.5))


def test_gradients_that_cancel_out_or_are_none_give_finite_ones():
    g, _ = pair(conflict=True)
    zero = torch.zeros_like(g)
    for left, right in ((g, -g), (zero, zero), (g, zero), (zero, g)):
        factors = joined(left, right, 1.5)
        assert torch.isfinite(factors).all()
        torch.testing.assert_close(
            factors[0] * left + factors[1] * right, 1.5 * (left + right), atol=1e-6 * float(g.norm()), rtol=0
        )


def test_half_precision_does_not_overflow():
    g, h = pair(conflict=True)
    expected = joined(g, h, 1.5)
    found = joined((3e4 * g / g.abs().max()).half(), (3e4 * h / g.abs().max()).half(), 1.5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_two_gradients_of_an_input_meet_at_its_features(pooled):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    summary = torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_() if pooled else None
    features = {"a": Features.of(values, torch.rand(5, 3, generator=generator) > 0.3, summary)}
    method = MmPareto({"a": 4}, 6, Target("classes", 2), scale=1.5)
    left, right = method.split(features)
    parts = [values] if summary is None else [values, summary]
    weights = [[torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parts] for _ in range(2)]

    def score(of, ws):
        tensors = [of["a"].tokens] if summary is None else [of["a"].tokens, of["a"].pooled]
        return sum((t * w).sum() for t, w in zip(tensors, ws, strict=True))

    found = torch.autograd.grad(score(left, weights[0]) + score(right, weights[1]), parts, retain_graph=True)
    inner = [features["a"].tokens] if summary is None else [features["a"].tokens, features["a"].pooled]
    there = [features["a"].mask.unsqueeze(-1), features["a"].present().unsqueeze(-1)]  # padding is no part of them
    g, h = (torch.cat([(w * real).flatten() for w, real in zip(ws, there, strict=False)]) for ws in weights)
    d = slow(g, h, 1.5)
    split = [part.view_as(p) for part, p in zip(d.split([p.numel() for p in parts]), parts, strict=True)]
    expected = torch.autograd.grad(inner, parts, split)
    torch.testing.assert_close(found, expected)


class TestInAStep:
    @pytest.mark.parametrize("fusion", ["concat", "attention", "late"])
    def test_encoders_have_the_joined_gradients(self, fusion):
        step, batch, truth = balanced(fusion, "mmpareto:scale=1.3")
        found = gradients_of(step, batch, truth)
        model = step.model
        features = model.encode(batch)
        fused = model.fuse(features)
        count = truth["mask"].sum()
        losses = [model.output_head.loss(fused.output, truth)]
        if model.head is None:
            losses += [h.loss(fused.unimodal[n], truth) * features[n].present() for n, h in model.unimodal.items()]
        joint = sum((loss * truth["mask"]).sum() for loss in losses) / count
        for name, part in features.items():
            head = step.balance.heads[name]
            own = (head.loss(head(part), truth) * part.present() * truth["mask"]).sum() / count
            tensors = [part.tokens] if part.pooled is None else [part.tokens, part.pooled]
            real = [part.mask.unsqueeze(-1), part.present().unsqueeze(-1)]  # what padding is passed counts nothing
            gs, hs = (
                [
                    torch.zeros_like(t) if one is None else one * there
                    for t, one, there in zip(
                        tensors,
                        torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True),
                        real[: len(tensors)],
                        strict=True,
                    )
                ]
                for loss in (joint, own)
            )
            g, h = (torch.cat([one.flatten() for one in ones]) for ones in (gs, hs))
            d = slow(g, h, 1.3)
            split = [o.view_as(t) for o, t in zip(d.split([t.numel() for t in tensors]), tensors, strict=True)]
            parameters = dict(model.encoders[name].named_parameters())
            expected = torch.autograd.grad(tensors, list(parameters.values()), split, retain_graph=True)
            for parameter, gradient in zip(parameters, expected, strict=True):
                torch.testing.assert_close(found[f"model.encoders.{name}.{parameter}"], gradient, rtol=1e-7, atol=1e-10)

    def test_fusion_and_heads_have_the_plain_ones(self):
        step, batch, truth = balanced("concat", "mmpareto")
        found = gradients_of(step, batch, truth)
        step.balance.eval()
        plain = gradients_of(step, batch, truth)
        for name, gradient in found.items():
            if not name.startswith("model.encoders."):
                torch.testing.assert_close(gradient, plain[name], rtol=1e-9, atol=1e-12)


class TestAsPublished:
    """`mmpareto-weights`: the gradients of encoders' weights, against `torch.autograd.grad` of each loss."""

    @pytest.mark.parametrize("fusion", ["concat", "late"])
    @pytest.mark.parametrize("begun", [False, True])
    def test_encoders_have_the_joined_gradients_and_all_else_the_plain_ones(self, fusion, begun):
        step, batch, truth = balanced(fusion, "mmpareto-weights:scale=1.3")
        losses, _ = step(batch, truth)
        joint = sum(loss for name, loss in losses.items() if not name.startswith("balance."))
        names = dict(step.named_parameters())
        expected = {}
        for name in step.model.names.values():
            inside = [n for n in names if n.startswith(f"model.encoders.{name}.")]
            gs, hs = (
                torch.autograd.grad(loss, [names[n] for n in inside], retain_graph=True)
                for loss in (joint, losses[f"balance.{name}"])
            )
            g, h = (torch.cat([one.flatten() for one in ones]) for ones in (gs, hs))
            d = slow(g, h, 1.3)
            parts = d.split([names[n].numel() for n in inside])
            expected |= {n: part.view_as(names[n]) for n, part in zip(inside, parts, strict=True)}
        rest = [n for n in names if n not in expected]
        plain = torch.autograd.grad(sum(losses.values()), [names[n] for n in rest], retain_graph=True)
        expected |= dict(zip(rest, plain, strict=True))
        step.zero_grad()
        for parameter in names.values():
            parameter.grad = torch.ones_like(parameter) if begun else None  # of a part of the batch before
        total = add_gradients(step, step, batch, truth, "float32")
        torch.testing.assert_close(total, sum(losses.values()).detach())
        for name, gradient in expected.items():
            found = names[name].grad - 1 if begun else names[name].grad
            torch.testing.assert_close(found, gradient, rtol=1e-7, atol=1e-9)

    def test_a_step_that_takes_its_own_passes_is_not_compiled_and_says_so(self):
        class Told(Progress):
            said: tuple[str, ...] = ()

            def warn(self, message):
                self.said = (*self.said, message)

        step, data = trained_from("concat", balances=["mmpareto-weights"])
        told = Told()
        training = Training(epochs=1, min_steps=0, batch_size=32, compile=True, micro_batch=20)
        with pytest.raises(MmkitError, match="validation gave no score"):
            fit(step, data, lambda: (-float("inf"), {}), training, seed=0, progress=told)
        assert told.said == ("the training step runs as it is: its balance method takes backward passes of its own",)


def test_padding_changes_no_direction():
    """A mean passes a gradient to padding, which is none of the input: more of it would turn the direction."""
    found = []
    for steps in (3, 9):
        generator = torch.Generator().manual_seed(0)
        values = torch.zeros(4, steps, 5, dtype=torch.float64)
        values[:, :3] = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
        values.requires_grad_()
        mask = torch.arange(steps).expand(4, steps) < 3
        left, right = MmPareto({"a": 5}, 6, Target("classes", 2)).split({"a": Features.of(values, mask)})
        weights = torch.randn(2, 4, 9, 5, generator=generator, dtype=torch.float64)[:, :, :steps]
        sum((side["a"].tokens * weight).sum() for side, weight in zip((left, right), weights, strict=True)).backward()
        found.append(values.grad[:, :3])
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)
