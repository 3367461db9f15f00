"""Does the encoder of wide tables find the few columns that carry signal, and what does it cost where all do?

    python benchmarks/wide.py [STRUCTURE ...] [--strengths] [--tables N] [--record FILE]

Each structure is drawn as several tables, of 108 rows of train, 27 of validation and 400 of test unless its name says
otherwise; those with real columns are from the files of scikit-learn, and noise is added to them. Each encoder is
trained on each table as `mmkit train` does: the learning rate is searched on validation, and test is read once. Beside
them are regressions by scikit-learn with an L1 and an L2 penalty, their strength chosen on validation as well. A score
is the share of right answers on test, of numbers R2. With `--strengths` other strengths of the penalty are measured, on
structures that are named. Without a structure all are measured; what is not asked stays in the record as it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

import mmkit
from mmkit.data.splits import splits_of
from mmkit.experiments.plan import plan
from mmkit.experiments.run import Run, execute
from mmkit.experiments.search import search
from mmkit.records.record import Record
from mmkit.sources.memory import hold
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

RECORD = Path(__file__).parent / "records" / "wide.json"
ENCODERS = ("table-mlp", "table-lasso:strength=0", "table-lasso")
STRENGTHS = ("table-mlp", *(f"table-lasso:strength={strength}" for strength in (0.05, 0.1, 0.2, 0.4)))
TRAIN, VALIDATION, TEST = 108, 27, 400
SEARCH_SEED = 1_000_003
Array = np.ndarray[Any, np.dtype[Any]]
Drawn = tuple[Array, Array]


def noise(rng: np.random.Generator, columns: int, rows: int) -> Array:
    """[rows, columns]."""
    return rng.normal(size=(rows, columns))


def signs(rng: np.random.Generator, rows: int) -> Array:
    """-1 and 1, [rows]."""
    return rng.choice([-1.0, 1.0], rows)


def summed(count: int, columns: int) -> Callable[..., Drawn]:
    """The class is the sign of the sum of some columns."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        x = noise(rng, columns, rows)
        return x, x[:, :count].sum(1) > 0

    return draw


def shifted(count: int, columns: int, by: float) -> Callable[..., Drawn]:
    """The mean of some columns is shifted by the class."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        x, y = noise(rng, columns, rows), signs(rng, rows)
        x[:, :count] += by * y[:, None]
        return x, y > 0

    return draw


def product(columns: int) -> Callable[..., Drawn]:
    """The class is the sign of the product of two columns, which each alone say nothing of."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        x = noise(rng, columns, rows)
        return x, x[:, 0] * x[:, 1] > 0

    return draw


def factors(columns: int) -> Callable[..., Drawn]:
    """All columns are mixtures of 20 factors, with noise; the class is the sign of the sum of two factors."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        hidden, mixture = noise(rng, 20, rows), noise(rng, columns, 20)
        return hidden @ mixture / 20**0.5 + noise(rng, columns, rows) / 2, hidden[:, :2].sum(1) > 0

    return draw


def number(columns: int) -> Callable[..., Drawn]:
    """A number: the sum of two columns, with noise of half its deviation."""

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        x = noise(rng, columns, rows)
        return x, x[:, :2].sum(1) + rng.normal(size=rows) / 2**0.5

    return draw


def real(name: str, noisy: int) -> Callable[..., Drawn]:
    """Columns and classes of a data set of scikit-learn, and columns of noise; all its rows."""

    def draw(rng: np.random.Generator, _: int) -> Drawn:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        order = rng.permutation(len(y))
        x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)  # a scale in which noise is no larger or smaller
        return np.concatenate([x[order], noise(rng, noisy, len(y))], 1), y[order]

    return draw


STRUCTURES: dict[str, tuple[Callable[..., Drawn], int, int]] = {  # with rows of train and of validation
    "sum of 2 of 2,000": (summed(2, 2000), TRAIN, VALIDATION),
    "2 of 2,000 shifted": (shifted(2, 2000, 1.0), TRAIN, VALIDATION),
    "2 of 2,000, half of them categories": (shifted(2, 2000, 1.0), TRAIN, VALIDATION),
    "20 of 2,000 shifted": (shifted(20, 2000, 0.5), TRAIN, VALIDATION),
    "all of 2,000 shifted": (shifted(2000, 2000, 0.07), TRAIN, VALIDATION),
    "2 of 20 factors behind 2,000": (factors(2000), TRAIN, VALIDATION),
    "product of 2 of 2,000": (product(2000), TRAIN, VALIDATION),
    "number from 2 of 2,000": (number(2000), TRAIN, VALIDATION),
    "sum of 5 of 50": (summed(5, 50), TRAIN, VALIDATION),
    "breast cancer and 2,000 of noise": (real("breast_cancer", 2000), TRAIN, VALIDATION),
    "wine and 2,000 of noise": (real("wine", 2000), 80, 27),
    "digits, 64 columns": (real("digits", 0), 600, 200),
}


def drawn(name: str, seed: int) -> tuple[Array, Array, Array]:
    """Columns [R N], truth [R] and split [R] of a table."""
    draw, train, validation = STRUCTURES[name]
    x, y = draw(np.random.default_rng(seed), train + validation + TEST)
    x, y = x[: train + validation + TEST], y[: train + validation + TEST]
    place = np.arange(len(y))
    part = np.where(place < train, "train", np.where(place < train + validation, "validation", "test"))
    return x, y, part


def table_of(name: str, x: Array, y: Array, part: Array) -> dict[str, list[Any]]:
    """The columns as a user has them; of categories, every second one is cut into thirds, of names."""
    table: dict[str, list[Any]] = {}
    for place in range(x.shape[1]):
        values: Any = x[:, place]
        if "categories" in name and place % 2:
            values = np.array(["low", "middle", "high"])[np.searchsorted([-0.6, 0.6], values)]
        table[f"column{place:04d}"] = values.tolist()
    numeric = np.issubdtype(y.dtype, np.floating)
    return {**table, "y": y.tolist() if numeric else [f"c{int(one)}" for one in y], "part": part.tolist()}


def score_of(name: str, encoder: str, seed: int) -> float:
    """Of one encoder on one table."""
    catalog = mmkit.installed()
    x, y, part = drawn(name, seed)
    task = catalog.choose("task", f"own-data:data={hold(table_of(name, x, y, part))},target=y,splits=part")
    planned = plan(catalog, task=task, encoders={"table": [encoder]}, settings=Settings("cpu"))
    splits = splits_of(planned.task, catalog, planned.settings)
    (alone,) = planned.baselines

    def attempt(runs: Sequence[Run]) -> list[Record]:
        return [execute(run, splits, purpose="search")[0] for run in runs]

    training, _ = search(planned, [alone], attempt, SEARCH_SEED + seed)[alone.key]
    metrics = execute(planned.run(alone, seed, training), splits)[0].metrics
    score = metrics["r2" if y.dtype.kind == "f" else "accuracy"]
    assert score is not None, name
    return score


def regression_of(name: str, penalty: str, seed: int) -> float:
    """Of a regression by scikit-learn; a table of categories as the numbers that they were cut from."""
    x, y, part = drawn(name, seed)
    train, validation, test = (part == one for one in ("train", "validation", "test"))
    x = (x - x[train].mean(0)) / np.where(x[train].std(0) > 0, x[train].std(0), 1)
    fitted = []
    for strength in np.geomspace(1e-3, 1, 10):
        if y.dtype.kind == "f":
            model = Lasso(alpha=strength) if penalty == "l1" else Ridge(alpha=1000 * strength)
        else:
            ratio = 1.0 if penalty == "l1" else 0.0
            solver = "liblinear" if len(np.unique(y)) == 2 else "saga"
            chosen = {"penalty": penalty} if solver == "liblinear" else {"l1_ratio": ratio}
            model = LogisticRegression(C=strength * (1 if penalty == "l1" else 0.1), solver=solver, **chosen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a solver that has not converged
            model.fit(x[train], y[train])
        fitted.append((model.score(x[validation], y[validation]), model))
    return float(max(fitted, key=lambda one: one[0])[1].score(x[test], y[test]))


def measured(name: str, encoders: Sequence[str], tables: int) -> dict[str, Any]:
    """Scores of encoders and regressions on the tables of a structure."""
    began = time.process_time()
    scores = {one: [score_of(name, one, seed) for seed in range(tables)] for one in encoders}
    for penalty in ("l1", "l2"):
        scores[f"regression, {penalty}"] = [regression_of(name, penalty, seed) for seed in range(tables)]
    return {
        "scores": {
            one: {"mean": round(statistics.mean(each), 3), "from_to": [round(f(each), 3) for f in (min, max)]}
            for one, each in scores.items()
        },
        "tables": tables,
        "cpu_seconds": round(time.process_time() - began),
    }


def main() -> None:
    """Measure, and write the record structure by structure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("structures", nargs="*", metavar="STRUCTURE", help=", ".join(STRUCTURES))
    parser.add_argument("--strengths", action="store_true")
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--record", type=Path, default=RECORD)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    part, encoders = ("strengths", STRENGTHS) if asked.strengths else ("structures", ENCODERS)
    for name in asked.structures or STRUCTURES:
        found = {**measured(name, encoders, asked.tables), "made": time.strftime("%Y-%m-%d")}
        print(name, json.dumps(found, indent=1), flush=True)
        before = json.loads(asked.record.read_text()) if asked.record.exists() else {}
        known = {**before.get(part, {}), name: found}
        document = {
            **before,
            "schema": 1,
            "machine": machine(),
            "software": software(),
            part: {one: known[one] for one in STRUCTURES if one in known},
        }
        asked.record.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
