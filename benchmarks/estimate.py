"""How far off the time is that mmkit says a plan will take, before it starts and halfway through.

    python benchmarks/estimate.py [--json]

Each plan is carried out in a folder of its own, with an empty cache. Noted are the estimate before anything is trained,
the true wall time from there to the end of the last run, and what was said to be left when half of the trainings had
ended, against what was. On a machine that others use, both are of their load, too; it stands in the record.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mmkit
from mmkit.system.machine import machine, software
from mmkit.system.progress import Progress

FRUIT = Path(mmkit.__file__).parent / "tasks" / "data" / "fruit.csv"
PLANS: dict[str, Callable[..., Any]] = {
    "digits": lambda **rest: mmkit.bench(
        task="digits", fusion="concat", seeds=2, training={"epochs": 8}, baselines=False, **rest
    ),
    "fruit.csv": lambda **rest: mmkit.bench(data=FRUIT, target="fruit", fusion="late", seeds=2, **rest),
    "fruit.csv, 3 folds": lambda **rest: mmkit.bench(
        data=FRUIT, target="fruit", fusion="late", seeds=1, folds=3, training={"epochs": 10}, **rest
    ),
    "clipart, bag and cnn": lambda **rest: mmkit.bench(
        task="clipart",
        encoders={"title": "bag", "image": "cnn"},
        fusion="late",
        seeds=1,
        training={"epochs": 5},
        **rest,
    ),
}
"""Three with so few epochs that no training stops early, and one in which it may."""


class Noted(Progress):
    """Notes when what was said to be left."""

    def __init__(self) -> None:
        self.said: list[tuple[float, float]] = []

    def remaining(self, seconds: float) -> None:
        """Note it with the time."""
        self.said.append((time.perf_counter(), seconds))

    def warn(self, message: str) -> None:
        """Say nothing."""


def measured(bench: Callable[..., Any]) -> dict[str, float]:
    """Carry out a plan: estimate and truth in seconds, at the start and halfway."""
    noted = Noted()
    with tempfile.TemporaryDirectory() as folder:
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
    }


def main() -> None:
    """Carry out all plans."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one document with machine and versions")
    as_json = parser.parse_args().json
    torch.set_num_threads(1)
    cases = []
    for name, bench in PLANS.items():
        load = os.getloadavg()[0]
        found = {"plan": name, "load": load, **measured(bench)}
        cases.append(found)
        print(
            f"{name}: said {found['estimate']:.0f} s, took {found['true']:.0f} s ({found['ratio']:.2f}); halfway "
            f"{found['halfway_estimate']:.0f} s, took {found['halfway_true']:.0f} s ({found['halfway_ratio']:.2f})",
            file=sys.stderr,
        )
    if as_json:
        about = {"what": (__doc__ or "").splitlines()[0], "date": dt.datetime.now(dt.UTC).date().isoformat()}
        print(json.dumps({**about, "machine": machine(), "software": software(), "cases": cases}, indent=1))


if __name__ == "__main__":
    main()
