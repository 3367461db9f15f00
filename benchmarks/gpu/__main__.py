"""Prove or break mmkit on a GPU, in minutes and without a network, and leave records.

    python -m benchmarks.gpu --out DIR [--seconds 440] [--device cuda] [--only PART ...] [--rehearse]

Each part is a process of its own with its share of the time: one that fails or hangs costs the others nothing, and what
it had written by then stays. DIR gets a record of each part, gpu-PART.json, and gpu-log.txt. Ends with 0 where all
parts came to their end without an error, else with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import torch
from packaging.requirements import Requirement

from benchmarks.gpu.record import Asked, Record

ROOT = Path(__file__).parents[2]
PARTS = {"tests": 180, "cases": 95, "suites": 105, "training": 22, "fusions": 38}
"""In order, with the seconds of each where there are 440 in all. What one leaves over, those after it have more."""
START = 10
"""Seconds that a part may need to start and to write its last."""


@dataclass
class Outcome:
    """What became of a part.

    Args:
        part: its name.
        seconds: that it took.
        code: of its exit; None where its time was over.
        told: in a line.
        good: nothing failed.
    """

    part: str
    seconds: float
    code: int | None
    told: str
    good: bool


def missing() -> list[str]:
    """Requirements of mmkit and of its plugins, and of what these require, that are not met here."""
    roots = {point.dist.name for point in metadata.entry_points(group="mmkit.v1") if point.dist is not None}
    found, seen, waiting = [], set(), [(Requirement(name), "") for name in sorted(roots | {"mmkit-core"})]
    while waiting:
        need, by = waiting.pop()
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            here = metadata.distribution(need.name)
        except metadata.PackageNotFoundError:
            found.append(f"{need.name}{need.specifier}, which {by or 'this check'} needs, is not here")
            continue
        if not need.specifier.contains(here.version, prereleases=True):
            found.append(f"{need.name}{need.specifier}, which {by} needs, is here as {here.version}")
        if need.name not in seen:
            seen.add(need.name)
            waiting += [(Requirement(line), need.name) for line in here.requires or []]
    return sorted(set(found))


def run(part: str, asked: Asked, folder: Path, seconds: float, log: TextIO) -> Outcome:
    """One part, ended with all that it started when its time is over."""
    results = folder / ".gpu-tests.jsonl"
    results.unlink(missing_ok=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    if part == "tests":
        command = ["pytest", "tests/gpu", "-m", "gpu", "-q", "--tb=short", "-p", "no:cacheprovider", "-W", "default"]
        if asked.rehearse:
            command += ["-k", "gated or linear or pinned"]
        environment |= {"MMKIT_GPU_DEVICE": asked.device.type, "MMKIT_GPU_RESULTS": str(results)}
    else:
        command = [f"benchmarks.gpu.{part}", "--out", str(folder / f"gpu-{part}.json"), "--device", asked.device.type]
        command += ["--seconds", str(max(seconds - START, 5)), *(["--rehearse"] if asked.rehearse else [])]
    began = time.monotonic()
    code = _attended([sys.executable, "-m", *command], environment, seconds, log)
    took = time.monotonic() - began
    if part == "tests":
        told, good = _tests(results, asked, folder / "gpu-tests.json", code)
    else:
        told, good = _faults(folder / f"gpu-{part}.json")
    stopped = f"stopped after {took:.0f} s; " if code is None else ""
    return Outcome(part, took, code, stopped + told, good and code == 0)


def _attended(command: Sequence[str], environment: dict[str, str], seconds: float, log: TextIO) -> int | None:
    """Run it, its output shown and kept; None where it had to be stopped."""
    over = threading.Event()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:

        def stop() -> None:
            over.set()
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                except ProcessLookupError:
                    return
                time.sleep(3)

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                log.write(line)
                log.flush()
            code = process.wait()
        finally:
            timer.cancel()
    return None if over.is_set() else code


def _tests(results: Path, asked: Asked, out: Path, code: int | None) -> tuple[str, bool]:
    """The record of the tests, from the lines that each left when it ended."""
    text = results.read_text("utf-8") if results.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    ended = [line for line in lines if "outcome" in line]
    counts = Counter(line["outcome"] for line in ended)
    skipped = Counter(line["reason"].partition(":")[0] for line in ended if line["outcome"] == "skipped")
    record = Record(Asked(out, asked.device, 0, asked.rehearse), "pytest -m gpu: every component and run on the device")
    record.put(
        counts=dict(counts),
        failed=[line for line in ended if line["outcome"] == "failed"],
        skipped=dict(skipped),
        warnings=dict(Counter(line["warning"] for line in lines if "warning" in line)),
        tests=[{k: v for k, v in line.items() if k != "reason" and v} for line in ended],
        missing=missing(),
        finished=code is not None,
    )
    results.unlink(missing_ok=True)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no test ran"
    return told, counts["passed"] > 0 and not counts["failed"]


def _faults(file: Path) -> tuple[str, bool]:
    """The errors and gaps that a record tells of."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return "it left no record", False
    faults = list(_errors(document))
    gaps = json.dumps(document).count('"left_out"')
    told = ["finished" if document["finished"] else "not finished", f"{len(faults)} errors"]
    if gaps:
        told.append(f"{gaps} left out for want of time")
    shown = "".join(f"\n    {fault[:300]}" for fault in faults[:8])
    return ", ".join(told) + shown, bool(document["finished"]) and not faults


def _errors(tree: Any, place: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        if tree.get("error"):
            yield f"{place or 'record'}: {tree['error']}"
        for name, value in tree.items():
            yield from _errors(value, f"{place} / {name}" if place else str(name))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            name = value.get("fusion", number) if isinstance(value, dict) else number
            yield from _errors(value, f"{place} / {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=440.0, help="in all")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="a little of everything, to try the scripts themselves")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device that torch can use; --device cpu --rehearse tries the scripts")
    end = time.monotonic() + given.seconds
    folder = given.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    asked = Asked(folder, torch.device(given.device), given.seconds, given.rehearse)
    for line in missing():
        print(f"mmkit: {line}", file=sys.stderr)
    outcomes = []
    parts = {name: share for name, share in PARTS.items() if name in (given.only or PARTS)}
    with (folder / "gpu-log.txt").open("w", encoding="utf-8") as log:
        while parts:
            part, share = next(iter(parts.items()))
            seconds = max((end - time.monotonic()) * share / sum(parts.values()), 1.0)
            del parts[part]
            heading = f"\n== {part}, at most {seconds:.0f} s"
            print(heading, flush=True)
            log.write(f"{heading}\n")
            outcomes.append(run(part, asked, folder, seconds, log))
        summary = [f"\n== in all ({'a rehearsal' if given.rehearse or given.device == 'cpu' else 'measured'})"]
        summary += [f"{'ok  ' if o.good else 'BAD '} {o.part}, {o.seconds:.0f} s: {o.told}" for o in outcomes]
        print("\n".join(summary), flush=True)
        log.write("\n".join(summary) + "\n")
    _clean(folder)
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _clean(folder: Path) -> None:
    """Of the log, what draws bars and colours on a terminal; and names of places on this disk."""
    log = folder / "gpu-log.txt"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n]*\r(?!\n)", "", log.read_text("utf-8"))
    log.write_text(text.replace(str(ROOT), ".").replace(tempfile.gettempdir(), "TMP"), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
