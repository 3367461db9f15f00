"""`python -m mmkit.system.executors.worker`: a process that does jobs, one after the other.

Jobs come by standard input and answers go by standard output (`messages.py`). What components print goes to standard
error. It ends when its input does: with the process that started it, however that ended.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from mmkit.system.allocator import keep_large_blocks
from mmkit.system.executors.jobs import answered
from mmkit.system.executors.messages import READY, receive, send


def main() -> None:
    """Do jobs until there are no more."""
    _end_with_parent()
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer
    sys.stdout = sys.stderr
    keep_large_blocks()
    jobs: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_read, args=(source, jobs), daemon=True).start()
    send(out, READY)
    while True:
        send(out, answered(*pickle.loads(jobs.get())))  # noqa: S301 (from the process that started this one)


def _read(source: BinaryIO, jobs: queue.Queue[Any]) -> None:
    """Read jobs; the process ends with its input, even in the middle of one."""
    while (message := receive(source)) is not None:
        jobs.put(message)
    os._exit(0)


def _end_with_parent() -> None:
    """Ctrl-C is for the process that started this one; and on Linux this one is ended together with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
