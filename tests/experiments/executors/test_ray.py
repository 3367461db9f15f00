"""Runs on a real Ray that is started here with two workers: the records of one process, whatever is killed."""

import os
import signal
import sys
from pathlib import Path

import pytest

from mmkit.errors import UsageError
from mmkit.system.executors.ray import OnRay
from tests.experiments.executors import cases

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.full,
    pytest.mark.minutes,
    pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc"),
]
SLOW = 20


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process makes."""
    folder = tmp_path_factory.mktemp("serial")
    cases.suite(folder / "out", SLOW, cache=folder / "cache")
    return cases.compared(folder / "out")


def started(folder):
    return cases.started(folder / "out", SLOW, cache=folder / "cache", workers=2, engine="ray")


def busy_workers(group):
    """The processes of Ray that do jobs, of a driver that leads a session."""
    found = []
    for file in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(file.name)) == group and b"ray::answered" in (file / "cmdline").read_bytes():
                found.append(int(file.name))
        except OSError:
            continue
    return found


def test_records_are_those_of_one_process_though_workers_are_killed(expected, tmp_path):
    driver = started(tmp_path)
    for count in (1, 4):
        cases.waited(lambda count=count: len(cases.records(tmp_path / "out")) >= count, driver)
        os.kill(cases.waited(lambda: busy_workers(driver.pid), driver)[0], signal.SIGKILL)
    cases.ended(driver)
    assert cases.compared(tmp_path / "out") == expected
    assert {record.beside for record in cases.records(tmp_path / "out").values()} == {1}


def test_a_cluster_that_does_not_answer_is_an_error_in_words(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UsageError, match=r"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:9.*ray start --head"):
        OnRay(2, 1, "cpu").start()


def test_a_suite_that_is_killed_leaves_nothing_running_and_goes_on(expected, tmp_path):
    driver = started(tmp_path)
    cases.waited(lambda: len(cases.records(tmp_path / "out")) >= 2, driver)
    left = session_of(driver.pid)
    assert len(left) > 3  # the processes of Ray
    driver.kill()
    driver.communicate()
    cases.waited(lambda: not any(map(cases.alive, left)), patience=120)
    before = cases.times(tmp_path / "out")
    again = started(tmp_path)
    cases.ended(again)
    assert cases.compared(tmp_path / "out") == expected
    assert before.items() <= cases.times(tmp_path / "out").items()  # no run was repeated
    cases.waited(lambda: not session_of(again.pid), patience=120)


def test_an_interrupt_lets_runs_end_and_keeps_them(expected, tmp_path):
    driver = started(tmp_path)
    cases.waited(lambda: len(cases.records(tmp_path / "out")) >= 1, driver)
    before = len(cases.records(tmp_path / "out"))
    os.kill(driver.pid, signal.SIGINT)
    said = driver.communicate(timeout=240)[0]
    assert driver.returncode, said
    assert "runs in progress end first and are kept" in said
    assert "the same command with --out" in said
    assert before < len(cases.records(tmp_path / "out")) <= before + 4
    cases.waited(lambda: not session_of(driver.pid), patience=120)
    cases.ended(started(tmp_path))
    assert cases.compared(tmp_path / "out") == expected


def session_of(group):
    """The processes of a session that run, but for the one that leads it."""
    found = []
    for file in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(file.name)) == group and int(file.name) != group and cases.alive(int(file.name)):
                found.append(int(file.name))
        except OSError:
            continue
    return found
