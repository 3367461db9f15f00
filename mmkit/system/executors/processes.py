"""Jobs in several processes on this machine.

Each worker is a process of its own (`worker.py`), fed by a thread: one that is killed costs the job that it was at,
which is begun again in a new one. They are started by the interpreter and not by `multiprocessing`, so nothing of the
script that was started runs again in them, and no `if __name__ == "__main__"` is needed.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mmkit.system.executors.interrupts import interrupts
from mmkit.system.executors.jobs import ATTEMPTS, J, Place, R, begun, unpacked
from mmkit.system.executors.messages import receive, send

LOOK = 0.2
"""Seconds between two looks at whether the user has interrupted; some systems wake nobody for it."""


class _EndedError(Exception):
    """A worker has ended before its answer."""


class _Worker:
    """A process that does jobs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mmkit.system.executors.worker"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(one or str(Path.cwd()) for one in sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=sys.platform != "win32",  # a Ctrl-C of the terminal is for this process
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.ask(None)

    def ask(self, message: bytes | None) -> bytes:
        """The answer to a message; to None what it says first.

        Raises:
            _EndedError: the process has ended.
        """
        source: Any = self._process.stdout
        sink: Any = self._process.stdin
        try:
            if message is not None:
                send(sink, message)
            answer = receive(source)
        except (OSError, ValueError):  # ValueError: closed
            answer = None
        if answer is None:
            raise _EndedError(self.end())
        return answer

    def end(self) -> str:
        """End the process, busy or not; how it ended, in words."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except OSError:  # what was not sent is of no use to a process that has ended
                    continue
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()


class _Slot(threading.Thread):
    """A thread with a worker of its own. It lives as long as the worker, which Linux ends together with it."""

    def __init__(self, todo: queue.Queue[Any], done: queue.Queue[Any]) -> None:
        super().__init__(daemon=True)
        self._todo = todo
        self._done = done
        self._worker: _Worker | None = None
        self._over = False
        self.ready = threading.Event()

    def run(self) -> None:
        """Do jobs until None comes."""
        try:
            self._worker = _Worker()
        except (_EndedError, OSError):
            self._worker = None  # the first job tries again, and says why
        self.ready.set()
        while (given := self._todo.get()) is not None:
            number, message = given
            self._done.put((number, self._answer(message)))
        self._over = True
        if self._worker is not None:
            self._worker.end()

    def _answer(self, message: bytes) -> bytes | Exception:
        """The answer of a worker; or why there is none, after several attempts."""
        error: Exception = _EndedError("it was ended")
        for _ in range(ATTEMPTS):
            if self._over:
                break
            try:
                self._worker = self._worker or _Worker()
                if not self._over:  # it may have been ended while it started
                    return self._worker.ask(message)
            except (_EndedError, OSError) as why:
                self._worker, error = None, why
        return error

    def kill(self) -> None:
        """End the worker at once, and begin no other."""
        self._over = True
        if (worker := self._worker) is not None:
            worker.kill()


class Processes:
    """Does jobs in several processes.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._todo: queue.Queue[Any] = queue.Queue()
        self._done: queue.Queue[Any] = queue.Queue()
        self._slots: list[_Slot] = []
        self._given = 0

    def start(self) -> float:
        """Start the processes and wait until all have imported what they need; the seconds that took."""
        if self._slots:
            return 0.0
        began = time.monotonic()
        self._slots = [_Slot(self._todo, self._done) for _ in range(self.workers)]
        for slot in self._slots:
            slot.start()
        for slot in self._slots:
            while not slot.ready.wait(LOOK):  # so that Ctrl-C is heard everywhere
                continue
        return time.monotonic() - began

    def run(self, jobs: Iterable[J], place: Place[J, R]) -> Iterator[tuple[J, R]]:
        """Each job with what became of it, as they end."""
        waiting = begun(jobs)
        if waiting is None:
            return
        self.start()
        place.begins(jobs)
        going: dict[int, J] = {}
        try:
            with interrupts(place.called, place.progress.note, self._kill) as asked:
                while True:
                    if asked.stop:
                        for number in self._dropped():
                            del going[number]
                    else:
                        self._give(waiting, going, place)
                    if not going:
                        break
                    try:
                        number, answer = self._done.get(timeout=LOOK)
                    except queue.Empty:
                        continue
                    job = going.pop(number)
                    yield job, place.lost(job, str(answer)) if isinstance(answer, Exception) else unpacked(answer)
        finally:
            if going:
                self._dropped()
                self._kill()

    def _give(self, waiting: Iterator[J], going: dict[int, J], place: Place[J, R]) -> None:
        """Give each worker a job, and one for when it has ended, as long as there are some."""
        while len(going) < 2 * self.workers and (job := next(waiting, None)) is not None:
            self._given += 1
            going[self._given] = job
            self._todo.put((self._given, pickle.dumps(place.packed(job))))

    def alone(self, measure: Callable[[], Any]) -> Any:
        """What is measured in this process; the workers wait meanwhile."""
        return measure()

    def close(self, *, at_once: bool = False) -> None:
        """End the processes."""
        self._dropped()
        if at_once:
            self._kill()
        for _ in self._slots:
            self._todo.put(None)
        for slot in self._slots:
            slot.join()
        self._slots = []

    def _dropped(self) -> list[int]:
        """Take back the jobs that no worker has begun; their numbers."""
        numbers: list[int] = []
        while True:
            try:
                number, _ = self._todo.get_nowait()
            except queue.Empty:
                return numbers
            numbers.append(number)

    def _kill(self) -> None:
        for slot in self._slots:
            slot.kill()
