"""`mmkit bench` of some fusions on the tasks that ship, on the device, as a user would run it.

    python -m benchmarks.gpu.suites --out FILE [--device cuda] [--seconds 120] [--rehearse]

One seed and few epochs: that every combination trains, is measured by the device's own clock, and comes near what it
reaches on a CPU. Who is better is not asked here. The fusions are some of each family: there is no time for all, which
`gpu/fusions.py` and the tests run one by one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import Asked, Record, asked

ROOT = Path(__file__).parents[2]
TASKS = {"digits": 10, "clipart": 5}
"""Epochs of each."""
FUSIONS = (
    "concat",
    "gated",
    "low-rank",
    "tensor",
    "attention",
    "cross-attention",
    "late",
    "log-pool",
    "joint-pool",
    "mmtm",
)
KEPT = (
    "fusion",
    "head",
    "encoders",
    "status",
    "error",
    "phase",
    "best_epoch",
    "metrics",
    "validation",
    "throughput",
    "cost",
    "seconds",
)
"""Of each line of a suite."""


def bench(task: str, epochs: int, request: Asked, seconds: float, folder: Path) -> dict[str, Any]:
    """One suite, and what is in its folder when it ends, or when its time is over."""
    rehearsed = ["--limit", "64", "--no-cost"] if request.rehearse else []
    command = [
        *("bench", "--task", task, "--fusion", ",".join(FUSIONS), "--device", request.device.type, "--seeds", "1"),
        *("--epochs", str(1 if request.rehearse else epochs), "-o", "train.min_steps=0", "--out", str(folder)),
        *("--lr", "0.002", "--no-yardsticks"),  # a search would take most of the time
        *rehearsed,
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mmkit", *command],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "MMKIT_CACHE": str(folder / "features")},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        ended: dict[str, Any] = {"exit_code": done.returncode, "stderr": done.stderr[-1500:] if done.returncode else ""}
    except subprocess.TimeoutExpired:
        ended = {"exit_code": None, "stderr": f"stopped after {seconds:.0f} s"}
    shown = [word if word != str(folder) else "DIR" for word in command]
    return {"command": "mmkit " + " ".join(shown), **ended, "clock": _clock(folder), "runs": _runs(folder)}


def _runs(folder: Path) -> list[dict[str, Any]]:
    file = folder / "records.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [{name: record.get(name) for name in KEPT} for record in map(json.loads, lines)]


def _clock(folder: Path) -> str | None:
    """What speeds were read from."""
    try:
        rounds = json.loads((folder / "suite.json").read_text("utf-8"))["rounds"]
        clock: str = rounds["train"]["timings"]["clock"]
    except (OSError, KeyError, ValueError):
        return None
    return clock


def _told(run: dict[str, Any]) -> str:
    """The accuracy of a run on test, or on validation where it read no test; why it failed."""
    if run["status"] != "ok":
        return str(run["error"])
    tested = "accuracy" in run["metrics"]
    return f"{run['metrics' if tested else 'validation']['accuracy']:.3f}{'' if tested else ' on validation'}"


def main() -> int:
    request = asked(__doc__)
    record = Record(request, __doc__.splitlines()[0])
    record.put(tasks={})
    good = True
    with tempfile.TemporaryDirectory() as place:
        for number, (task, epochs) in enumerate(TASKS.items()):
            share = max(request.left - 2, 5.0) / (len(TASKS) - number)
            found = bench(task, epochs, request, share, Path(place) / task)
            record.document["tasks"][task] = found
            record.write()
            ok = [run for run in found["runs"] if run["status"] == "ok"]
            good &= found["exit_code"] == 0 and len(ok) == len(found["runs"]) > 0
            print(
                f"{task}: {len(ok)} of {len(found['runs'])} runs, exit code {found['exit_code']}, {found['clock']}",
                flush=True,
            )
            for run in found["runs"]:
                speed = run["throughput"] or {}
                told = _told(run)
                trained = speed.get("train_samples_per_s")
                print(
                    f"  {run['fusion']}: {told}{f', {trained:.0f} samples/s in training' if trained else ''}",
                    flush=True,
                )
    record.put(finished=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
