"""Processes as a launcher starts them, without one: what tests of ranks share."""

import os
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def started(arguments, size=2, **environment):
    """The processes of a training, each told in its environment which of them it is.

    Args:
        arguments: of the command that each is.
        size: how many there are.
        environment: added to that of this process.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # it may be a file of tests
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(size)}
    shared = {**os.environ, "PYTHONPATH": path, **meeting, **environment}
    return [
        subprocess.Popen(
            arguments,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]


def told(processes, seconds=900):
    """What each of several processes says until its end, and their exit codes; none is left."""
    try:
        said = [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return said, [process.returncode for process in processes]


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
