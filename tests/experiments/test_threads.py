"""Threads are a setting: they are set before any work, stand in the record, and make another run."""

import pytest
import torch

from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import Run, execute
from mmkit.experiments.suite import carry_out
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.system.state import own_threads

TRAINING = {"epochs": 1, "min_steps": 0}


@pytest.fixture
def threads():
    """As many as there are; they are given back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def planned(threads, seeds=1):
    return plan(
        installed(),
        task="synthetic-unique:train=48",
        fusions=["late"],
        baselines=False,
        seeds=seeds,
        training={**TRAINING, "lr": 0.01},
        settings=Settings("cpu", threads=threads),
    )


def test_none_is_what_torch_has(threads):
    assert Settings("cpu").threads == threads
    assert Settings("cpu", threads=1).document()["threads"] == 1
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="threads is 1 or more"):
            Settings("cpu", threads=wrong)


def test_they_are_set_for_the_work_and_given_back(threads):
    with own_threads(1):
        assert torch.get_num_threads() == 1
        with own_threads(3):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


def test_a_run_is_computed_with_its_own_whatever_the_process_has(threads):
    (combination,) = (asked := planned(1)).combinations
    run = asked.run(combination, 0)
    record, _ = execute(run)
    assert record.run["threads"] == record.machine["threads"] == 1
    assert torch.get_num_threads() == threads
    other = Run.of({**run.document(), "threads": 2})
    splits = run.splits(installed())
    assert other.id(splits) != run.id(splits)
    torch.set_num_threads(1)
    assert run.id(splits) == record.id  # whatever the process has


def test_a_folder_keeps_the_threads_that_it_began_with(threads, tmp_path):
    made = carry_out(planned(1), tmp_path, installed(), cost=False)
    assert {record.machine["threads"] for record in made.records} == {1}
    with pytest.raises(UsageError, match="machine threads 1, and now it is 2"):
        carry_out(planned(2), tmp_path, installed(), cost=False)
    again = carry_out(planned(1), tmp_path, installed(), cost=False)
    assert [record.id for record in again.records] == [record.id for record in made.records]
