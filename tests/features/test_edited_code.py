"""Features of a frozen encoder are never those that other code gave, in this process or in another."""

import subprocess
import sys
import warnings
from typing import ClassVar

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features, Samples
from mmkit.features.cache import cache_entries

SCRIPT = """
import sys
import mmkit, torch
from torch import nn
from mmkit.contract import Features, Samples
from helper import gain

class Mean:
    augments = False
    def fit(self, values): pass
    def __call__(self, values, generator=None):
        mask = torch.tensor([v is not None for v in values])
        return {"x": torch.stack([torch.zeros(2) if v is None else v.mean(0) for v in values]), "mask": mask}
    def state(self): return {}
    def restore(self, state): pass

class Stat(nn.Module):
    reads = Mean
    frozen = True
    width = 2
    def __init__(self, transform):
        super().__init__()
    def forward(self, batch):
        return Features.of(gain(batch["x"]), batch["mask"])

class Task:
    inputs = {"s": "series"}
    target, metric, encoders, training = "classes", "accuracy", {}, {}
    def split(self, name):
        x = torch.randn(60, 8, 2, generator=torch.Generator().manual_seed(len(name)))
        return Samples([f"{name}{i}" for i in range(60)], {"s": list(x)}, ["y" if v.mean() > 0 else "n" for v in x])

suite = mmkit.bench(
    task=Task, encoders={"s": Stat}, fusion="concat", baselines=False, seeds=1, cost=False, cache="cache",
    training={"epochs": 20, "min_steps": 0}, out=sys.argv[1], progress=False, device="cpu",
)
print(suite.records[0].metrics["accuracy"])
"""
HELPER = "def gain(x):\n    return x\n"


@pytest.fixture
def run(tmp_path):
    numbers = iter(range(9))

    def once(script=SCRIPT, helper=HELPER):
        (tmp_path / "script.py").write_text(script)
        (tmp_path / "helper.py").write_text(helper)
        done = subprocess.run(
            [sys.executable, "-B", "script.py", f"out{next(numbers)}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout), len(cache_entries(tmp_path / "cache"))

    return once


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(
            lambda script, helper: (script.replace('gain(batch["x"])', 'batch["x"] * 0'), helper), id="encoder"
        ),
        pytest.param(
            lambda script, helper: (script.replace("v.mean(0)", "v.mean(0) * 0"), helper),
            id="transform",
            marks=pytest.mark.full,
        ),
        pytest.param(
            lambda script, helper: (script, helper.replace("return x", "return x * 0")),
            id="helper",
            marks=pytest.mark.full,
        ),
    ],
)
def test_an_edit_is_never_met_by_old_features(run, edit):
    accuracy, entries = run()
    assert accuracy > 0.9  # the mean tells the class
    assert entries == 3
    assert run() == (accuracy, 3)
    edited, entries = run(*edit(SCRIPT, HELPER))
    assert edited < 0.7  # there is nothing left to tell it by
    assert entries == 6


class Hidden(nn.Module):
    """A frozen encoder whose forward is no function of Python, so that nobody can say whether it has changed."""

    frozen = True
    width = 4

    def __init__(self, transform):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, batch):
        return Features.of(torch.ones(len(batch["mask"]), 4) * batch["mask"].any(1, keepdim=True))


class Act:
    """Stands for what is callable and cannot be looked into."""

    def __call__(self, encoder, batch):
        return None


def test_code_that_cannot_be_seen_is_kept_for_no_other_process_and_no_other_suite(tmp_path):
    from mmkit.transforms.series import SeriesTransform

    scope = {"__name__": "a_notebook", "Hidden": Hidden, "Act": Act, "Series": SeriesTransform}
    exec("class Encoder(Hidden):\n    reads = Series\n    extra = Act()", scope)

    class Task:
        inputs: ClassVar = {"s": "series"}
        target, metric, encoders, training = "classes", "accuracy", {}, {}

        def split(self, name):
            return Samples([f"{name}{i}" for i in range(8)], {"s": [torch.ones(4, 1)] * 8}, ["y", "n"] * 4)

    def bench():
        return mmkit.bench(
            task=Task,
            encoders={"s": mmkit.installed().choose("encoder", scope["Encoder"], {"noise": 0.0, "time_mask": 0.0})},
            fusion="concat",
            baselines=False,
            seeds=1,
            cost=False,
            cache=tmp_path / "cache",
            training={"epochs": 1, "min_steps": 0},
            out=tmp_path / "out",
            device="cpu",
            progress=False,
        )

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = bench()
    said = [str(one.message) for one in told]
    assert first.records[0].status == "ok", first.records[0].error
    assert len([line for line in said if "no run is taken from an earlier suite" in line]) == 1
    assert len([line for line in said if "so its features are kept in memory only" in line]) == 1
    assert cache_entries(tmp_path / "cache") == []
