"""What does it cost to give a job to a worker, and does the process of the suite grow with the jobs?

Jobs are those of a suite on `digits`, as large as they travel, but what does them does nothing: each comes back as it
was. So the time is that of packing, sending, waiting and unpacking, with two workers. Serial, processes and Ray (where
it is installed) do 100 jobs and then 1,000 more, in random order of the three. The time of a job is told as the middle
of blocks of 50 jobs with the 5 % and 95 % points, and the memory of the process of the suite after 100 and after 1,100.

    python -m benchmarks.dispatch [--record]

It ends with 1 where a goal is missed: 5 ms a job, and 16 MiB more for ten times the jobs. `--record` writes
records/dispatch.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cloudpickle

from mmkit.experiments.identity import code_of_run, data_of
from mmkit.experiments.jobs import Context, Job
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.system.executors.jobs import Executor, closed
from mmkit.system.executors.processes import Processes
from mmkit.system.executors.ray import OnRay
from mmkit.system.executors.serial import Serial
from mmkit.system.machine import machine, software
from mmkit.system.progress import SILENT
from mmkit.system.settings import Settings

RECORD = Path(__file__).parent / "records" / "dispatch.json"
GOAL = {"milliseconds_a_job": 5.0, "growth_mib": 16.0}
FEW, MORE, BLOCK = 100, 1000, 50
WORKERS = 2


class Returned:
    """What jobs have in common: the context of a suite, which is only carried."""

    name = "returned"

    def __init__(self, context: Context) -> None:
        self.context = context

    def opened(self) -> Callable[[Any], Any]:
        """What does a job."""
        return _same


def _same(job: Any) -> Any:
    return job


class Carried:
    """A place whose jobs come back as they were."""

    called, progress = "jobs", SILENT

    def __init__(self, context: Context) -> None:
        self._common = cloudpickle.dumps(Returned(context))

    def begins(self, jobs: Iterable[Job]) -> None:
        """Nothing is told."""

    def perform(self, job: Job) -> Job:
        """The job, in this process."""
        return job

    def packed(self, job: Job) -> tuple[str, bytes, bytes]:
        """The job as it travels."""
        return Returned.name, self._common, cloudpickle.dumps(job)

    def lost(self, job: Job, why: str) -> Job:
        """No job is."""
        raise RuntimeError(f"{job.name}: {why}")


def job_of_a_suite() -> tuple[Job, Context]:
    """A run of `digits` as a job, with what it has in common with others."""
    asked = plan(
        installed(), task="digits", fusions=["attention"], baselines=False, settings=Settings("cpu", threads=1)
    )
    run = asked.run(asked.combinations[0], 0)
    splits = run.splits(installed())
    code = code_of_run(run.task, run.combination, splits)
    job = Job("attention", run.id(splits), run.combination, 0, run.training, code)
    return job, Context(run.task, run.settings, installed(), data_of(splits), None, None)


def resident() -> float:
    """The memory of this process in MiB, of Linux."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def dispatched(executor: Executor, place: Carried, job: Job) -> dict[str, Any]:
    """The milliseconds of a job, and the memory behind few and behind many."""
    with closed(executor):
        executor.start()
        for _ in executor.run((job for _ in range(FEW)), place):
            pass
        few = resident()
        blocks, began = [], time.perf_counter()
        for done, _ in enumerate(executor.run((job for _ in range(MORE)), place), 1):
            if done % BLOCK == 0:
                now = time.perf_counter()
                blocks.append(1e3 * (now - began) / BLOCK)
                began = now
        many = resident()
    blocks.sort()
    low, high = (blocks[round(part * (len(blocks) - 1))] for part in (0.05, 0.95))
    return {
        "milliseconds_a_job": {"middle": statistics.median(blocks), "low": low, "high": high},
        "memory_mib": {str(FEW): few, str(FEW + MORE): many},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write records/dispatch.json")
    arguments = parser.parse_args()
    job, context = job_of_a_suite()
    place = Carried(context)
    made: dict[str, Callable[[], Executor]] = {"serial": Serial, "processes": lambda: Processes(WORKERS)}
    if importlib.util.find_spec("ray") is not None:
        made["ray"] = lambda: OnRay(WORKERS, 1, "cpu")
    found, bad = {}, []
    for name in random.Random(0).sample(sorted(made), len(made)):
        one = found[name] = dispatched(made[name](), place, job)
        took, memory = one["milliseconds_a_job"], one["memory_mib"]
        grown = memory[str(FEW + MORE)] - memory[str(FEW)]
        print(
            f"{name}: {took['middle']:.2f} ms a job ({took['low']:.2f} to {took['high']:.2f}); {grown:.1f} MiB more "
            f"for {MORE:,} jobs more",
            flush=True,
        )
        if took["middle"] > GOAL["milliseconds_a_job"] or grown > GOAL["growth_mib"]:
            bad.append(name)
    print("no goal is missed" if not bad else f"missed by {', '.join(bad)}")
    if arguments.record:
        document = {
            "what": (__doc__ or "").splitlines()[0],
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "machine": machine(),
            "software": software(),
            "goal": GOAL,
            "workers": WORKERS,
            **found,
        }
        RECORD.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
