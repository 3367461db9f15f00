"""Runs in several processes: the records of one process, whatever is killed, and nothing left running."""

import os
import signal
import sys

import pytest

from mmkit.errors import UsageError
from mmkit.experiments.threads import threads_of
from mmkit.system.executors.choosing import executor_of, workers_of
from mmkit.system.executors.processes import Processes
from mmkit.system.executors.serial import Serial
from mmkit.system.machine import usable_cores
from mmkit.system.settings import Settings
from tests.experiments.executors import cases

SLOW = 20
"""Epochs of a training that is killed in the middle."""

pytestmark = [
    pytest.mark.minutes,
    pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc"),
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process makes."""
    folder = tmp_path_factory.mktemp("serial")
    cases.suite(folder / "out", cache=folder / "cache")
    return cases.compared(folder / "out")


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """The same of longer trainings."""
    folder = tmp_path_factory.mktemp("slow")
    cases.suite(folder / "out", SLOW, cache=folder / "cache")
    return cases.compared(folder / "out")


@pytest.mark.full
class TestProcesses:
    def test_records_and_scores_are_those_of_one_process(self, expected, tmp_path):
        said = cases.ended(cases.started(tmp_path / "out", cache=tmp_path / "cache", workers=2))
        assert cases.compared(tmp_path / "out") == expected
        assert {record.beside for record in cases.records(tmp_path / "out").values()} == {1}
        assert "8 of 8 runs" in said
        assert "Traceback" not in said

    def test_models_are_those_of_one_process(self, tmp_path):
        one, two = tmp_path / "one", tmp_path / "two"
        cases.suite(one, cache=tmp_path / "cache", save=True)
        cases.ended(cases.started(two, cache=tmp_path / "cache", workers=2, save=True))
        files = sorted(file.relative_to(one) for file in (one / "models").rglob("*") if file.is_file())
        assert files == sorted(file.relative_to(two) for file in (two / "models").rglob("*") if file.is_file())
        assert any(file.suffix == ".safetensors" for file in files)
        for file in files:
            if file.name == "trained_on.safetensors":  # hashes of rows under a salt that is drawn
                continue
            assert (one / file).read_bytes() == (two / file).read_bytes(), file

    def test_a_worker_that_is_killed_costs_nothing(self, slow, tmp_path):
        driver = cases.started(tmp_path / "out", SLOW, cache=tmp_path / "cache", workers=2)
        for count in (1, 4):
            cases.waited(lambda count=count: len(cases.records(tmp_path / "out")) >= count, driver)
            worker = cases.waited(lambda: cases.workers_of(driver.pid), driver)[0]
            os.kill(worker, signal.SIGKILL)
        cases.ended(driver)
        assert cases.compared(tmp_path / "out") == slow

    def test_a_suite_that_is_killed_leaves_nothing_running_and_goes_on(self, slow, tmp_path):
        driver = cases.started(tmp_path / "out", SLOW, cache=tmp_path / "cache", workers=2)
        cases.waited(lambda: len(cases.records(tmp_path / "out")) >= 2, driver)
        workers = cases.workers_of(driver.pid)
        assert len(workers) == 2
        driver.kill()
        driver.communicate()  # which closes its pipe
        cases.waited(lambda: not any(map(cases.alive, workers)), patience=10)
        before = cases.times(tmp_path / "out")
        cases.ended(cases.started(tmp_path / "out", SLOW, cache=tmp_path / "cache", workers=2))
        assert cases.compared(tmp_path / "out") == slow
        assert before.items() <= cases.times(tmp_path / "out").items()  # no run was repeated

    def test_an_interrupt_lets_runs_end_and_keeps_them(self, slow, tmp_path):
        driver = cases.started(tmp_path / "out", SLOW, cache=tmp_path / "cache", workers=2)
        cases.waited(lambda: len(cases.records(tmp_path / "out")) >= 1, driver)
        workers = cases.workers_of(driver.pid)
        before = len(cases.records(tmp_path / "out"))
        os.kill(driver.pid, signal.SIGINT)
        said = driver.communicate(timeout=120)[0]
        assert driver.returncode, said
        assert "KeyboardInterrupt" in said
        assert "runs in progress end first and are kept" in said
        assert "the same command with --out" in said
        assert before < len(cases.records(tmp_path / "out")) <= before + 4
        assert not any(map(cases.alive, workers))
        cases.ended(cases.started(tmp_path / "out", SLOW, cache=tmp_path / "cache", workers=2))
        assert cases.compared(tmp_path / "out") == slow

    def test_a_second_interrupt_ends_at_once(self, tmp_path):
        driver = cases.started(tmp_path / "out", 100_000, cache=tmp_path / "cache", workers=2, options=NEVER_ENDS)
        workers = cases.waited(lambda: len(found := cases.workers_of(driver.pid)) == 2 and found, driver)
        cases.waited(lambda: all(map(_busy, workers)), driver)
        os.kill(driver.pid, signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            driver.communicate(timeout=3)
        os.kill(driver.pid, signal.SIGINT)
        driver.communicate(timeout=60)
        assert not any(map(cases.alive, workers))
        assert driver.returncode

    def test_each_feature_is_computed_once(self, tmp_path, monkeypatch):
        import mmkit

        given = {
            "task": "clipart:train=30",
            "encoders": {"image": "timm:model=test_vit"},
            "fusion": ["late", "concat"],
            "seeds": 1,
            "training": {"epochs": 1, "min_steps": 0},
            "cost": False,
            "device": "cpu",
            "threads": 1,
            "progress": False,
        }
        try:
            mmkit.bench(**given, out=tmp_path / "one", cache=tmp_path / "first")
        except UsageError as error:
            pytest.skip(str(error))
        mmkit.bench(**given, out=tmp_path / "two", cache=tmp_path / "second", workers=2)
        assert cases.compared(tmp_path / "one") == cases.compared(tmp_path / "two")
        first, second = (
            sorted(file.name for file in (tmp_path / name).rglob("*") if file.is_file()) for name in ("first", "second")
        )
        assert first == second


NEVER_ENDS = ["train.patience=none"]


def _busy(pid):
    """Whether a process has computed for a while, beyond its imports."""
    from pathlib import Path

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) > 100 * 8  # ticks of a hundredth of a second


def test_what_does_the_runs(tmp_path):
    settings = Settings("cpu", threads=1)
    assert isinstance(executor_of(None, 1, settings), Serial)
    assert isinstance(executor_of(None, 2, settings), Processes)
    assert isinstance(executor_of("processes", 1, settings), Processes)
    assert workers_of(None, None, None) == 1
    assert workers_of("processes", None, None) == usable_cores()
    assert workers_of("processes", None, 100) == 1
    assert workers_of("ray", 3, None) == 3
    for engine, workers, told in (("rey", 2, "no engine rey.*ray"), (None, 0, "workers is 1 or more; got 0")):
        with pytest.raises(UsageError, match=told):
            workers_of(engine, workers, None)


@pytest.mark.full
def test_threads_are_a_fair_share_or_those_of_the_folder(tmp_path):
    assert threads_of(3, 2, tmp_path) == 3
    assert threads_of(None, 1, None) is None
    assert threads_of(None, 1000, tmp_path) == 1
    cases.suite(tmp_path, cache=tmp_path / "cache")  # one thread
    assert threads_of(None, 1, tmp_path) == 1


def test_a_budget_is_not_spent_by_several(tmp_path):
    import mmkit

    with pytest.raises(UsageError, match="leave out --workers"):
        mmkit.bench(task="synthetic-unique", budget="1m", workers=2, out=tmp_path, progress=False)


def test_the_forecast_shares_runs_among_workers_and_says_where_they_save_nothing():
    from mmkit.experiments.forecast import Forecast, Sizes, seconds_of_run
    from mmkit.experiments.pace import Batches, Pace
    from mmkit.training.optimisation import Training

    pace = Pace(1.0, 0.0, 0.0, Batches(0.01, 0.0), Batches(0.0, 0.0), None, {})
    sizes, training = Sizes(train=100, validation=10, test=10), Training(epochs=1, min_steps=0, batch_size=10)
    one = seconds_of_run(pace, training, sizes, "comparison")

    def forecast(workers, runs, start=5.0):
        found = Forecast({"a": pace}, [sizes], workers=workers, start=start)
        found.add(0, "a", training, searches=0, runs=runs)
        return found

    assert forecast(1, 40).estimate().runs == pytest.approx(40 * one)
    assert forecast(4, 40).estimate().runs == pytest.approx(10 * one)
    assert forecast(4, 2).estimate().runs == pytest.approx(one)  # there are no more than two at once
    assert forecast(1, 40).of_workers() == ""
    assert forecast(4, 40).of_workers() == ""
    assert (
        forecast(4, 4).of_workers().startswith("so small a suite is done as soon without workers: starting 4 took 5 s")
    )
