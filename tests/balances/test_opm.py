"""OPM: the probabilities, one number at a time, and which rows the fusion sees."""

import math

import pytest
import torch

from mmkit.balances.opm import Opm, dropping
from mmkit.contract import Features, Target
from tests.balances.steps import balanced, gradients_of

TARGET = Target("classes", 3, ("x", "y", "z"), (3, 2, 2), samples=7)
SIZE = 4000


def drawn(present=None, size=SIZE):
    """Two inputs of which `a` is ahead, p = .8 and .4 of what is true; `b` is missing in every fifth row."""
    there = {"a": torch.ones(size, dtype=torch.bool), "b": torch.arange(size) % 5 > 0} if present is None else present
    features = {
        name: Features.of(torch.randn(size, 2, 4), mask.unsqueeze(1).expand(size, 2)) for name, mask in there.items()
    }
    outputs = {
        name: torch.tensor([math.log(p), math.log((1 - p) / 2), math.log((1 - p) / 2)]).expand(size, 3)
        for name, p in {"a": 0.8, "b": 0.4}.items()
    }
    return features, outputs, {"label": torch.zeros(size, dtype=torch.long), "mask": torch.ones(size, dtype=torch.bool)}


def method(**options):
    return Opm({"a": 4, "b": 4}, 6, TARGET, **{"warmup": 0, **options})


@pytest.mark.parametrize(("rate", "growth"), [(0.5, 0.5), (0.2, 3.0), (0.9, 2.0), (0.4, 0.0)])
def test_the_probabilities_are_those_of_the_paper(rate, growth):
    right = torch.tensor([[0.6, 0.3, 0.2], [0.4, 0.9, 0.2]], dtype=torch.float64)
    there = torch.tensor([[True, True, True], [True, False, True]])
    scores = [0.5, 0.3, 0.2]
    expected = []
    for place, score in enumerate(scores):
        rho = score / (sum(s for other, s in enumerate(scores) if other != place) / 2)
        expected.append(min(1.0, rate * (1 + growth * math.tanh(rho - 1))) if rho > 1 else 0.0)
    torch.testing.assert_close(dropping(right, there, rate, growth), torch.tensor(expected, dtype=torch.float64))


def test_the_input_ahead_is_left_out_that_often_and_never_where_it_is_alone():
    torch.manual_seed(0)
    features, outputs, truth = drawn()
    seen = method(share=1.0).border(features, outputs, truth)
    q = 0.5 * (1 + 0.5 * math.tanh(0.8 / 0.4 - 1))
    beside = features["b"].present()
    assert abs(float((~seen["a"].present())[beside].float().mean()) - q) < 0.03
    assert seen["a"].present()[~beside].all()  # it would lose all
    assert torch.equal(seen["b"].mask, features["b"].mask)
    left = seen["a"].present()
    torch.testing.assert_close(seen["a"].tokens[left], features["a"].tokens[left])
    assert not seen["a"].tokens[~left].any()


def test_it_acts_in_a_share_of_the_batches_and_after_its_first_epochs():
    torch.manual_seed(0)
    features, outputs, truth = drawn(size=20)

    def acts(one):
        return not torch.equal(one.border(features, outputs, truth)["a"].mask, features["a"].mask)

    some = method(rate=1.0, share=0.7)
    assert abs(sum(acts(some) for _ in range(600)) / 600 - 0.7) < 0.06
    assert not any(acts(method(rate=1.0, share=0.0)) for _ in range(20))
    late = method(rate=1.0, share=1.0, warmup=2)
    assert not acts(late)
    for number, expected in ((1, False), (2, False), (3, True)):
        late.epoch(number, None)
        assert acts(late) == expected


def test_unknown_truth_says_nothing_of_who_is_ahead():
    """Of the known rows `b` is ahead; the placeholder of the others is not read."""
    torch.manual_seed(0)
    features, outputs, truth = drawn(size=8)
    outputs = {"a": outputs["a"], "b": torch.where(torch.arange(8)[:, None] < 2, 30 * torch.eye(3)[0], outputs["b"])}
    known = {"label": truth["label"].where(torch.arange(8) < 2, -100), "mask": torch.arange(8) < 2}
    seen = method(rate=1.0, share=1.0).border(
        {**features, "b": Features.of(features["b"].tokens, torch.ones(8, dtype=torch.bool)[:, None].expand(8, 2))},
        outputs,
        known,
    )
    assert seen["a"].present().all()
    assert not seen["b"].present().any()


@pytest.mark.parametrize(
    ("fusion", "objectives"),
    [
        ("late", []),
        ("late", ["unimodal"]),
        ("evidential", []),
        ("evidential:joint=true", []),
        ("confidence", []),
        ("energy", []),
        ("log-pool", ["confidence-ranking"]),
    ],
)
def test_at_decision_level_no_loss_reads_what_a_head_says_of_an_input_that_was_hidden_from_it(fusion, objectives):
    step, batch, truth = balanced(fusion, "opm:rate=1,share=1,warmup=0", objectives=objectives)
    losses, output = step(batch, truth)
    features = step.model.encode(batch)
    seen, _ = step.balance.at_border(features, truth)
    hidden = {name: part.present() & ~seen[name].present() for name, part in features.items()}
    assert any(rows.any() for rows in hidden.values())
    said = {**output.unimodal, **output.fused.details}
    read = [loss for name, loss in losses.items() if not name.startswith("balance.")]
    own = [loss for name, loss in losses.items() if name.startswith(("unimodal.", "objective."))]
    assert own
    for loss in (torch.stack(read).sum(), torch.stack(own).sum()):
        leaves = [one for one in said.values() if one.requires_grad]
        found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        for name, gradient in zip([n for n, one in said.items() if one.requires_grad], found, strict=True):
            of_input = name.rpartition(".")[2]
            if of_input in hidden:
                assert not gradient[hidden[of_input]].any(), name
        assert any(gradient.any() for gradient in found)


def test_the_own_loss_of_a_head_is_over_the_rows_that_it_saw():
    step, batch, truth = balanced("late", "opm:rate=1,share=1,warmup=0")
    losses, output = step(batch, truth)
    seen, _ = step.balance.at_border(step.model.encode(batch), truth)
    known = truth["mask"]
    for name, part in seen.items():
        head = step.model.unimodal[name]
        of_rows = head.loss(head(part), truth).detach()
        expected = sum(float(of_rows[row]) for row in range(12) if known[row] and part.present()[row])
        torch.testing.assert_close(float(losses[f"unimodal.{name}"].detach()), expected / int(known.sum()))
        assert torch.equal(output.shown(name), part.present())
    assert any(not torch.equal(output.shown(n), part.present()) for n, part in output.features.items())


def test_heads_beside_a_fusion_of_features_see_what_is_hidden_from_it():
    """So their losses are over all rows that have the input."""
    step, batch, truth = balanced("concat", "opm:rate=1,share=1,warmup=0", objectives=["unimodal"])
    _, output = step(batch, truth)
    seen, _ = step.balance.at_border(step.model.encode(batch), truth)
    assert any(not torch.equal(seen[n].mask, part.mask) for n, part in output.features.items())
    assert not output.seen
    for name, part in output.features.items():
        assert torch.equal(output.shown(name), part.present())


def test_in_a_step_what_is_left_out_teaches_nothing():
    """Where the input that is ahead is always left out, its encoder learns from rows where it is alone."""
    step, batch, truth = balanced("concat", "opm:rate=1,share=1,warmup=0")
    found = gradients_of(step, batch, truth)
    features = step.model.encode(batch)
    seen, _ = step.balance.at_border(features, truth)
    loss = step.model.output_head.loss(step.model.fuse(seen).output, truth).sum() / truth["mask"].sum()
    encoders = {f"model.encoders.{n}": p for n, p in step.model.encoders.named_parameters()}
    expected = torch.autograd.grad(loss, list(encoders.values()))
    assert any(not torch.equal(seen[name].mask, part.mask) for name, part in features.items())
    for name, gradient in zip(encoders, expected, strict=True):
        torch.testing.assert_close(found[name], gradient)
    for name, part in features.items():
        gone = ~seen[name].present() & part.present()
        others = torch.stack([features[other].present() for other in features if other != name]).any(0)
        assert not (gone & ~others).any()
