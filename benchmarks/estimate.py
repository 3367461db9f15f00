"""How far off the time is that mmkit says a plan will take, before it starts and halfway through.

    python benchmarks/estimate.py [--json]

Each plan is carried out in a folder of its own, with an empty cache, plan after plan and all of them in every round.
Noted are the estimate before anything is trained, the true wall time from there to the end of the last run, and what
was said to be left when half of the trainings had ended, against what was. Wall time is that of a machine with whoever
else uses it; so each training is compared in CPU time, too, with what its pace says: no load changes that (one thread).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import mmkit
from mmkit.experiments.forecast import Forecast, seconds_of_run
from mmkit.experiments.run import Run
from mmkit.records.record import Purpose
from mmkit.system.machine import machine, software
from mmkit.system.progress import Progress

FRUIT = Path(mmkit.__file__).parent / "tasks" / "data" / "fruit.csv"
ROUNDS = 2
PLANS: dict[str, Callable[..., Any]] = {
    "digits": lambda **rest: mmkit.bench(
        task="digits", fusion="concat", seeds=1, training={"epochs": 4}, baselines=False, **rest
    ),
    "digits, batches of 8": lambda **rest: mmkit.bench(
        task="digits", fusion="late", seeds=1, training={"epochs": 2, "batch_size": 8}, baselines=False, **rest
    ),
    "fruit.csv": lambda **rest: mmkit.bench(
        data=FRUIT, target="fruit", fusion="late", seeds=1, training={"epochs": 10}, **rest
    ),
    "fruit.csv, 3 folds": lambda **rest: mmkit.bench(
        data=FRUIT, target="fruit", fusion="late", seeds=1, folds=3, training={"epochs": 4, "lr": 0.002}, **rest
    ),
    "a scalar of fruit.csv": lambda **rest: mmkit.bench(
        data=FRUIT, target="weight", target_kind="scalar", fusion="concat", seeds=1, training={"epochs": 10}, **rest
    ),
    "synthetic-unique": lambda **rest: mmkit.bench(
        task="synthetic-unique:train=512", fusion="attention", seeds=2, training={"epochs": 5, "lr": 0.002}, **rest
    ),
    "clipart, bag and cnn": lambda **rest: mmkit.bench(
        task="clipart",
        encoders={"title": "bag", "image": "cnn"},
        fusion="late",
        seeds=1,
        training={"epochs": 1, "lr": 0.002},
        limit=256,
        **rest,
    ),
}
"""Few epochs, so that no training stops early."""


class Noted(Progress):
    """Notes when what was said to be left."""

    def __init__(self) -> None:
        self.said: list[tuple[float, float]] = []
        self.cpu: list[tuple[float, float]] = []
        """What the pace says of each training, and what it took, in CPU seconds."""
        self.at = 0.0

    def remaining(self, seconds: float) -> None:
        """Note it with the time."""
        self.said.append((time.perf_counter(), seconds))
        self.at = time.process_time()

    def ended(self, expected: float) -> None:
        """Note what a training took since the last one ended."""
        self.cpu.append((expected, time.process_time() - self.at))

    def stage(self, name: str) -> None:  # noqa: ARG002 (whatever begins, it was not the training before)
        """Begin to count."""
        self.at = time.process_time()

    def warn(self, message: str) -> None:
        """Say nothing."""


def measured(bench: Callable[..., Any]) -> dict[str, Any]:
    """Carry out a plan: estimate and truth in seconds, at the start and halfway, and of each training in CPU time."""
    noted = Noted()
    plain = Forecast.ended

    def ended(forecast: Forecast, part: int, run: Run, purpose: Purpose, seconds: float | None) -> None:
        if seconds is not None and (pace := forecast.paces.get(run.combination.key)):
            noted.ended(seconds_of_run(pace, run.training, forecast.sizes[part], purpose))
        plain(forecast, part, run, purpose, seconds)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Forecast, "ended", ended):
        bench(out=f"{folder}/suite", cache=f"{folder}/cache", yardsticks=False, progress=noted)
    end = noted.said[-1][0]
    (start, estimate), (half, left) = noted.said[0], noted.said[len(noted.said) // 2]
    return {
        "estimate": estimate,
        "true": end - start,
        "ratio": estimate / (end - start),
        "trainings": len(noted.said) - 1,
        "halfway_estimate": left,
        "halfway_true": end - half,
        "halfway_ratio": left / (end - half),
        "cpu_ratio_of_a_training": statistics.median(expected / took for expected, took in noted.cpu),
    }


def told(name: str, found: dict[str, Any]) -> str:
    """What was found of a plan, in a line."""
    return (
        f"{name}: said {found['estimate']:.0f} s, took {found['true']:.0f} s ({found['ratio']:.2f}); halfway "
        f"{found['halfway_ratio']:.2f}; a training in CPU time {found['cpu_ratio_of_a_training']:.2f}"
    )


def main() -> None:
    """Carry out all plans, in rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one document with machine and versions")
    as_json = parser.parse_args().json
    torch.set_num_threads(1)
    cases = []
    for number in range(1, ROUNDS + 1):
        for name, bench in PLANS.items():
            load = os.getloadavg()[0]
            cases.append({"plan": name, "round": number, "load": load, **measured(bench)})
            print(told(name, cases[-1]), file=sys.stderr, flush=True)
    if as_json:
        about = {"what": (__doc__ or "").splitlines()[0], "date": dt.datetime.now(dt.UTC).date().isoformat()}
        print(json.dumps({**about, "machine": machine(), "software": software(), "cases": cases}, indent=1))


if __name__ == "__main__":
    main()
