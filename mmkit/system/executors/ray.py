"""Jobs as tasks of Ray: on a cluster that exists, or on one that is started here and ended with the call.

https://docs.ray.io. Ray chooses the machine, and begins a task again whose process was killed. What computes on several
machines needs the data, the cache and the folder of the call at paths that all of them see.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mmkit.errors import UnavailableError, UsageError
from mmkit.system.executors.interrupts import interrupts
from mmkit.system.executors.jobs import ATTEMPTS, J, Place, R, answered, begun, unpacked

ADDRESS = "RAY_ADDRESS"
LOOK = 0.2
"""Seconds between two looks at whether the user has interrupted."""
PATIENCE = 30
"""Seconds to wait for a cluster to answer."""


class OnRay:
    """Does jobs on Ray.

    Args:
        workers: how many at once.
        threads: of the CPU that each job takes.
        device: of the jobs; each takes a whole GPU on "cuda".

    Raises:
        UnavailableError: Ray is not installed.
    """

    def __init__(self, workers: int, threads: int, device: str) -> None:
        try:
            import ray  # noqa: PLC0415 (only who asks for it needs it)
        except ImportError as error:
            raise UnavailableError('--engine ray needs Ray; pip install "mmkit-core[ray]"') from error
        self.workers = workers
        self._ray: Any = ray
        self._threads = threads
        self._gpus = 1 if device == "cuda" else 0
        self._ours = False

    def start(self) -> float:
        """Find the cluster, or start one here; the seconds that took.

        Raises:
            UsageError: a cluster does not answer, or has not what a job takes.
        """
        if self._ray.is_initialized():
            return 0.0
        began = time.monotonic()
        self._ours = True
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address := os.environ.get(ADDRESS):
            _answers(address)
            try:
                self._ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                first = next(iter(str(error).splitlines()), type(error).__name__)
                raise UsageError(f"no Ray cluster answers at {ADDRESS}={address}: {first}") from error
        else:
            self._ray.init(include_dashboard=False, num_cpus=self.workers * self._threads, **quiet)
        have = self._ray.cluster_resources()
        for what, needed in (("CPU", self._threads), ("GPU", self._gpus)):
            if have.get(what, 0) < needed:
                raise UsageError(f"each worker takes {needed} {what} and the Ray cluster has {have.get(what, 0):g}")
        return time.monotonic() - began

    def run(self, jobs: Iterable[J], place: Place[J, R]) -> Iterator[tuple[J, R]]:
        """Each job with what became of it, as they end."""
        waiting = begun(jobs)
        if waiting is None:
            return
        self.start()
        place.begins(jobs)
        do = self._ray.remote(num_cpus=self._threads, num_gpus=self._gpus, max_retries=ATTEMPTS - 1)(answered_in)
        folder = str(Path.cwd())
        going: dict[Any, J] = {}
        try:
            with interrupts(place.called, place.progress.note, lambda: self._cancel(going)) as asked:
                while True:
                    while not asked.stop and len(going) < self.workers and (new := next(waiting, None)) is not None:
                        going[do.remote(folder, *place.packed(new))] = new
                    if not going:
                        break
                    ready, _ = self._ray.wait(list(going), timeout=LOOK)
                    for one in ready:
                        job = going.pop(one)
                        yield job, self._result(one, job, place)
        finally:
            self._cancel(going)

    def alone(self, measure: Callable[[], Any]) -> Any:
        """What is measured in this process, while a task that takes all of this machine keeps others away.

        It is not measured by that task: what is measured is already here, loaded and transformed, and would be once
        more there; and figures belong to this machine, which records name.
        """
        self.start()
        here = self._ray.get_runtime_context().get_node_id()
        node = next((one for one in self._ray.nodes() if one["NodeID"] == here and one["Alive"]), None)
        resources = {} if node is None else node["Resources"]
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 (as above)

        guard = self._ray.remote(_Guard).options(
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        held = guard.remote()
        self._ray.get(held.holds.remote())  # it waits until nothing else runs on this machine
        try:
            return measure()
        finally:
            self._ray.kill(held)

    def close(self, *, at_once: bool = False) -> None:  # noqa: ARG002 (tasks in progress were cancelled by `run`)
        """Leave the cluster; one that was started here ends."""
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()

    def _result(self, one: Any, job: J, place: Place[J, R]) -> R:
        try:
            answer = self._ray.get(one)
        except self._ray.exceptions.RayError as error:  # its last attempt
            return place.lost(job, type(error).__name__)
        found: R = unpacked(answer)
        return found

    def _cancel(self, going: dict[Any, J]) -> None:
        for one in going:
            self._ray.cancel(one, force=True)


def answered_in(folder: str, name: str, common: bytes, job: bytes) -> bytes:
    """What became of a job, in a process of Ray; relative paths begin in the folder of the user, where it is seen."""
    if Path(folder).is_dir() and folder != str(Path.cwd()):
        os.chdir(folder)
    return answered(name, common, job)


class _Guard:
    """Holds the CPUs and GPUs of a machine while something is measured there."""

    def holds(self) -> bool:
        """Whether it does."""
        return True


def _answers(address: str) -> None:
    """Check that somebody listens at the address of a cluster; Ray itself waits for minutes.

    Raises:
        UsageError: nobody does.
    """
    plain = address.removeprefix("ray://")
    host, colon, port = plain.rpartition(":")
    if not colon or not port.isdecimal():  # "auto", "local": Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {ADDRESS}={address}: {error}; start one by `ray start --head`, or unset "
            f"{ADDRESS} to start one here"
        ) from error
