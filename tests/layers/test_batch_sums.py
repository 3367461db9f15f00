"""Statistics of a batch that two real processes share are those of one process that has all of it.

One pair of processes does all cases; this file, run as a script, is what each of them does.
"""

import datetime as dt
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mmkit.balances.ogm import modulation
from mmkit.layers.batch_sums import added_by, batch_sums
from mmkit.layers.discrepancy import likeness, moment_distance
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.routing import imbalance

SIZES = (7, 3)
"""Rows of each process."""
ROWS = sum(SIZES)
STEPS = 5


class Network(nn.Module):
    """Two masked norms behind maps, one before a shape with more positions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4, bias=False)  # a shift before a norm has no gradient but rounding
        self.norm = MaskedBatchNorm(4)
        self.second = nn.Conv1d(4, 2, 1, bias=False)
        self.other = MaskedBatchNorm(2)

    def forward(self, values, mask):
        """[B] from [B T 3] and [B T]."""
        x = self.norm(self.first(values).transpose(1, 2), mask).relu()
        x = self.other(self.second(x), mask)
        return (x.square().sum(1) * mask).sum(1)


def network():
    torch.manual_seed(0)
    return Network().double().train()


def batches():
    """Values, masks and truth; a row of each is wholly missing, and in one step the last process has nothing."""
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        values = 2 + torch.randn(ROWS, 5, 3, generator=generator, dtype=torch.float64)
        mask = torch.rand(ROWS, 5, generator=generator) < 0.6
        mask[1] = False
        if step == 2:
            mask[SIZES[0] :] = False
        yield values, mask, torch.randn(ROWS, generator=generator, dtype=torch.float64)


def of_rank(tensor, rank):
    return tensor.split(SIZES)[rank]


def trained(wrapped, module, take, world):
    """The weights and statistics after some steps; the loss is the mean over the whole batch."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    for batch in batches():
        values, mask, truth = (take(one) for one in batch)
        optimizer.zero_grad()
        ((wrapped(values, mask) - truth).square().sum() / ROWS * world).backward()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def statistics(take):
    """Each statistic of a batch, and the gradient that its rows get from it."""
    generator = torch.Generator().manual_seed(2)
    one, other = (torch.rand(ROWS, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = (torch.rand(ROWS, generator=generator) < 0.7).double()
    scores = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    right, there = torch.rand(ROWS, 3, generator=generator).double(), torch.rand(ROWS, 3, generator=generator) < 0.6
    found = {}
    for name, of, given in (
        ("moments", lambda a: moment_distance(a, take(other), take(weight)), one),
        ("likeness", lambda a: likeness(a, take(other), take(weight)), one),
        ("experts", lambda a: imbalance(a, 2), scores),
    ):
        rows = take(given).clone().requires_grad_()
        value = of(rows)
        value.backward()
        found[name], found[f"{name}, gradient"] = value.detach(), rows.grad
    return {**found, "modulation": modulation(take(right), take(there), 0.3)}


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=len(SIZES),
        timeout=dt.timedelta(seconds=60),
    )

    def take(tensor):
        return of_rank(tensor, rank).contiguous()

    module = network()
    weights = trained(DistributedDataParallel(module), module, take, len(SIZES))
    save_file(weights, folder / f"weights {rank}.safetensors")
    save_file(statistics(take), folder / f"statistics {rank}.safetensors")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    pair = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(len(SIZES))
    ]
    try:
        told = [process.communicate(timeout=300)[0] for process in pair]
    finally:
        for process in pair:
            process.kill()
            process.wait()
    assert [process.returncode for process in pair] == [0] * len(SIZES), "\n".join(told)
    return folder


@pytest.mark.full
def test_a_training_with_masked_norms_has_the_weights_of_one_process(folder):
    module = network()
    expected = trained(module, module, lambda tensor: tensor, 1)
    for rank in range(len(SIZES)):
        torch.testing.assert_close(load_file(folder / f"weights {rank}.safetensors"), expected, rtol=1e-7, atol=1e-9)
    apart = network()
    own = trained(apart, apart, lambda tensor: of_rank(tensor, 0), 1)
    assert max((own[name] - expected[name]).abs().max() for name in own) > 1e-2  # the comparison sees other weights


@pytest.mark.full
def test_every_statistic_of_a_batch_counts_all_rows(folder):
    expected = statistics(lambda tensor: tensor)
    for rank in range(len(SIZES)):
        found = load_file(folder / f"statistics {rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            # Each process asks for the statistic, so its rows get their gradient twice, which an average takes back.
            wanted = len(SIZES) * of_rank(value, rank) if name.endswith("gradient") else value
            torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-12, msg=partial(_named, name))


def test_alone_the_sums_are_given_back_as_they_are():
    total, count = torch.rand(3), torch.tensor(4)
    found = batch_sums(total, count)
    assert found[0] is total
    assert found[1] is count


def test_one_message_takes_all_shapes_and_types():
    seen = []

    def add(sums):
        seen.append(sums)
        return 2 * sums

    with added_by(add):
        whole, count, precise = batch_sums(
            torch.arange(6.0).view(2, 3), torch.tensor(5), torch.tensor(0.1, dtype=torch.float64)
        )
    assert [one.dtype for one in seen] == [torch.float64]
    assert whole.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert whole.dtype == torch.float32
    assert (count.item(), count.dtype) == (10, torch.int64)
    assert precise.item() == 0.2


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))


def _named(name, message):
    return f"{name}: {message}"
