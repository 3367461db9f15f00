"""Jobs: what an executor is given, what it gives back, and the function that does one in another process.

What jobs have in common is packed once, sent beside each of them, and opened once by a process. Samples and models are
never sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import cloudpickle

from mmkit.errors import MmkitError
from mmkit.system.machine import software
from mmkit.system.progress import Progress

ATTEMPTS = 3
"""How often a job is begun whose process ends before it does."""

J = TypeVar("J")
R = TypeVar("R")
_J = TypeVar("_J", contravariant=True)  # noqa: PLC0105 (the name is that of J)
_R = TypeVar("_R", covariant=True)  # noqa: PLC0105 (likewise)


class Common(Protocol):
    """What the jobs of one call have in common; it can be packed.

    Args:
        name: that nothing else has.
    """

    name: str

    def opened(self) -> Callable[[Any], Any]:
        """What does a job, in a process that is not that of the user."""


class Place(Protocol[_J, _R]):
    """Jobs of one kind: how they are done here, and how they travel.

    Args:
        called: several of them, in words.
    """

    called: str

    @property
    def progress(self) -> Progress:
        """What is told."""

    def begins(self, jobs: Iterable[_J]) -> None:
        """Tell that jobs begin; those of an iterator are read when they are done."""

    def perform(self, job: _J) -> _R:
        """What becomes of a job, in this process."""

    def packed(self, job: _J) -> tuple[str, bytes, bytes]:
        """A job for another process: the name of what it has in common with others, this, and the job."""

    def lost(self, job: _J, why: str) -> _R:
        """What becomes of a job whose process ended each time before it did."""


class Executor(Protocol):
    """Does jobs.

    Args:
        workers: how many at once.
    """

    workers: int

    def start(self) -> float:
        """Get ready before anything is measured; the seconds that took."""

    def run(self, jobs: Iterable[J], place: Place[J, R]) -> Iterator[tuple[J, R]]:
        """Each job with what became of it, as they end. An iterator is asked for the next job when there is room.

        Raises:
            KeyboardInterrupt: the user has interrupted; what was in progress has been given before.
        """

    def alone(self, measure: Callable[[], Any]) -> Any:
        """What is measured where nothing runs beside it."""

    def close(self, *, at_once: bool = False) -> None:
        """End all processes: idle ones, or with `at_once` busy ones too."""


@contextmanager
def closed(executor: Executor) -> Iterator[None]:
    """A context after which no process of an executor is left; after an error even busy ones are ended."""
    try:
        yield
    except BaseException:
        executor.close(at_once=True)
        raise
    executor.close()


def begun(jobs: Iterable[J]) -> Iterator[J] | None:
    """The jobs one after the other; None where there is none, for which nothing needs to be started."""
    waiting = iter(jobs)
    for first in waiting:
        return itertools.chain([first], waiting)
    return None


_here: dict[str, Callable[[Any], Any]] = {}
"""What does the jobs that this process works at; those of another call take its place."""


def answered(name: str, common: bytes, job: bytes) -> bytes:
    """What became of a job in this process, which is not that of the user; packed, or the error that ends the call."""
    try:
        if name not in _here:
            _here.clear()
            _here[name] = cloudpickle.loads(common).opened()
        found: Any = _here[name](cloudpickle.loads(job))
    except Exception as error:  # noqa: BLE001 (raised again in the process of the user)
        found = sendable(error)
    return cloudpickle.dumps(found)


def unpacked(answer: bytes) -> Any:
    """What became of a job.

    Raises:
        Exception: the error that ends the call.
    """
    found = cloudpickle.loads(answer)
    if isinstance(found, Exception):
        raise found
    return found


def sendable(error: Exception) -> Exception:
    """The error, or one in words where it holds what cannot be sent."""
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001 (an error may hold anything)
        return MmkitError(f"{type(error).__name__}: {error}")
    return error


def ended_early(why: str) -> MmkitError:
    """The error of a job whose process ended each time before it did."""
    return MmkitError(
        f"the process that computed it ended {ATTEMPTS} times before it did ({why}); it may need more memory than "
        "there is"
    )


def check_software(known: Mapping[str, Any], called: str) -> None:
    """Check that this process has the versions of that of the user.

    Args:
        known: versions of what computes, in that process.
        called: what that process does, for the message.

    Raises:
        MmkitError: it has others.
    """
    here = software()
    for name, version in known.items():
        if here.get(name) != version:
            raise MmkitError(
                f"a worker has {name} {here.get(name)}, and {called} {version}; give all machines the same versions"
            )
