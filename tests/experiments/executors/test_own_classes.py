"""Classes of a script travel to workers; one that ends its process costs its own runs, and other data is refused."""

import pickle
import subprocess
import sys
from dataclasses import replace

import cloudpickle
import pytest

from mmkit.errors import DataError, MmkitError
from mmkit.experiments import jobs
from mmkit.experiments.identity import code_of_run, data_of
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.system.executors.jobs import answered, unpacked
from mmkit.system.settings import Settings
from tests.experiments.executors import cases

SCRIPT = """
import os
import signal
import sys

import mmkit
from mmkit.contract import Features
from torch import nn


class Mean(nn.Module):
    def __init__(self, widths, *, width: int = 8):
        super().__init__()
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features):
        return Features.of(sum(self.maps[name](features[name].vector()) for name in self.maps))


class Deadly(Mean):
    def forward(self, features):
        if any("executors.worker" in one for one in sys.orig_argv):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(features)


suite = mmkit.bench(
    task="synthetic-unique:train=96", fusion=[Mean, *([Deadly] if "deadly" in sys.argv else [])], seeds=1,
    training={"epochs": 2, "min_steps": 0, "lr": 0.01}, cost=False, device="cpu", threads=1, out=sys.argv[1],
    workers=int(sys.argv[2]), cache=sys.argv[3],
)
"""


def run(folder, workers, *more):
    file = folder / "script.py"
    file.write_text(SCRIPT)
    command = [sys.executable, str(file), str(folder / f"out {workers}"), str(workers), str(folder / "cache"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cases.ROOT)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.full
def test_classes_of_a_script_travel(tmp_path):
    run(tmp_path, 1)
    run(tmp_path, 2)
    assert cases.compared(tmp_path / "out 1") == cases.compared(tmp_path / "out 2")


@pytest.mark.full
def test_a_run_that_ends_its_process_is_recorded_as_failed_and_the_others_go_on(tmp_path):
    run(tmp_path, 2, "deadly")
    found = list(cases.records(tmp_path / "out 2").values())
    failed = [record for record in found if record.status == "failed"]
    assert {record.fusion for record in failed} == {"__main__.Deadly"}
    assert {record.status for record in found if record.fusion != "__main__.Deadly"} == {"ok"}
    assert all("ended 3 times before it did (by signal SIGKILL)" in record.error for record in failed)


@pytest.fixture
def packed():
    """A job of a small task, with what the suite knows, and a way to pack it with something changed."""
    asked = plan(
        installed(),
        task="synthetic-unique:train=48",
        fusions=["late"],
        baselines=False,
        training={"epochs": 1, "min_steps": 0, "lr": 0.01},
        settings=Settings("cpu", threads=1),
    )
    run = asked.run(asked.combinations[0], 3)
    splits = run.splits(installed())
    code = code_of_run(run.task, run.combination, splits)
    job = jobs.Job("late, seed 1", run.id(splits), run.combination, 3, run.training, code)
    context = jobs.Context(run.task, run.settings, installed(), data_of(splits), None, None)

    def of(job=job, **changed):
        return jobs.Place(replace(context, name=str(changed), **changed), splits, None).packed(job)

    return job, of


def test_a_job_gives_the_record_of_the_run(packed):
    job, of = packed
    result = unpacked(answered(*pickle.loads(pickle.dumps(of()))))
    assert result.record.id == job.id
    assert result.record.status == "ok"
    assert result.model is None
    _, context, message = of()
    assert len(message) < 10_000  # samples and models are never sent
    assert len(context) < 200_000


def test_another_world_than_that_of_the_suite_is_an_error_with_both(packed):
    job, of = packed
    data = {name: {**columns, "input left": "other"} for name, columns in of_context(of).data.items()}
    with pytest.raises(DataError, match="other data than the suite: input left of train"):
        unpacked(answered(*of(data=data)))
    with pytest.raises(MmkitError, match=r"a worker has torch [\d.+a-z]+, and the suite 1\.0"):
        unpacked(answered(*of(software={"torch": "1.0"})))
    other = replace(job, code={**job.code, "mmkit-core": "other"})
    with pytest.raises(MmkitError, match="other code of mmkit-core"):
        unpacked(answered(*of(other)))
    with pytest.raises(MmkitError, match="and the suite other"):
        unpacked(answered(*of(replace(job, id="other"))))


def of_context(of):
    return cloudpickle.loads(of()[1])


def test_an_error_that_cannot_be_sent_is_sent_in_words(packed, monkeypatch):
    _, of = packed

    class Broken:
        def __reduce__(self):
            raise TypeError("not to be sent")

    record = unpacked(answered(*of())).record
    error = ValueError("one", Broken())

    def fails(*given):
        return jobs.Result(record, error)

    monkeypatch.setattr(jobs, "perform", fails)
    result = unpacked(answered(*of()))
    assert isinstance(result.error, MmkitError)
    assert "ValueError: ('one'" in str(result.error)
