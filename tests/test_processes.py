"""Training on several processes: two over gloo, on this machine's loopback."""

import json
import subprocess
import sys

import pytest
import torch

SOURCE = """
import json, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from mmkit.catalog import installed
from mmkit.combination import Transforms, born
from mmkit.data import Dataset
from mmkit.model import TrainingStep
from mmkit.plan import plan
from mmkit.run import splits_of

torch.set_num_threads(1)
rank, fusion, meeting, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
asked = plan(installed(), task="synthetic-unique:inputs=3,train=32", fusions=[fusion], objectives=["unimodal"])
splits = splits_of(asked.task, installed(), "fail", None)
train = splits("train")
transforms = Transforms.fitted(asked.combinations[0], "classes", train.inputs, train.truth)
torch.manual_seed(0)
step = TrainingStep(*born(asked.combinations[0], transforms)).double().eval()
data = Dataset.of(train, transforms.inputs, transforms.truth, augment=False)
batch, truth = data.batch(torch.arange(12))
batch = {i: {n: x.double() if x.is_floating_point() else x for n, x in b.items()} for i, b in batch.items()}
batch["left"]["mask"][:5] = False  # the first process lacks this input altogether
truth = {**truth, "mask": torch.arange(12) % 4 > 0}  # and the two have not the same number of truths
truth["mask"][5] = False

def gradients(step, rows, count):
    some = {i: {n: x[rows] for n, x in b.items()} for i, b in batch.items()}
    torch.stack(list(step(some, {n: x[rows] for n, x in truth.items()}, count)[0].values())).sum().backward()

known = truth["mask"].sum().double()
if rank < 0:
    gradients(step, slice(0, 12), known)
else:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    # An input that no row of a process has must not stop it: every key is always passed, absence is mask.
    wrapped = DistributedDataParallel(step)
    gradients(wrapped, slice(0, 5) if rank == 0 else slice(5, 12), known / 2)
    dist.barrier()
    dist.destroy_process_group()
torch.save({n: p.grad for n, p in step.named_parameters()}, out)
"""


@pytest.mark.parametrize("fusion", ["attention", "concat", "late"])
def test_gradients_of_two_processes_are_those_of_one(fusion, tmp_path):
    outs = {rank: tmp_path / f"{rank}.pt" for rank in (-1, 0, 1)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SOURCE, str(rank), fusion, str(tmp_path / "meeting"), str(out)],
            stderr=subprocess.PIPE,
            text=True,
            env={"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PATH": ""},
        )
        for rank, out in outs.items()
    ]
    errors = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], json.dumps(errors)
    alone, first, second = (torch.load(out, weights_only=True) for out in outs.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in alone.values())
    for found in (first, second):
        torch.testing.assert_close(found, alone)
