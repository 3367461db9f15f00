"""Two processes that share a batch under DDP get the gradients of one process that has all of it.

One pair of processes does all cases; this file, run as a script, is what each of them does.
"""

import datetime as dt
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from mmkit.data.dataset import Dataset
from mmkit.data.splits import splits_of
from mmkit.experiments.plan import plan
from mmkit.model.assembly import Transforms
from mmkit.model.missing import Absence
from mmkit.model.step import build_step
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from tests.launching import started, told

pytestmark = pytest.mark.minutes

SIZE = 2
ROWS = 6  # of each process
SPECS = {
    entry.name: entry.spec
    for entry in installed().available("fusion")
    if entry.distribution == "mmkit-core" and isinstance(entry.spec, FusionSpec)
}
FUSIONS = sorted(SPECS)
CASES = {
    **{fusion: (fusion, [], None, "none") for fusion in FUSIONS},
    "attention, unimodal": ("attention", ["unimodal"], None, "none"),
    "concat, contrastive": ("concat", ["contrastive"], None, "none"),
    "attention, tokens": ("attention", [], Absence("token"), "none"),
    "log-pool, bank": ("log-pool", [], Absence("bank"), "none"),
    "concat, decoupled": ("concat", [], None, "decoupled"),
    "concat, gradient-blending": ("concat", [], None, "gradient-blending"),
    "concat, ogm": ("concat", [], None, "ogm"),
    "attention, mmpareto": ("attention", [], None, "mmpareto"),
    "concat, agm": ("concat", [], None, "agm"),
    "concat, pmr": ("concat", [], None, "pmr"),
    "late, opm": ("late", [], None, "opm:rate=1,share=1,warmup=0"),
    "energy, opm": ("energy", [], None, "opm:rate=1,share=1,warmup=0"),
}
KNOWN = {
    "uneven": [True, True, True, True, True, False, True, False, False, False, True, False],  # 5 of one, 2 of the other
    "all of one": [True] * ROWS + [False] * ROWS,
    "one sample": [False] * ROWS + [True] + [False] * (ROWS - 1),
    "none": [False] * 2 * ROWS,
}


def step_and_batch(case, known, seed=0):
    """A step in float64 without dropout, and the whole batch; the second half has no `left` at all."""
    fusion, objectives, absence, balance = CASES[case]
    inputs = min(3, SPECS[fusion].max_inputs or 3)
    asked = plan(
        installed(),
        task=f"synthetic-unique:inputs={inputs},missing=0.2,train=64",
        fusions=[fusion],
        objectives=objectives,
        balances=[balance],
        encoders={"series": ["fcn:width=8,layers=1"]},
    )
    (combination,) = asked.combinations
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    train = splits("train")
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    torch.manual_seed(seed)
    step = build_step(combination, transforms, absence=absence).double().eval()
    if step.balance is not None:
        step.balance.train()  # it acts in training alone
    data = Dataset.of(train, transforms.inputs, transforms.truth, augment=False)
    batch, truth = data.batch(torch.arange(SIZE * ROWS))
    batch = {
        name: {leaf: t.double() if t.is_floating_point() else t for leaf, t in leaves.items()}
        for name, leaves in batch.items()
    }
    batch["left"]["mask"][ROWS:] = False
    return step, batch, {**truth, "mask": torch.tensor(KNOWN[known])}


def of_rank(tree, rank):
    return {k: of_rank(v, rank) if isinstance(v, dict) else v.chunk(SIZE)[rank] for k, v in tree.items()}


def gradients(step):
    return {name: parameter.grad for name, parameter in step.named_parameters() if parameter.grad is not None}


def has_unread(step, *given):
    """Whether evaluation leaves parameters alone: the noise of a router, what a penalty compares with."""
    if step.balance is not None:
        return False
    total(step(*given)[0]).backward()
    return len(gradients(step)) < len(list(step.parameters()))


def total(losses):
    return torch.stack(list(losses.values())).sum()


def work(folder):
    """What one process does: every case twice, since DDP tells of a parameter without gradient at the second."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=dt.timedelta(seconds=60))
    rank = distributed.get_rank()
    for case in CASES:
        for known in KNOWN:
            step, batch, truth = step_and_batch(case, known, seed=rank)  # DDP gives all the weights of the first
            own, own_truth = of_rank(batch, rank), of_rank(truth, rank)
            count = own_truth["mask"].sum()
            distributed.all_reduce(count)
            unread = has_unread(step, own, own_truth, count / SIZE)
            wrapped = DistributedDataParallel(step, find_unused_parameters=unread)
            for _ in range(2):
                step.zero_grad()
                total(wrapped(own, own_truth, count / SIZE)[0]).backward()
            save_file(gradients(step), folder / f"{case}, {known}, {rank}.safetensors")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left their gradients."""
    folder = tmp_path_factory.mktemp("processes")
    said, codes = told(started([sys.executable, __file__, str(folder)]))
    assert codes == [0] * SIZE, "\n".join(said)
    return folder


@pytest.mark.full
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("case", CASES)
def test_both_processes_have_the_gradients_of_the_whole_batch(folder, case, known):
    first, second = (load_file(folder / f"{case}, {known}, {rank}.safetensors") for rank in range(SIZE))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    step, batch, truth = step_and_batch(case, known)
    total(step(batch, truth)[0]).backward()
    expected = gradients(step)
    first = {name: gradient for name, gradient in first.items() if name in expected or gradient.any()}
    torch.testing.assert_close(first, expected, rtol=1e-9, atol=1e-12)
    assert any(gradient.abs().max() > 1e-6 for gradient in first.values()) == (known != "none")


def test_without_the_common_count_each_process_weighs_as_much_whatever_truth_it_has():
    step, batch, truth = step_and_batch("attention", "uneven")
    total(step(batch, truth)[0]).backward()
    whole = {name: gradient.clone() for name, gradient in gradients(step).items()}
    step.zero_grad()
    for rank in range(SIZE):
        (total(step(of_rank(batch, rank), of_rank(truth, rank))[0]) / SIZE).backward()
    assert max((gradient - whole[name]).abs().max() for name, gradient in gradients(step).items()) > 1e-3


if __name__ == "__main__":
    work(Path(sys.argv[1]))
