"""How often `mmkit compare` is wrong: on simulated scores whose truth is known, and on times of one program.

    python benchmarks/compare.py [--processes 8] [--json]

**Scores.** Suites of two equal combinations are drawn: each test sample has a difficulty, each seed a level, and each
combination, seed and sample something of its own. An alarm is an interval of 95 % without zero: at most 5 % of suites
may give one. Beside it, how often a difference of four true standard errors is seen, and the share of comparisons in
which one of 11 equal combinations is called broken by the condition `accuracy<0`.

**Times.** One program is measured in several processes, one after the other, as `mmkit bench` measures it, and each
process is compared with each. All are the same code on one machine, so whatever is called faster or slower is an alarm.
Then one side is made slower by a factor, on paper, and it is counted how often `time>5%` is called broken. What the
machine did meanwhile is in the record: its load, and how far the rounds lay apart.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkit.data.splits import splits_of
from mmkit.experiments.costs import measure_costs
from mmkit.experiments.plan import plan
from mmkit.records.record import Record, Speed, Twin
from mmkit.registry.catalog import installed
from mmkit.report.changes import TIMES, time_change
from mmkit.report.conditions import Condition, level_of
from mmkit.report.paired import by_sample
from mmkit.report.summary import Row
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

RECORD = Path(__file__).parent / "records" / "compare.json"
SUITES = 2000
MOST = 0.05
"""The share of alarms that is promised."""
SETTINGS = [
    {"seeds": s, "samples": n, "of_seeds": a, "of_samples": b, "of_both": c}
    for s in (2, 3, 5)
    for n, a, b, c in (
        (150, 0.0, 0.1, 0.3), (150, 0.04, 0.1, 0.3), (500, 0.02, 0.1, 0.2), (500, 0.01, 0.2, 0.3),
        (2000, 0.005, 0.1, 0.2), (2000, 0.02, 0.1, 0.2),
    )
]  # fmt: skip
GAIN = 4.0
"""A difference that should be seen, in true standard errors."""
TOGETHER = 11
"""Combinations on which a condition is checked together."""
FACTORS = (1.1, 1.25, 1.5, 2.0)
ROUNDS, SECONDS = 60, 20.0


def scores(setting: dict[str, Any], *, paired: bool, shared: float, rng: np.random.Generator) -> dict[str, Any]:
    """Alarms and power of one setting.

    Args:
        setting: numbers of seeds and samples, and the standard deviations of what is theirs.
        paired: whether the seeds of both sides are the same.
        shared: of the variance of seeds, which share both sides have of the same seed.
        rng: of the draws.
    """
    s, n = setting["seeds"], setting["samples"]
    error = math.sqrt(2 * ((1 - shared) * setting["of_seeds"] ** 2 / s + setting["of_samples"] ** 2 / n)
                      + 2 * setting["of_both"] ** 2 / s / n)  # fmt: skip
    alarms = seen = beyond = 0
    for _ in range(SUITES):
        difficulty, level = rng.normal(0, 0.3, n), rng.normal(0, 1, (s, 1)) * math.sqrt(shared)
        a, b = (
            difficulty
            + setting["of_seeds"] * (level + math.sqrt(1 - shared) * rng.normal(0, 1, (s, 1)))
            + rng.normal(0, setting["of_samples"], n)
            + rng.normal(0, setting["of_both"], (s, n))
            for _ in range(2)
        )
        found = by_sample(a, b, paired=paired)
        low, high = found.interval() or (0.0, 0.0)
        alarms += not low <= 0 <= high
        seen += low + GAIN * error > 0  # the same draw, were B better by so much
        beyond += (found.interval(level_of(TOGETHER)) or (0.0, 0.0))[1] < 0
    return {
        **setting, "paired": paired, "shared": shared, "alarms": alarms / SUITES,
        "seen": seen / SUITES, "alarms_of_11": 1 - (1 - beyond / SUITES) ** TOGETHER,
    }  # fmt: skip


def measured() -> dict[str, Any]:
    """The speed of three combinations, in this process."""
    torch.set_num_threads(1)
    planned = plan(installed(), task="synthetic-unique:train=200", fusions=["attention"], seeds=1)
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    combinations = {one.label: one for one in planned.all}
    found = measure_costs(combinations, splits, planned.training, Settings("cpu"), rounds=ROUNDS, max_seconds=SECONDS)
    return {"load": os.getloadavg()[0], "speeds": {key: asdict(one.throughput) for key, one in found.of.items()}}


def row_of(name: str, speed: dict[str, Any], slower: float = 1.0) -> Row:
    """A row that has nothing but a speed."""
    given = Speed(**{**speed, "twins": {work: Twin(**twin) for work, twin in speed["twins"].items()}})
    rates = {key: getattr(given, key) / slower for key in ("inference_samples_per_s", "train_samples_per_s")}
    where: dict[str, Any] = {
        "device": "cpu",
        "precision": "float32",
        "machine": {},
        "software": {},
        "plugins": {},
        "libraries": {},
    }
    record = Record(id="", status="ok", task="", encoders={}, fusion=name, head="", objectives=[], seed=0, run={},
                    throughput=replace(given, **rates), **where)  # fmt: skip
    return Row({}, name, "", (), [record], trainings=[record])


def times(processes: int) -> dict[str, Any]:
    """Alarms between processes of one program, and how often a slower one is seen."""
    command = [sys.executable, str(Path(__file__)), "--measure"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(processes)]
    pairs = list(itertools.permutations(runs, 2))
    limit = Condition.of("time>5%", [])
    found: dict[str, Any] = {"processes": processes, "loads": [run["load"] for run in runs]}
    for quantity, work in TIMES.items():
        spreads = [speed["twins"][work]["spread"] for run in runs for speed in run["speeds"].values()]
        of: dict[str, Any] = {"spread_of_rounds": statistics.median(spreads)}
        for slower in (1.0, *FACTORS):
            changes = [
                time_change(
                    name, quantity, row_of(name, a["speeds"][name]), row_of(name, b["speeds"][name], slower), ""
                )
                for a, b in pairs
                for name in a["speeds"]
            ]
            told = [change for change in changes if change is not None]
            at = replace(limit, quantity=quantity)
            outcomes = [at.outcome(change) for change in told]
            if slower == 1.0:
                of |= {
                    "comparisons": len(told),
                    "alarms": sum(change.finding != "unclear" for change in told) / len(told),
                    "false_time>5%": outcomes.count("broken") / len(told),
                    "kept": outcomes.count("kept") / len(told),
                    "median_of_differences": statistics.median(abs(change.change) for change in told),
                }
            else:
                of[f"seen_at_{slower:g}"] = outcomes.count("broken") / len(told)
        found[quantity] = of
    return found


def main() -> int:
    """Print the figures, or the record as JSON; exit code 1 if more alarms were given than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8, help="that are compared with each other")
    parser.add_argument("--json", action="store_true", help=f"write {RECORD.name} of records/")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured()))
        return 0
    rng = np.random.default_rng(0)
    kinds = [(True, 0.0), (True, 0.8), (False, 0.0)]
    simulated = [scores(one, paired=paired, shared=shared, rng=rng) for one in SETTINGS for paired, shared in kinds]
    timed = times(given.processes)
    worst = max(one["alarms"] for one in simulated)
    allowed = MOST + 2 * math.sqrt(MOST * (1 - MOST) / SUITES)  # two standard errors of the count
    for one in simulated:
        print({key: round(value, 4) if isinstance(value, float) else value for key, value in one.items()})
    print(json.dumps(timed, indent=1))
    mean = statistics.fmean(one["alarms"] for one in simulated)
    print(f"alarms of scores: at most {100 * worst:.1f} %, mean {100 * mean:.1f} %")
    if given.json:
        document = {
            "date": dt.date.today().isoformat(), "machine": machine(), "software": software(),
            "suites": SUITES, "scores": simulated, "times": timed,
        }  # fmt: skip
        RECORD.write_text(json.dumps(document, indent=1) + "\n")
    alarms = max(timed[quantity]["alarms"] for quantity in TIMES)
    return int(worst > allowed or alarms > MOST)


if __name__ == "__main__":
    sys.exit(main())
