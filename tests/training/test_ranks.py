"""Two real processes train what one process trains: weights, buffers, history and choice, in float64.

One pair of processes does all cases; this file, run as a script, is what each of them does.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmkit.data.dataset import Dataset
from mmkit.data.splits import splits_of
from mmkit.errors import DataError, UsageError
from mmkit.experiments.plan import plan
from mmkit.layers.batch_sums import added_by
from mmkit.model.assembly import Transforms
from mmkit.model.prediction import losses_of_samples
from mmkit.model.step import build_step
from mmkit.registry.catalog import installed
from mmkit.system.ranks import Ranks, ranks, together
from mmkit.system.settings import Settings
from mmkit.training.distributed import check_batches, check_samples, norms_of_all
from mmkit.training.loop import fit
from mmkit.training.micro_batches import parts_of
from mmkit.training.optimisation import Training
from tests.launching import started, told

SIZE = 2
ROWS = 40  # in batches of 7 and 6: the ranks have 4 and 3, or 3 each
COMMON = {"epochs": 3, "min_steps": 0, "batch_size": 7, "lr": 0.01}
WHOLE = {  # of the methods that draw for each row, what they do where nothing is left to chance
    "opm": "opm:rate=1,share=1,warmup=0",
}
DRAWS = {"confidence-ranking"}
"""Objectives that draw for each sample: of two processes other numbers."""
TEACHERS = {"distillation"}
NEEDS = {"confidence-loss": "confidence", "energy-ranking": "energy", "evidential-loss": "evidential"}


def named(kind):
    return sorted(entry.name for entry in installed().available(kind) if entry.distribution == "mmkit-core")


CASES = {
    "plain": ("concat", [], "none", {}),
    "clipped, averaged": ("attention", [], "none", {"clip": 0.05, "ema": 0.8, "average": 2}),
    "in parts": ("attention", [], "none", {"micro_batch": 2}),  # of an encoder that does not look at the batch
    "one row each": ("concat", [], "none", {"batch_size": 2, "epochs": 1}),
    "tokens": ("attention", [], "none", {"missing": "token"}),
    "stopped": ("concat", [], "none", {"patience": 1, "lr": 0.3, "epochs": 12}),
    "balanced": ("concat", [], "none", {"sampler": "balanced"}),
    **{
        f"objective {name}": (NEEDS.get(name, "attention"), [name], "none", {})
        for name in named("objective")
        if name not in DRAWS | TEACHERS
    },
    "objective moments of mmd": ("attention", ["moments:distance=mmd"], "none", {}),
    **{f"balance {name}": ("sum", [], WHOLE.get(name, name), {}) for name in named("balance")},
}


def trained(case):
    """The state after training, and what was chosen."""
    fusion, objectives, balance, options = CASES[case]
    training = Training(**(COMMON | options))
    asked = plan(
        installed(),
        task="synthetic-unique:missing=0.4,train=64",
        fusions=[fusion],
        objectives=objectives,
        balances=[balance],
        encoders={"series": ["series-rnn:width=8" if training.micro_batch else "fcn:width=8,layers=1"]},
    )
    (combination,) = asked.combinations
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    train, held = splits("train"), splits("validation")
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    torch.manual_seed(0)
    step = build_step(combination, transforms, absence=training.absence).double()
    for part in step.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0  # type: ignore[assignment]  # of a module of ours
    data, validation = (precise(samples, transforms) for samples in (train, held))
    data = Dataset(ROWS, data.inputs, {name: leaf[:ROWS] for name, leaf in data.truth.items()})

    def score():
        losses, known = losses_of_samples(step.model, validation, batch_size=16)
        return -float(losses[known].double().mean()), {}

    found = fit(step, data, score, training, seed=0, held_out=validation)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in step.state_dict().items()}
    history = torch.tensor([entry["loss"] for entry in found.history], dtype=torch.float64)
    return {**state, "history": history, "averaged": torch.tensor(found.averaged)}


def precise(samples, transforms):
    """A data set in float64."""
    data = Dataset.of(samples, transforms.inputs, transforms.truth, augment=False)
    inputs = {
        name: replace(one, leaves={n: t.double() if t.is_floating_point() else t for n, t in one.leaves.items()})  # type: ignore[type-var, attr-defined]
        for name, one in data.inputs.items()
    }
    return replace(data, inputs=inputs)


def work(folder):
    torch.set_num_threads(1)
    with together(SIZE) as all_ranks:
        for case in CASES:
            save_file(trained(case), folder / f"{case}, {all_ranks.rank}.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left what they trained."""
    folder = tmp_path_factory.mktemp("ranks")
    said, codes = told(started([sys.executable, __file__, str(folder)]))
    assert codes == [0] * SIZE, "\n".join(said)
    return folder


@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_what_one_does(folder, case):
    first, second = (load_file(folder / f"{case}, {rank}.safetensors") for rank in range(SIZE))
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    torch.testing.assert_close(first, trained(case), rtol=1e-6, atol=1e-7)


class TestBatchNormOfTorch:
    """Of two processes, it counts the rows of both; threads stand for them, whose sums are added up."""

    def test_it_normalises_and_counts_as_one_with_all_rows(self):
        torch.manual_seed(0)
        values = torch.randn(7, 3, 5, dtype=torch.float64)
        whole = nn.BatchNorm1d(3).double()
        expected = whole(values)
        own = nn.BatchNorm1d(3).double()
        others = values[[1, 3, 5]]
        apart = others - values.mean((0, 2)).view(3, 1)
        extra = iter([torch.cat([others.sum((0, 2)), torch.tensor([15.0])]), apart.square().sum((0, 2))])
        with norms_of_all(own, Ranks(0, 2)), added_by(lambda sums: sums + next(extra)):
            found = own(values[::2])
        torch.testing.assert_close(found, expected[::2])
        torch.testing.assert_close(own.state_dict(), whole.state_dict())

    def test_values_far_from_zero_lose_nothing(self):
        torch.manual_seed(0)
        values = 1000 + torch.randn(64, 3, 5)
        norm = nn.BatchNorm1d(3)
        with norms_of_all(norm, Ranks(0, 2)), added_by(lambda sums: sums):
            found = norm(values)
        expected = nn.BatchNorm1d(3).double()(values.double())
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)

    def test_afterwards_it_is_torchs_own(self):
        norm = nn.BatchNorm1d(3)
        with norms_of_all(norm, Ranks(0, 2)):
            assert "forward" in vars(norm)
        assert "forward" not in vars(norm)


def test_a_batch_smaller_than_the_world_is_refused():
    with pytest.raises(UsageError, match="3 ranks share each batch, and one of this training has 2 samples"):
        check_batches(2, Ranks(0, 3))


@pytest.mark.parametrize("other", [{"samples of train": 71}, {"values that it cannot read": 1}])
def test_ranks_that_can_use_other_samples_or_values_are_an_error(other):
    usable = {"samples of train": 72, "samples of validation": 18, "values that it cannot read": 0}
    check_samples([usable, usable])
    with pytest.raises(DataError, match=r"rank 1 of 2 has 7[12] samples of train, 18 .* validation, [01] values"):
        check_samples([usable, usable | other])


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [8, 9, 33])
@pytest.mark.parametrize("most", [1, 2, 5, 64])
def test_each_rank_has_a_row_of_every_part(world, size, most):
    parts = parts_of(size, most, world)
    least, greatest = size // world, -(-size // world)
    assert 1 <= parts <= least
    assert -(-greatest // parts) <= most + 1


def test_without_a_launcher_there_is_one():
    with together(1) as alone:
        assert (alone.world, alone.first, ranks().world) == (1, True, 1)
        assert alone.gathered("x") == ["x"]
        assert alone.any(*(flags := (False, True))) == flags
        assert alone.share(torch.arange(3)).tolist() == [0, 1, 2]
        assert alone.seed(5) == 5


def test_ranks_draw_other_numbers():
    seeds = {Ranks(rank, 4).seed(5) for rank in range(4)}
    assert len(seeds) == 4


def test_fewer_than_expected_is_an_error():
    with pytest.raises(UsageError, match=r"2 ranks are asked for, and 1 was started"), together(2):
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is below WORLD_SIZE"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "whole numbers; the environment says RANK=x, LOCAL_RANK=x"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR and MASTER_PORT, and the environment has no"),
    ],
)
def test_an_environment_that_makes_no_sense_is_an_error(monkeypatch, given, message):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message), together():
        pass


if __name__ == "__main__":
    work(Path(sys.argv[1]))
