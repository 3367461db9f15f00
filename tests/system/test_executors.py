"""What every executor keeps: each job once, as there is room, and the same errors."""

import sys

import cloudpickle
import pytest

from mmkit.errors import DataError, MmkitError
from mmkit.system.executors.jobs import answered, begun, closed, ended_early, sendable, unpacked
from mmkit.system.executors.processes import Processes
from mmkit.system.executors.ray import OnRay
from mmkit.system.executors.serial import Serial
from mmkit.system.progress import SILENT

COUNT = 500


class Negative:
    """What the jobs have in common; they are numbers."""

    name = "negative numbers"

    def opened(self):
        return negative


def negative(number):
    if number == 13:
        raise DataError("number 13")
    return -number


class Place:
    called, progress = "numbers", SILENT

    def __init__(self):
        self.begun = 0
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not have this file
        self.common = cloudpickle.dumps(Negative())
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])

    def begins(self, jobs):
        self.begun += 1

    def perform(self, job):
        return negative(job)

    def packed(self, job):
        return Negative.name, self.common, cloudpickle.dumps(job)

    def lost(self, job, why):
        raise AssertionError(why)


def numbers(asked, start=100, count=COUNT):
    for number in range(start, start + count):
        asked.append(number)
        yield number


@pytest.mark.parametrize("kind", ["serial", pytest.param("processes", marks=pytest.mark.full),
                                  pytest.param("ray", marks=pytest.mark.full)])  # fmt: skip
def test_each_job_is_done_once_and_is_asked_for_when_there_is_room(kind, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    if kind == "ray":
        pytest.importorskip("ray")
    executor = OnRay(2, 1, "cpu") if kind == "ray" else Processes(2) if kind == "processes" else Serial()
    place, asked, done, ahead = Place(), [], set(), 0
    with closed(executor):
        assert list(executor.run([], place)) == []
        for job, found in executor.run(numbers(asked), place):
            assert found == -job
            assert job not in done
            done.add(job)
            ahead = max(ahead, len(asked) - len(done))
        assert done == set(asked) == set(range(100, 100 + COUNT))
        assert ahead <= 2 * executor.workers
        with pytest.raises(DataError, match="number 13"):
            list(executor.run(numbers([], 11, 5), place))


def test_an_endless_iterator_is_not_read_ahead():
    def endless():
        number = 0
        while True:
            yield (number := number + 1)

    jobs = begun(endless())
    assert next(jobs) == 1
    assert begun([]) is None


def test_what_cannot_be_sent_is_sent_in_words():
    class LocalError(Exception):
        def __reduce__(self):
            raise TypeError("not to be sent")

    assert str(sendable(LocalError("here"))) == "LocalError: here"
    assert type(sendable(LocalError("here"))) is MmkitError
    error = DataError("as it is")
    assert sendable(error) is error


def test_an_error_of_a_job_in_another_process_is_raised_in_that_of_the_user():
    place = Place()
    assert unpacked(answered(*place.packed(5))) == -5
    with pytest.raises(DataError, match="number 13"):
        unpacked(answered(*place.packed(13)))
    assert "it may need more memory" in str(ended_early("by signal SIGKILL"))
