"""What a fusion of vectors costs beyond its hand-written form without masks, operation by operation.

    python -m benchmarks.fusions.operations [--rounds 30]

It takes the forward cells of `records/fusions.json` with two inputs of width 128 that miss their goal, where what is
fixed weighs most, times both forms as `speed.py` does, and profiles each: how often an operation is called in a call of
the form, and its own microseconds, without those of the operations that it calls. The profiler makes each operation
some tenths of a microsecond longer. What it does not see is Python. The record is `records/fusion_operations.json`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.fusions import speed
from benchmarks.fusions.record import document
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks

RECORDS = Path(__file__).parents[1] / "records"
PROFILES = 7
LASTING = 1e-3
"""Seconds that the calls of a profile take: few, so that in one of several nothing else runs."""
SHOWN = 0.1
"""Microseconds a call from which on an operation is shown."""


def operations(form: Callable[[], object], seconds: float) -> dict[str, dict[str, float]]:
    """The operations of a form by name: calls in a call of the form, and microseconds; the most expensive comes first.

    Of several profiles the least counts: the profiler reads the wall, to which other programs only add.
    """
    calls = min(max(round(LASTING / seconds), 2), 50)
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(PROFILES):
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
            for _ in range(calls):
                form()
        for event in profiled.key_averages():
            if not event.key.startswith(("[", "ProfilerStep")):
                seen[event.key].append((event.count / calls, event.self_cpu_time_total / calls))
    found = {
        name: {"calls": round(each[0][0], 1), "us": round(min(us for _, us in each), 2)} for name, each in seen.items()
    }
    kept = {name: one for name, one in found.items() if one["us"] >= SHOWN}
    return dict(sorted(kept.items(), key=lambda pair: -pair[1]["us"]))


def cell(row: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Both forms of a cell: microseconds, their ratio, and operations."""
    size = {key: row[key] for key in ("batch", "width", "inputs", "tokens")}
    fusion, features = speed.make(row["fusion"], **size, missing=row["missing"])
    forms = speed.candidates(row["fusion"], fusion, features, backward=False)
    timings = interleave(forms, rounds=rounds, max_seconds=5)
    compared = timings.compare("mmkit", "obvious").as_json()
    told = {key: row[key] for key in ("fusion", "batch", "missing")}
    told |= {key: compared[key] for key in ("ratio", "low", "high")} | {"goal": row["goal"]}
    for name, form in forms.items():
        seconds = timings.median(name)
        seen = operations(form, seconds)
        told[name] = {
            "us": seconds * 1e6,
            "us_in_operations": sum(one["us"] for one in seen.values()),
            "operations": seen,
        }
    return told


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    keep_large_blocks()  # as every command of mmkit does
    torch.set_num_threads(1)
    rows = json.loads((RECORDS / "fusions.json").read_text())["rows"]
    missed = [
        row
        for row in rows
        if not speed.over_tokens(row["fusion"])
        and row["what"] == "forward"
        and (row["width"], row["inputs"]) == (128, 2)
        and row["ratio"] > row["goal"]
    ]
    found = []
    for row in missed:
        one = cell(row, options.rounds)
        found.append(one)
        more = {
            name: round(seen["us"] - one["obvious"]["operations"].get(name, {"us": 0.0})["us"], 1)
            for name, seen in one["mmkit"]["operations"].items()
        }
        most = sorted(more.items(), key=lambda pair: -pair[1])[:4]
        missing = "some" if one["missing"] else "none"
        print(
            f"{one['fusion']:9}{one['batch']:4} {missing} {one['ratio']:.2f} {one['mmkit']['us']:6.0f}"
            f"{one['obvious']['us']:6.0f}  " + ", ".join(f"{name} {us:+}" for name, us in most if us > 0),
            flush=True,
        )
    (RECORDS / "fusion_operations.json").write_text(document(found))


if __name__ == "__main__":
    main()
