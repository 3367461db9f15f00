"""Confidence ranking, against chains written out for one sample at a time, for every order they may be drawn in."""

import itertools
import math

import pytest
import torch

from mmkit.contract import Features, ModelOutput, Target
from mmkit.fusions.outputs.log_pool import LogPoolFusion
from mmkit.objectives.confidence_ranking import ConfidenceRankingObjective
from tests.model.network_cases import trained_from

C = 3
TARGET = Target("classes", C)


def given(names, seed=0, rows=None):
    """Outputs of each input and of the whole, every pattern of missing inputs once, and truth for all but the last."""
    patterns = list(itertools.product([True, False], repeat=len(names)))
    size = rows or len(patterns)
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(patterns * size)[:size] if rows is None else torch.ones(size, len(names), dtype=torch.bool)
    features = {name: Features.of(torch.ones(size, 2).double(), there[:, i]) for i, name in enumerate(names)}
    said = {name: 2 * torch.randn(size, C, generator=generator).double() for name in names}
    whole = Features.of(2 * torch.randn(size, C, generator=generator).double())
    mask = torch.ones(size, dtype=torch.bool)
    mask[-1] = rows is not None
    label = torch.randint(C, (size,), generator=generator).masked_fill(~mask, -100)
    return ModelOutput(features, whole, whole.vector(), said), {"label": label, "mask": mask}


def chances(numbers):
    powers = [math.exp(number) for number in numbers]
    return [power / sum(powers) for power in powers]


def chain(order, output, truth, row, ranking):
    """The loss of a sample whose inputs join in this order."""
    pool, surprise, sure = [0.0] * C, [], []
    for name in order[:-1]:
        pool = [p + float(o) for p, o in zip(pool, output.unimodal[name][row], strict=True)]
        surprise.append(-math.log(chances(pool)[int(truth["label"][row])]))
        sure.append(max(chances(pool)))
    sure.append(max(chances(output.output[row].tolist())))
    falls = sum(max(0.0, fewer - more) for fewer, more in itertools.pairwise(sure))
    return sum(surprise) / len(surprise) + ranking * falls if surprise else 0.0


def there(output, row):
    return [name for name in sorted(output.features) if bool(output.features[name].present()[row])]


@pytest.mark.parametrize("inputs", [2, 3, 5])
@pytest.mark.parametrize("ranking", [0.1, 2.0])
def test_in_evaluation_inputs_leave_from_the_last_name(inputs, ranking):
    names = [f"i{i}" for i in range(inputs)]
    output, truth = given(names)
    objective = ConfidenceRankingObjective(dict.fromkeys(names, 2), C, TARGET, ranking=ranking, weight=0.5).eval()
    found = objective(output, truth)
    for row in range(len(found)):
        expected = 0.5 * chain(there(output, row), output, truth, row, ranking) if truth["mask"][row] else 0.0
        assert float(found[row]) == pytest.approx(expected)


def test_in_training_each_sample_draws_an_order_of_its_own():
    names = list("abc")
    output, truth = given(names)
    objective = ConfidenceRankingObjective(dict.fromkeys(names, 2), C, TARGET).train()
    torch.manual_seed(0)
    seen = [set() for _ in truth["mask"]]
    for _ in range(100):
        for row, loss in enumerate(objective(output, truth).tolist()):
            seen[row].add(round(loss, 9))
    together = set()
    for row, losses in enumerate(seen):
        orders = itertools.permutations(there(output, row)) if truth["mask"][row] else []
        possible = {round(chain(order, output, truth, row, 0.1), 9) for order in orders} or {0.0}
        assert losses == possible  # 100 draws miss one of six orders once in ten million
        together |= losses
    rows = objective(*given(names, rows=64))
    assert len({round(loss, 9) for loss in rows.tolist()}) == 64


def test_of_log_pool_the_pools_are_what_it_predicts_with_inputs_left_out():
    names, size = list("abc"), 5
    fusion = LogPoolFusion(dict.fromkeys(names, C), TARGET)
    output, truth = given(names, rows=size)

    def predicted(kept):
        mask = {name: torch.full((size,), name in kept) for name in names}
        return fusion({name: Features.of(output.unimodal[name], mask[name]) for name in names}).vector()

    whole = ModelOutput(output.features, output.fused, predicted(names), output.unimodal)
    found = ConfidenceRankingObjective(dict.fromkeys(names, 2), C, TARGET, ranking=1.0).eval()(whole, truth)
    losses = [torch.nn.functional.cross_entropy(predicted(k), truth["label"], reduction="none") for k in ("a", "ab")]
    sure = [predicted(kept).softmax(1).amax(1) for kept in ("a", "ab", "abc")]
    falls = (sure[0] - sure[1]).clamp(min=0) + (sure[1] - sure[2]).clamp(min=0)
    torch.testing.assert_close(found, (losses[0] + losses[1]) / 2 + falls)


def test_confidence_that_grows_with_the_inputs_leaves_the_losses_alone():
    names = list("abc")
    _, truth = given(names, rows=4)
    said = {name: torch.eye(C)[truth["label"]].double() for name in names}
    features = {name: Features.of(torch.ones(4, 2).double()) for name in names}
    whole = Features.of(sum(said.values()))
    output = ModelOutput(features, whole, whole.vector(), said)
    losses = [
        ConfidenceRankingObjective(dict.fromkeys(names, 2), C, TARGET, ranking=r)(output, truth) for r in (0.0, 5.0)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)


def test_each_hinge_is_a_samples_own():
    """The sum over the batch does not let samples in the right order make up for those in the wrong one."""
    names = list("ab")
    sure, unsure = torch.tensor([5.0, 0, 0]).double(), torch.zeros(3).double()
    said = {"a": torch.stack([sure, unsure]), "b": torch.zeros(2, 3).double()}
    features = {name: Features.of(torch.ones(2, 2).double()) for name in names}
    whole = Features.of(torch.stack([unsure, sure]))
    truth = {"label": torch.tensor([0, 0]), "mask": torch.ones(2, dtype=torch.bool)}
    given_ = ModelOutput(features, whole, whole.vector(), said)
    pair = [
        ConfidenceRankingObjective(dict.fromkeys(names, 2), C, TARGET, ranking=r).eval()(given_, truth) for r in (0, 1)
    ]
    fall = float(sure.softmax(0).max() - 1 / 3)
    torch.testing.assert_close(pair[1] - pair[0], torch.tensor([fall, 0.0]).double())


def test_what_it_cannot_rank_is_refused():
    with pytest.raises(ValueError, match="the confidence-ranking objective pairs inputs and needs two; got a"):
        ConfidenceRankingObjective({"a": 2}, C, TARGET)
    with pytest.raises(ValueError, match="those of classes; the target is 'scalar'"):
        ConfidenceRankingObjective({"a": 2, "b": 2}, C, Target("scalar", C))


@pytest.mark.parametrize("fusion", ["log-pool", "concat"])
def test_it_trains_beside_fusions_of_outputs_and_of_features(fusion):
    step, data = trained_from(fusion, objectives=["confidence-ranking"])
    losses, _ = step(*data.batch(torch.arange(16)))
    losses["objective.confidence-ranking"].backward()
    reached = {name.split(".")[1] for name, p in step.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"encoders", "unimodal"} <= reached
