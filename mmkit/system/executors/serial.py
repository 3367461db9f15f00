"""Jobs one after the other, in the process of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmkit.system.executors.jobs import J, Place, R


class Serial:
    """Does jobs one after the other, as they come."""

    workers = 1

    def start(self) -> float:
        """There is nothing to start."""
        return 0.0

    def run(self, jobs: Iterable[J], place: Place[J, R]) -> Iterator[tuple[J, R]]:
        """Each job with what became of it. An interrupt ends the one that is in progress."""
        for job in jobs:
            place.begins([job])
            yield job, place.perform(job)

    def alone(self, measure: Callable[[], Any]) -> Any:
        """What is measured; nothing runs beside it."""
        return measure()

    def close(self, *, at_once: bool = False) -> None:
        """There is nothing to end."""
