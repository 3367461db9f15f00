"""Watch a machine by a model in service: chunks go out as they come, and answers come of windows of a second.

    python benchmarks/scenarios/monitoring/watch.py MODEL FOLDER

MODEL is served here, by `mmkit serve`, in a process of its own. FOLDER has chunks and their truth, as `make.py` writes
them; each is sent when its quarter of a second is over, no matter whether the one before was answered.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

WINDOW, CHUNK = 1.0, 0.25


def served(model: str, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A service of a model, and its port, once it says that it serves."""
    command = [sys.executable, "-m", "mmkit", "serve", model, "--port", "0", "--device", "cpu", "--deadline", "250ms"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    while (found := re.search(r"serving on http://\S+:(\d+)/", log.read_text())) is None:
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.1)
    return process, int(found[1])


def chunks(folder: Path, states: list[str]) -> list[str]:
    """The messages of all chunks."""
    found = []
    for number in range(len(states)):
        files = {"seen": folder / f"{number:03}.avi", "heard": folder / f"{number:03}.wav"}
        values = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
        found.append(json.dumps({"chunk": values}))
    return found


def send(stream: ClientConnection, messages: list[str]) -> None:
    """Send each when its time is over."""
    began = time.monotonic()
    for number, message in enumerate(messages, 1):
        time.sleep(max(began + number * CHUNK - time.monotonic(), 0))
        stream.send(message)


def watched(port: int, messages: list[str]) -> list[dict[str, Any]]:
    """What comes back of all chunks, until the last one is answered."""
    with connect(f"ws://127.0.0.1:{port}/stream", compression=None, proxy=None) as stream:
        stream.send(json.dumps({"start": {"windows": {"seen": WINDOW, "heard": WINDOW}}}))
        if "ready" not in (ready := json.loads(stream.recv())):
            raise SystemExit(f"the stream does not begin: {ready}")
        sender = threading.Thread(target=send, args=(stream, messages))
        sender.start()
        found: list[dict[str, Any]] = []
        while not found or found[-1]["chunk"] < len(messages):
            found.append(json.loads(stream.recv(timeout=60)))
        sender.join()
    return found


def main(model: str, folder: Path) -> None:
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        states = [row["state"] for row in csv.DictReader(file)]
    with tempfile.TemporaryDirectory() as logs:
        process, port = served(model, Path(logs) / "log")
        try:
            found = watched(port, chunks(folder, states))
        finally:
            process.terminate()
            process.wait()
    answers = [one for one in found if "answer" in one]
    many = round(WINDOW / CHUNK)
    told = {one["chunk"] - 1: one["answer"]["label"] for one in answers}
    plain = [n for n in told if n + 1 >= many and len(set(states[n + 1 - many : n + 1])) == 1]
    right = sum(told[n] == states[n] for n in plain)
    changes = [n for n in range(1, len(states)) if states[n] != states[n - 1]]
    until = [next((m + 1 - n for m in range(n, len(states)) if told.get(m) == states[n]), None) for n in changes]
    seen = [CHUNK * one for one in until if one is not None]
    times = 1000 * np.array([one["seconds"] for one in answers])
    print(f"{len(states)} chunks of {CHUNK:g} s; windows of {WINDOW:g} s")
    print(f"answered {len(answers)}, of these late {sum(one['late'] for one in answers)}; ", end="")
    print(f"skipped for a newer one {sum(one['skipped'] for one in answers)}; errors {len(found) - len(answers)}")
    print(f"right in {100 * right / len(plain):.1f} % of the {len(plain)} windows that lie in one state")
    print(f"{len(seen)} of {len(changes)} changes were found, after {np.median(seen):.2f} s (the middle one)")
    print(f"answer after p50 {np.percentile(times, 50):.0f} ms, p99 {np.percentile(times, 99):.0f} ms; ", end="")
    print(f"the window is {1000 * WINDOW:.0f} ms, a chunk {1000 * CHUNK:.0f} ms")
    print(f"({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: other work was going on where it is above 1)")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
