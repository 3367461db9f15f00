"""Energy ranking, against a history kept in plain lists, and against torch's ranking loss."""

import math

import pytest
import torch
from torch.nn.functional import margin_ranking_loss
from torch.utils._python_dispatch import TorchDispatchMode

import mmkit
from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.energy_ranking import EnergyRankingObjective

N, C = 9, 3
WIDTHS = {"audio": 4, "image": 4}
TARGET = Target("classes", C, samples=N)


def drawn(index, seed, known=None, missing=()):
    """What a model says of samples at these places of the training split, and the truth."""
    generator = torch.Generator().manual_seed(seed)
    size = len(index)
    present = {name: torch.ones(size, dtype=torch.bool) for name in WIDTHS}
    for name, row in missing:
        present[name][row] = False
    features = {name: Features.of(torch.ones(size, 4).double(), present[name]) for name in WIDTHS}
    said = {name: 2 * torch.randn(size, C, generator=generator).double() for name in WIDTHS}
    told = {f"confidence.{name}": torch.rand(size, generator=generator).double().requires_grad_() for name in WIDTHS}
    fused = Features.of(torch.zeros(size, C).double(), details=told)
    mask = torch.ones(size, dtype=torch.bool) if known is None else torch.tensor(known)
    label = torch.randint(C, (size,), generator=generator).masked_fill(~mask, -100)
    places = torch.tensor(index).masked_fill(~mask, -100)
    return ModelOutput(features, fused, fused.vector(), said), {"label": label, "mask": mask, "index": places}


class Slow:
    """The same with lists, one number at a time."""

    def __init__(self):
        self.losses = {name: [[] for _ in range(N)] for name in WIDTHS}

    def __call__(self, output, truth):
        size = len(truth["mask"])
        shown = {name: (output.features[name].present() & truth["mask"]).tolist() for name in WIDTHS}
        for name in WIDTHS:
            for row in range(size):
                if shown[name][row]:
                    chances = [math.exp(float(o)) for o in output.unimodal[name][row]]
                    loss = -math.log(chances[int(truth["label"][row])] / sum(chances))
                    self.losses[name][int(truth["index"][row])].append(loss)
        found = [0.0] * size
        for name in WIDTHS:
            means = [sum(of) / len(of) for of in self.losses[name] if of]
            told = output.fused.details[f"confidence.{name}"].tolist()
            for row in range(size):
                other = (row + 1) % size
                if shown[name][row] and shown[name][other]:
                    mine, its = (sum(of) / len(of) for of in self._of(name, truth, row, other))
                    gap = (mine - its) / max(max(means) - min(means), 1e-6)
                    sign = (gap > 0) - (gap < 0)
                    found[row] += max(0.0, sign * (told[row] - told[other]) + abs(gap))
        return torch.tensor(found, dtype=torch.float64)

    def _of(self, name, truth, *rows):
        return [self.losses[name][int(truth["index"][row])] for row in rows]


BATCHES = [
    ([0, 1, 2, 3, 4], None, ()),
    ([5, 6, 7, 8], [True, False, True, True], (("audio", 3),)),
    ([4, 4, 0, 2], None, (("image", 0), ("audio", 2))),  # one sample twice
    ([7], None, ()),
    ([1, 3, 8, 6, 5, 0], [False, True, True, True, True, True], (("audio", 0), ("image", 1))),
]


def test_it_is_its_definition_over_several_batches():
    objective, slow = EnergyRankingObjective(WIDTHS, C, TARGET, weight=0.5).double().train(), Slow()
    for seed, (index, known, missing) in enumerate(BATCHES):
        output, truth = drawn(index, seed, known, missing)
        torch.testing.assert_close(objective(output, truth), 0.5 * slow(output, truth))


def test_confidences_in_the_order_and_with_the_gaps_of_the_losses_cost_nothing():
    objective = EnergyRankingObjective(WIDTHS, C, TARGET).double().train()
    output, truth = drawn([0, 1, 2, 3], 0)
    objective(output, truth)
    mean = objective.losses / objective.visits.clamp(min=1)
    span = mean[:4].amax(0) - mean[:4].amin(0)
    right = {f"confidence.{name}": -(mean[:4] / span)[:, i] for i, name in enumerate(WIDTHS)}
    wrong = {name: -told for name, told in right.items()}
    objective.eval()
    for details, cost in ((right, 0.0), (wrong, 0.1 * 2 * 2)):
        fused = Features.of(torch.zeros(4, C).double(), details=details)
        found = objective(ModelOutput(output.features, fused, output.output, output.unimodal), truth)
        gaps = ((mean - mean.roll(-1, 0))[:3] / span).abs().sum(1)
        torch.testing.assert_close(found[:3], cost / 2 * gaps)


def test_the_margin_has_the_sign_that_torchs_ranking_loss_gives_it():
    """Published code turns the order alone; there equal confidences cost nothing."""
    objective = EnergyRankingObjective({"audio": 4}, C, TARGET, weight=1.0).double().train()
    output, truth = drawn([0, 1, 2, 3], 1)
    found = objective(output, truth)
    mean = (objective.losses / objective.visits.clamp(min=1))[:4, 0]
    rank = mean / (mean.max() - mean.min())
    gap, told = rank - rank.roll(-1), output.fused.details["confidence.audio"]
    asked = margin_ranking_loss(told, told.roll(-1) - gap, -gap.sign(), reduction="none")
    torch.testing.assert_close(found, asked)


def test_outside_of_training_nothing_is_noted_and_nothing_is_asked():
    objective = EnergyRankingObjective(WIDTHS, C, TARGET).double().eval()
    output, truth = drawn([0, 1, 2], 0)
    assert not objective(output, truth).any()
    assert not objective.visits.any()
    objective.train()
    del truth["index"]
    assert not objective(output, truth).any()
    assert not objective.visits.any()


def test_confidences_alone_are_taught():
    output, truth = drawn([0, 1, 2, 3], 0)
    for said in output.unimodal.values():
        said.requires_grad_()
    EnergyRankingObjective(WIDTHS, C, TARGET).double().train()(output, truth).sum().backward()
    assert all(said.grad is None for said in output.unimodal.values())
    assert all(told.grad.any() for told in output.fused.details.values())


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="the target is 'labels'"):
        EnergyRankingObjective(WIDTHS, C, Target("labels", C, samples=N))


def test_it_comes_along_and_notes_every_sample_of_training_each_epoch(monkeypatch):
    noted = []
    note = EnergyRankingObjective._note

    def watched(self, *given):
        note(self, *given)
        noted.append(self.visits.clone())

    monkeypatch.setattr(EnergyRankingObjective, "_note", watched)
    mmkit.fit(
        task="synthetic-unique:train=48",
        fusion="energy",
        training={"epochs": 3, "min_steps": 0, "batch_size": 16},
        device="cpu",
    )
    assert len(noted) == 9
    assert (noted[-1] == 3).all()


class Largest(TorchDispatchMode):
    """The most numbers that a step makes anew."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **kwargs or {})
        if isinstance(found, torch.Tensor) and not func.overloadpacket.__name__.endswith("_"):
            self.numbers = max(self.numbers, found.numel())
        return found


def test_a_step_looks_at_some_of_many_samples_and_the_range_is_that_of_all():
    many = 10_000
    objective = EnergyRankingObjective(WIDTHS, C, Target("classes", C, samples=many)).double().train()
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        index = torch.randint(many if seed % 2 else 30, (8,), generator=generator).tolist()
        output, truth = drawn(index, seed, missing=(("audio", 3),))
        with Largest() as made:
            objective(output, truth)
        assert made.numbers < many / 5
        seen = objective.visits > 0
        mean = objective.losses / objective.visits.clamp(min=1)
        assert torch.equal(objective.highest.amax(0), mean.masked_fill(~seen, -torch.inf).amax(0))
        assert torch.equal(objective.lowest.amin(0), mean.masked_fill(~seen, torch.inf).amin(0))
