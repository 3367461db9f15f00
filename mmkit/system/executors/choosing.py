"""Which executor does jobs, how many at once, and with how many threads each."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from mmkit.errors import UsageError, one_of
from mmkit.system.executors.jobs import Executor
from mmkit.system.executors.processes import Processes
from mmkit.system.executors.ray import OnRay
from mmkit.system.executors.serial import Serial
from mmkit.system.machine import usable_cores
from mmkit.system.settings import Settings

Engine = Literal["processes", "ray"]


def workers_of(engine: str | None, workers: int | None, threads: int | None) -> int:
    """How many jobs are done at once: one without an engine; with one, as many as the cores of this machine allow.

    Args:
        engine: that is asked for.
        workers: that are asked for; None where nothing is said.
        threads: of each job; None is one.

    Raises:
        UsageError: there is no such engine, or no worker.
    """
    if engine is not None and engine not in get_args(Engine):
        raise UsageError(f"there is no engine {engine}; {one_of(get_args(Engine), engine)}")
    if workers is None:
        return 1 if engine is None else max(1, usable_cores() // (threads or 1))
    if type(workers) is not int or workers < 1:
        raise UsageError(f"workers is 1 or more; got {workers}")
    return workers


def share_of(workers: int) -> int:
    """The threads of each of several jobs at once: a fair share of the cores, and no more than torch has."""
    return max(1, min(torch.get_num_threads(), usable_cores() // workers))


def executor_of(engine: str | None, workers: int, settings: Settings) -> Executor:
    """What does jobs.

    Args:
        engine: "processes", "ray", or None: processes where there are several workers.
        workers: jobs at once.
        settings: of each.

    Raises:
        UnavailableError: the engine is not installed.
    """
    if engine == "ray":
        return OnRay(workers, settings.threads or 1, settings.device)
    return Processes(workers) if engine == "processes" or workers > 1 else Serial()
