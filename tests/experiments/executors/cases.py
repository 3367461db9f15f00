"""A small suite as a script, so that it can be killed; and what is compared of its records."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mmkit
from mmkit.records.file import read_records

ROOT = Path(__file__).parents[3]
SCRIPT = """
import signal
import sys
import mmkit
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the process that started this one does
out, epochs, named = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
mmkit.bench(
    task="synthetic-unique:train=96", fusion=["late", "concat"], seeds=2, training={"epochs": epochs, "min_steps": 0},
    cost=False, device="cpu", threads=1, out=out, **named,
)
"""
"""Without a guard for `__main__`, as notebooks and beginners write it."""


def started(out, epochs=2, *, cache, **named):
    """A process that does the suite."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out), str(epochs), repr({**named, "cache": str(cache)})],
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process):
    """What a process has said, which ends by itself."""
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return said


def suite(out, epochs=2, **named):
    return mmkit.bench(
        task="synthetic-unique:train=96",
        fusion=["late", "concat"],
        seeds=2,
        training={"epochs": epochs, "min_steps": 0},
        cost=False,
        device="cpu",
        threads=1,
        out=out,
        progress=False,
        **named,
    )


def records(folder):
    return read_records(Path(folder) / "records.jsonl") if (Path(folder) / "records.jsonl").is_file() else {}


def times(folder):
    """How long each run took: what is repeated takes another time."""
    return {id_: record.seconds for id_, record in records(folder).items()}


def compared(folder):
    """The records as text by id, without times and without what ran beside them, and the scores of their samples."""
    found = {}
    for id_, record in records(folder).items():
        plain = replace(record, seconds=None, loading=None, beside=0)
        found[id_] = json.dumps(plain.document(), sort_keys=True)
    scores = {file.name: file.read_bytes() for file in (Path(folder) / "scores").glob("*.npy")}
    return found, scores


def workers_of(pid):
    """The processes that do jobs for another."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(one) for file in children for one in file.read_text().split() if _works(one)]


def _works(pid):
    try:
        return b"executors.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def waited(condition, process=None, patience=240):
    """What a condition gives, when it is true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        if process is not None and process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
