"""Gradient-Blending: the weights, where they come from, and what training minimises by them."""

import pytest
import torch

from mmkit.balances.gradient_blending import GradientBlending, blend
from mmkit.contract import Target
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training
from tests.balances.steps import balanced
from tests.model.network_cases import trained_from

NAMES = ["head", "balance.a", "balance.b"]


def method(every=10):
    return GradientBlending({"b": 3, "a": 4}, 6, Target("classes", 2), every=every).double()


def losses(*numbers):
    return dict(zip(NAMES, numbers, strict=True)) | {"objective.other": 9.0}


def test_the_worked_example():
    found = blend(torch.tensor([0.4, 0.2, 0.1]).double(), torch.tensor([0.2, 0.4, 0.1]).double())
    assert [round(w, 3) for w in found.tolist()] == [0.471, 0.059, 0.471]


@pytest.mark.parametrize("seed", range(3))
def test_weights_one_by_one(seed):
    generator = torch.Generator().manual_seed(seed)
    gain, gap = torch.randn(4, generator=generator).double(), torch.randn(4, generator=generator).double()
    each = [max(g, 0) / max(o * o, 1e-4) for g, o in zip(gain.tolist(), gap.tolist(), strict=True)]
    torch.testing.assert_close(blend(gain, gap), torch.tensor([one / sum(each) for one in each]).double())


def test_a_loss_that_rose_has_no_weight():
    assert blend(torch.tensor([-0.4, 0.2]), torch.tensor([0.1, 0.2])).tolist() == [0, 1]


def test_where_no_loss_fell_all_weigh_the_same():
    torch.testing.assert_close(blend(torch.tensor([-1.0, 0.0, -2.0]), torch.ones(3)), torch.full((3,), 1 / 3))


def test_gains_and_gaps_are_those_since_the_last_weighing():
    gb = method(every=2)
    told = {
        1: {"train": losses(2.0, 2.0, 2.0), "validation": losses(2.0, 2.1, 2.2)},
        3: {"train": losses(1.4, 1.4, 2.0), "validation": losses(1.6, 1.9, 2.1)},
    }
    torch.testing.assert_close(gb.weights, torch.full((3,), 1 / 3).double())
    for number in (1, 2, 3):
        gb.epoch(number, lambda split, number=number: told[number][split])
    gain = torch.tensor([0.4, 0.2, 0.1]).double()
    gap = torch.tensor([0.2, 0.5 - 0.1, 0.1 - 0.2]).double()
    torch.testing.assert_close(gb.weights, blend(gain, gap))


def test_it_measures_only_where_it_is_time():
    asked = []

    def measure(split):
        asked.append(split)
        return losses(1.0, 1.0, 1.0)

    gb = method(every=3)
    for number in range(1, 8):
        gb.epoch(number, measure)
    assert asked == ["train", "validation"] * 3


def test_other_losses_keep_their_weight():
    gb = method()
    given = {name: torch.ones(4).double() for name in [*NAMES, "objective.other"]}
    weighed = gb.weigh(given, None, None)
    torch.testing.assert_close(weighed["head"], torch.full((4,), 1 / 3).double())
    torch.testing.assert_close(weighed["objective.other"], given["objective.other"])


class TestInTraining:
    def test_the_loss_is_the_weighted_sum(self):
        step, batch, truth = balanced("concat", "gradient-blending")
        weights = torch.tensor([0.5, 0.1, 0.4, 0.0]).double()
        step.balance.method.weights.copy_(weights)
        weighed, _ = step(batch, truth)
        step.balance.eval()
        plain, _ = step(batch, truth)
        for weight, name in zip(weights, step.balance.method.names, strict=True):
            torch.testing.assert_close(weighed[name], weight * plain[name])

    def test_a_training_measures_whole_splits_in_evaluation(self):
        step, data = trained_from("concat", balances=["gradient-blending:every=1"])
        _, held_out = trained_from("concat")
        told = []
        original = step.balance.method.epoch

        def epoch(number, measure):
            before = {name: tensor.clone() for name, tensor in step.state_dict().items()}
            found = {split: measure(split) for split in ("train", "validation")}
            assert all(torch.equal(tensor, before[name]) for name, tensor in step.state_dict().items())
            step.eval()
            with torch.no_grad():
                for split, of in (("train", data), ("validation", held_out)):
                    batch, truth = of.batch(torch.arange(of.size))
                    expected = {name: float(loss) for name, loss in step(batch, truth)[0].items()}
                    assert found[split] == pytest.approx(expected, rel=1e-4)
            original(number, lambda split: found[split])
            told.append(step.balance.method.weights.clone())

        step.balance.method.epoch = epoch
        fit(step, data, lambda: (0.0, {}), Training(epochs=3, min_steps=0, batch_size=16), seed=0, held_out=held_out)
        assert len(told) == 3
        assert not torch.equal(told[1], told[2])
        assert all(abs(float(w.sum()) - 1) < 1e-6 for w in told)
