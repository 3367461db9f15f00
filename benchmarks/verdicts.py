"""How often the closing sentence is wrong, and what it finds: simulated scores, simulated predictions, real trainings.

    python benchmarks/verdicts.py FOLDER [--suites 1000] [--seeds 200] [--minutes 30]

A suite is drawn, judged by `mmkit.report.statistics` as `mmkit bench` does, and the verdict is held against the truth,
which is known. False alarms are suites of truly equal combinations that are called above or below; power is the share
of suites with a true gain that are called above.

- Scores: each test sample is right or wrong by what it has of its own, by what it has with the combination, and by
  chance; the share that is right differs from seed to seed by a given standard deviation. A race chooses on 500
  validation samples, and 5 fresh seeds confirm. A case whose false alarms look high is drawn again, ten times as often,
  and that counts, whatever it says.
- Predictions: of classes and of numbers, whose macro F1, areas under curves, RMSE and Pearson have pseudo-scores; and
  of classes and labels some of which have few test samples, each right with the same chance, or ranked alike, which
  seeds seldom change.
- Trainings: a pool of seeds of one single input of three tiny tasks, one of them with labels that are noise. A fusion
  that reads one input is that input, so every suite drawn from a pool is of equals; its test samples are drawn, too.
  FOLDER keeps the predictions of the pool, so that it can go on.

It ends with 1 where a case has more than 7 % of false alarms, or all have more than 5 on average.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from mmkit.contract import Target
from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import MOST, rounds
from mmkit.experiments.run import execute
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import higher_is_better, metrics_of
from mmkit.records.record import Record
from mmkit.records.support import support
from mmkit.registry.catalog import installed
from mmkit.report.statistics import Comparison, compare, level_of_look, not_beaten, seeds_wanted
from mmkit.system.machine import machine, software

RECORD = Path(__file__).parent / "records" / "verdicts.json"
VALIDATION = 500
SAME = 0.01
MOST_OF_A_CASE, MOST_ON_AVERAGE = 7.0, 5.0
DOUBTFUL = 6.5
"""Percent of false alarms from which on a case of simulated scores is drawn again, ten times as often."""
Array = np.ndarray[Any, Any]


class World:
    """Test samples, and combinations that are right on some of them.

    Args:
        draw: of the suite.
        samples: N.
        groups: of each factor [N], by which what a combination has with samples is shared.
        shared: share of the variance that is a combination's with a group.
    """

    def __init__(
        self, draw: np.random.Generator, samples: int, groups: Sequence[Array] = (), shared: float = 0.0
    ) -> None:
        self.draw, self.samples, self.groups, self.shared = draw, samples, groups, shared
        self.own = draw.normal(size=samples) * 0.7  # what is hard for all

    def with_samples(self) -> Array:
        """[N] what one combination has with the samples, or with their groups."""
        alone = self.draw.normal(size=self.samples) * np.sqrt(0.25 * (1 - self.shared))
        return alone + sum(
            self.draw.normal(size=int(labels.max()) + 1)[labels] * np.sqrt(0.25 * self.shared / len(self.groups))
            for labels in self.groups
        )

    def scores(self, means: Array, liking: Array) -> Array:
        """[S N] of 0 and 1, of runs whose expected shares are given."""
        noise = self.draw.normal(size=(len(means), self.samples)) * np.sqrt(0.26)
        return (self.own + liking + noise < quantile(np.clip(means, 1e-3, 1 - 1e-3))[:, None]).astype(np.float32)


def quantile(share: Array) -> Array:
    return torch.special.ndtri(torch.as_tensor(share, dtype=torch.float64)).numpy()


def suite(
    draw: np.random.Generator,
    *,
    fusions: Sequence[float],
    singles: Sequence[float],
    samples: int,
    spread: float,
    spread_of_singles: float | None = None,
    collapse: float = 0.0,
    groups: Callable[[np.random.Generator], Sequence[Array]] | None = None,
    shared: float = 0.0,
    full: bool = False,
    seeds: int = 5,
) -> Comparison:
    """One suite with given true shares of each combination."""
    labels = [] if groups is None else list(groups(draw))
    world = World(draw, samples, labels, shared)

    def means(share: float, count: int, of: float) -> Array:
        found = share + draw.normal(size=count) * of
        return found - 0.05 * (draw.random(count) < collapse)

    left = list(range(len(fusions)))
    searched: dict[int, list[float]] = {number: [] for number in left}
    on_validation: dict[int, list[float]] = {number: [] for number in left}
    for size in rounds(len(fusions)):
        left = sorted(left, key=lambda one: np.mean(on_validation[one] or [0.0]), reverse=True)[:size]
        for one in left:
            mean = float(means(fusions[one], 1, spread)[0])
            searched[one].append(mean)
            on_validation[one].append(draw.binomial(VALIDATION, min(max(mean, 0.0), 1.0)) / VALIDATION)
    chosen = max(left, key=lambda one: np.mean(on_validation[one] or [0.0]))
    liking = world.with_samples()
    of_single = spread if spread_of_singles is None else spread_of_singles
    others = [world.with_samples() for _ in singles]

    def confirmed(count: int) -> tuple[Array, dict[str, Array]]:
        fusion = world.scores(means(fusions[chosen], count, spread), liking)
        return fusion, {
            str(at): world.scores(means(share, count, of_single), others[at]) for at, share in enumerate(singles)
        }

    fusion, alone = confirmed(seeds)
    tested: list[float] = []
    if full:
        tested = (
            [float(one.mean()) for one in world.scores(np.array(searched[chosen]), liking)] if searched[chosen] else []
        )
        wanted = seeds_wanted(fusion, alone, searched=tested, groups=labels, most=MOST)
        if wanted > seeds:
            more, beside = confirmed(wanted - seeds)
            fusion = np.concatenate([fusion, more])
            alone = {name: np.concatenate([alone[name], beside[name]]) for name in alone}
    return compare(fusion, alone, same=SAME, searched=tested, groups=labels)


def grouped(count: int, *, unequal: bool = False) -> Callable[[np.random.Generator], Sequence[Array]]:
    def labels(draw: np.random.Generator) -> Sequence[Array]:
        if unequal:
            shares = draw.dirichlet(np.ones(count))
            return [np.unique(draw.choice(count, size=600, p=shares), return_inverse=True)[1]]
        return [np.arange(600) % count]

    return labels


def crossing(draw: np.random.Generator) -> Sequence[Array]:
    return [draw.integers(6, size=600), np.arange(600) % 14]


EQUAL: dict[str, dict[str, Any]] = {
    "1 fusion, 2000 samples, seeds 4 points": {"fusions": [0.8], "singles": [0.8], "samples": 2000, "spread": 0.04},
    "1 fusion, 10000 samples, seeds 2": {"fusions": [0.8], "singles": [0.8], "samples": 10_000, "spread": 0.02},
    "1 fusion, 100 samples, seeds 2": {"fusions": [0.8], "singles": [0.8], "samples": 100, "spread": 0.02},
    "best of 11, seeds 3.3": {"fusions": [0.8] * 11, "singles": [0.8], "samples": 2000, "spread": 0.033},
    "best of 80, seeds 3.3": {"fusions": [0.8] * 80, "singles": [0.8], "samples": 2000, "spread": 0.033},
    "best of 11, fusions 4, single .5": {
        "fusions": [0.8] * 11, "singles": [0.8], "samples": 2000, "spread": 0.04, "spread_of_singles": 0.005,
    },
    "30 % of seeds collapse by 5": {
        "fusions": [0.8] * 11, "singles": [0.8], "samples": 2000, "spread": 0.01, "collapse": 0.3,
    },
    "2 equal single inputs": {"fusions": [0.8] * 3, "singles": [0.8, 0.8], "samples": 2000, "spread": 0.02},
    "a second input 2 lower": {"fusions": [0.8] * 3, "singles": [0.8, 0.78], "samples": 2000, "spread": 0.02},
    "4 groups": {
        "fusions": [0.8], "singles": [0.8], "samples": 600, "spread": 0.0, "groups": grouped(4), "shared": 0.5,
    },
    "10 groups": {
        "fusions": [0.8], "singles": [0.8], "samples": 600, "spread": 0.01, "groups": grouped(10), "shared": 0.5,
    },
    "100 groups": {
        "fusions": [0.8], "singles": [0.8], "samples": 600, "spread": 0.01, "groups": grouped(100), "shared": 0.5,
    },
    "10 groups of unequal size": {
        "fusions": [0.8], "singles": [0.8], "samples": 600, "spread": 0.01, "groups": grouped(10, unequal=True),
        "shared": 0.5,
    },
    "crossing: 6 speakers, 14 writers": {
        "fusions": [0.8], "singles": [0.8], "samples": 600, "spread": 0.01, "groups": crossing, "shared": 0.5,
    },
}  # fmt: skip


def findings(suites: int, number: int, make: Callable[[np.random.Generator], Comparison]) -> dict[str, float]:
    """In percent of suites: each finding."""
    counts = {"above": 0, "below": 0, "equal": 0, "unclear": 0, "none": 0}
    for at in range(suites):
        counts[make(np.random.default_rng([number, at])).finding] += 1
    return {name: round(100 * count / suites, 2) for name, count in counts.items()}


def drawn_again(suites: int, number: int, make: Callable[[np.random.Generator], Comparison]) -> dict[str, float]:
    """Findings; where false alarms look high, those of ten times as many other suites in their place."""
    found = findings(suites, number, make)
    if found["above"] + found["below"] <= DOUBTFUL:
        return found
    return {**findings(10 * suites, 1000 + number, make), "suites": 10 * suites}


def of_scores(suites: int) -> dict[str, Any]:
    """False alarms of simulated scores, by case and protocol."""
    found: dict[str, Any] = {}
    for number, (name, case) in enumerate(EQUAL.items()):
        found[name] = {
            protocol: drawn_again(suites, number, partial(suite, **case, full=full))
            for protocol, full in (("quick", False), ("full", True))
        }
        tell(name, found[name])
    return found


def power(suites: int) -> dict[str, Any]:
    """How often a true gain is found, and of 11 fusions of which a quarter has it how often."""
    found: dict[str, Any] = {}
    for count in (1, 11):
        for samples in (500, 2000):
            for spread in (0.005, 0.02):
                name = f"{count} fusion{'s' * (count > 1)}, {samples} samples, seeds {100 * spread:g}"
                found[name] = {}
                for gain in (0.01, 0.02, 0.04):
                    shares = [0.8 + gain] if count == 1 else [0.8 + gain] * 3 + [0.8] * 2 + [0.77] * 6
                    case: dict[str, Any] = {
                        "fusions": shares,
                        "singles": [0.8, 0.77],
                        "samples": samples,
                        "spread": spread,
                    }
                    found[name][f"gain {100 * gain:g}"] = {
                        protocol: findings(suites, 100, partial(suite, **case, full=full))["above"]
                        for protocol, full in (("quick", False), ("full", True))
                    }
                tell(name, found[name])
    return found


def looks(suites: int) -> dict[str, float]:
    """How often one of 8 looks at a pair of equals says above or below, seeds being added from 5 to 12."""
    wrong = {"each at level .05": 0, "as mmkit spends it": 0}
    for at in range(suites):
        world = World(np.random.default_rng([200, at]), 2000)
        draw, one, other = world.draw, world.with_samples(), world.with_samples()
        tables = [world.scores(0.8 + draw.normal(size=12) * 0.02, liking) for liking in (one, other)]
        for name in wrong:
            levels = [0.05 if name.startswith("each") else level_of_look(number) for number in range(1, 9)]
            seen = (
                compare(tables[0][:seeds], {"a": tables[1][:seeds]}, same=SAME, level=level).finding
                for seeds, level in zip(range(5, 13), levels, strict=True)
            )
            wrong[name] += any(one in {"above", "below"} for one in seen)
    return {name: round(100 * count / suites, 2) for name, count in wrong.items()}


def whole_tables(suites: int) -> dict[str, Any]:
    """Of 8 rows over 4 points, three seeds each: how often the true best is marked as beaten, and how many are not."""
    missed, size = 0, 0
    for at in range(suites):
        world = World(np.random.default_rng([300, at]), 1000)
        shares = [0.8, *(0.8 - 0.04 * number / 7 for number in range(1, 8))]
        tables = [world.scores(share + world.draw.normal(size=3) * 0.01, world.with_samples()) for share in shares]
        left = not_beaten(tables)
        missed, size = missed + (0 not in left), size + len(left)
    return {"best missed %": round(100 * missed / suites, 2), "rows not beaten of 8": round(size / suites, 2)}


LEAVES = {
    "classes": ("probabilities", "label"),
    "labels": ("probabilities", "labels"),
    "scalar": ("values", "values"),
}
"""By kind of target: of a prediction, and of the truth."""


def pseudo_scores(kind: str, name: str, prediction: Array, truth: Array) -> Array | None:
    """[N] of one run, more being better; None where the metric is not defined."""
    size = prediction.shape[1]
    collected = metrics_of(Target(kind, size, tuple(map(str, range(size)))), [name])
    leaf, of_truth = LEAVES[kind]
    mask = torch.ones(len(truth), dtype=torch.bool)
    collected.update({leaf: torch.from_numpy(prediction)}, {of_truth: torch.from_numpy(truth), "mask": mask})
    found = collected.per_sample(name)
    return None if found is None else np.array(found) * (1 if higher_is_better(name) else -1)


def judged(kind: str, name: str, fusion: Sequence[Array], single: Sequence[Array], truth: Array) -> Comparison:
    """The verdict on predictions [S N C] by a metric; none where it is not defined on a run."""
    tables = [[pseudo_scores(kind, name, one, truth) for one in of] for of in (fusion, single)]
    if any(one is None for table in tables for one in table):
        return Comparison("none", 0.0, 0.0, (0.0, 0.0), "a", {})
    return compare(np.stack(tables[0]), {"a": np.stack(tables[1])}, same=SAME, unseen=unseen(kind, name, truth))


def unseen(kind: str, name: str, truth: Array) -> float:
    """The variance that scores do not show, as a verdict takes it from the records of runs."""
    if kind == "scalar":
        return 0.0
    if kind == "classes":
        confusion = np.diag(np.bincount(truth)).tolist()
    else:
        confusion = [[[len(truth) - int(count), 0], [int(count), 0]] for count in truth.sum(0)]
    names = list(map(str, range(len(confusion))))
    known: dict[str, Any] = {key: {} for key in ("run", "encoders", "machine", "software", "plugins", "libraries")}
    known |= dict.fromkeys(("id", "task", "fusion", "head", "device", "precision"), "")
    return support([Record(status="ok", objectives=[], seed=0, names=names, confusion=confusion, **known)], name).unseen


def rare_class(draw: np.random.Generator, name: str, *, few: int) -> Comparison:
    """Two equals by 60 samples of two classes and a few of a third."""
    truth = np.repeat([0, 1, 2], [30, 30, few])
    wrong = np.where(truth == 0, 1, 0)

    def runs() -> list[Array]:
        own = draw.random(len(truth)) < np.where(truth == 2, 0.5, 0.85)
        right = (own ^ (draw.random(len(truth)) < 0.03) for _ in range(5))
        return [np.eye(3)[np.where(one, truth, wrong)] * 0.7 + 0.1 for one in right]

    return judged("classes", name, runs(), runs(), truth)


def rarely_ranked(draw: np.random.Generator, *, few: int) -> Comparison:
    """Two equals by the average precision of 60 samples of two classes and a few of a third."""
    truth = np.repeat([0, 1, 2], [30, 30, few])
    own = draw.normal(size=(len(truth), 3))

    def runs() -> list[Array]:
        liking = own + draw.normal(size=own.shape) * 0.5 + 1.5 * np.eye(3)[truth]
        return [softmax(liking + draw.normal(size=own.shape) * 0.1, axis=1) for _ in range(5)]

    return judged("classes", "average_precision_macro", runs(), runs(), truth)


def rare_labels(draw: np.random.Generator, name: str, *, few: int) -> Comparison:
    """Two equals by 60 samples of three labels that many have, and two that a few have."""
    truth = np.zeros((60, 5), int)
    truth[:30, 0] = truth[15:40, 1] = truth[20:35, 2] = 1
    for label in (3, 4):
        truth[draw.permutation(60)[:few], label] = 1

    def runs() -> list[Array]:
        said = draw.random(truth.shape) < np.where(truth == 1, 0.6, np.where(truth.mean(0) > 0.2, 0.14, 0.04))
        return [0.1 + 0.8 * (said ^ (draw.random(truth.shape) < 0.02)) for _ in range(5)]

    return judged("labels", name, runs(), runs(), truth)


FEW = (1, 2, 5, 10)
RARE: tuple[tuple[Callable[..., Comparison], str], ...] = (
    (rare_class, "balanced_accuracy"),
    (rare_class, "f1_macro"),
    (rare_labels, "f1_macro"),
)


def of_predictions(suites: int) -> dict[str, Any]:
    """False alarms of metrics that are no mean over samples; 300 samples of 4 unequal classes, or of numbers.

    And 60 samples or a few more, where a class or two labels have few of them.
    """

    def classes(draw: np.random.Generator, name: str) -> Comparison:
        label = draw.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
        own = draw.normal(size=(300, 4))

        def runs() -> list[Array]:
            liking = draw.normal(size=(300, 4)) * 0.5
            logits = [
                own + liking + draw.normal(size=(300, 4)) * 0.5 + (1.5 + draw.normal() * 0.15) * np.eye(4)[label]
                for _ in range(5)
            ]
            return [softmax(one, axis=1) for one in logits]

        return judged("classes", name, runs(), runs(), label)

    def numbers(draw: np.random.Generator, name: str) -> Comparison:
        truth = draw.standard_t(4, size=(300, 1))
        own = draw.normal(size=(300, 1)) * 0.7

        def runs() -> list[Array]:
            liking = draw.normal(size=(300, 1)) * 0.4
            return [
                (0.7 + draw.normal() * 0.05) * truth + own + liking + draw.normal(size=(300, 1)) * 0.4 for _ in range(5)
            ]

        return judged("scalar", name, runs(), runs(), truth)

    found: dict[str, Any] = {}
    cases = [*((classes, name) for name in ("accuracy", "f1_macro", "auroc_macro", "log_loss"))]
    cases += [*((numbers, name) for name in ("rmse", "pearson", "spearman", "r2"))]
    cases.append((classes, "average_precision_macro"))
    for number, (make, name) in enumerate(cases, start=400):
        found[name] = findings(suites, number, partial(make, name=name))
        tell(name, found[name])
    for number, (few, (make, name)) in enumerate(((few, case) for few in FEW for case in RARE), start=450):
        what = f"{name}, {'a class' if make is rare_class else 'two labels'} of {few}"
        found[what] = drawn_again(suites, number, partial(make, name=name, few=few))
        tell(what, found[what])
    for number, few in enumerate(FEW, start=470):
        what = f"average_precision_macro, a class of {few}"
        found[what] = drawn_again(suites, number, partial(rarely_ranked, few=few))
        tell(what, found[what])
    return found


POOLS = {
    "classes": ("synthetic-redundant:modality=table,train=64", "classes", ["accuracy", "f1_macro", "auroc_macro"]),
    "numbers": ("synthetic-regression:modality=table,train=64", "scalar", ["rmse", "pearson"]),
    "noise": ("synthetic-xor:modality=table,train=64", "classes", ["accuracy", "f1_macro", "auroc_macro"]),
}
"""Tasks, what they predict, and by which metrics suites are judged. One input of xor says nothing of the class."""


def pool(folder: Path, name: str, seeds: int, until: float) -> tuple[Array, Array, float]:
    """Predictions [P N C] of a single input by seed, the truth [N], and the seconds that a training takes."""
    task, kind, _ = POOLS[name]
    made = plan(installed(), task=task, training={"lr": 0.01, "epochs": 6, "min_steps": 0})
    path = folder / f"{name}.npz"
    known = dict(np.load(path)) if path.exists() else {}
    predictions = list(known.get("predictions", []))
    times = list(known.get("seconds", []))
    single = made.baselines[0]
    splits, shared = made.run(single, 0).splits(installed()), Shared()
    test = splits("test")
    truth = np.array([[float(one)] if kind == "scalar" else int(one) for one in test.truth])
    for seed in range(len(predictions), seeds):
        if time.time() > until:
            break
        began = time.process_time()
        _, model = execute(made.run(single, seed), splits, shared=shared)
        read = model.decoded(test)
        leaf = "values" if kind == "scalar" else "probabilities"
        found = torch.cat([batch[leaf] for batch in model.predictions(read)]).double()
        if kind == "scalar":
            answers = model.transforms.truth.inverse({"values": found})
            found = torch.tensor([[answer["value"]] for answer in answers], dtype=torch.float64)
        times.append(time.process_time() - began)
        predictions.append(found.numpy())
        if seed % 10 == 9 or seed == seeds - 1:
            np.savez(path, predictions=np.stack(predictions), seconds=np.array(times))
    np.savez(path, predictions=np.stack(predictions), seconds=np.array(times))
    return np.stack(predictions), truth, float(np.median(times))


def drawn(
    draw: np.random.Generator, kind: str, metric: str, predictions: Array, truth: Array, fusions: int
) -> Comparison:
    """A suite of equals from a pool: other seeds and other samples for the race than for the verdict."""
    order, rows = draw.permutation(len(predictions)), draw.permutation(predictions.shape[1])
    validation, test = rows[:150], rows[150:450]
    left, at = list(range(fusions)), 10
    means: dict[int, list[float]] = {one: [] for one in left}
    for size in rounds(fusions):
        left = sorted(left, key=lambda one: float(np.mean(means[one] or [0.0])), reverse=True)[:size]
        for one in left:
            scores = pseudo_scores(kind, metric, predictions[order[at]][validation], truth[validation])
            means[one].append(-np.inf if scores is None else float(scores.mean()))
            at += 1
    fresh = [predictions[seed][test] for seed in order[:10]]
    return judged(kind, metric, fresh[:5], fresh[5:], truth[test])


def of_trainings(folder: Path, suites: int, seeds: int, minutes: float) -> dict[str, Any]:
    """False alarms of suites drawn from pools of real trainings: one fusion, and the best of 11 by a race."""
    found: dict[str, Any] = {}
    began = time.time()
    for number, (name, (task, kind, metrics)) in enumerate(POOLS.items()):
        until = began + 60 * minutes * (number + 1) / len(POOLS)
        predictions, truth, seconds = pool(folder, name, seeds, until)
        cases: dict[str, Any] = {}
        for metric in metrics:
            for fusions in (1, 11) if metric in {"f1_macro", "rmse"} else (1,):
                case = f"{metric}, {'1 fusion' if fusions == 1 else 'best of 11'}"
                make = partial(drawn, kind=kind, metric=metric, predictions=predictions, truth=truth, fusions=fusions)
                cases[case] = findings(suites, 500 + number, make)
                tell(f"{name}: {case}", cases[case])
        found[name] = {
            "task": task, "pool": len(predictions), "seconds a training": round(seconds, 2), "metrics": cases,
        }  # fmt: skip
    return found


def tell(name: str, found: Any) -> None:
    print(f"{name}: {found}", file=sys.stderr, flush=True)


def alarms(found: dict[str, Any]) -> dict[str, float]:
    """In percent, the false alarms of each case of equals."""
    cases: dict[str, dict[str, float]] = {}
    for name, of in found["scores"].items():
        cases |= {f"{name}, {protocol}": one for protocol, one in of.items()}
    cases |= {f"predictions, {name}": one for name, one in found["predictions"].items()}
    for name, of in found["trainings"].items():
        cases |= {f"trainings of {name}, {case}": one for case, one in of["metrics"].items()}
    return {name: one["above"] + one["below"] for name, one in cases.items()}


def main() -> int:
    """Draw, judge, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps the pools of trainings")
    parser.add_argument("--suites", type=int, default=1000, help="suites a case; of power and looks a half")
    parser.add_argument("--seeds", type=int, default=200, help="trainings of each pool")
    parser.add_argument(
        "--minutes", type=float, default=60, help="for all trainings together; a pool may then be smaller"
    )
    parser.add_argument("--pools", action="store_true", help="train the pools, and end")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.pools:
        for number, name in enumerate(POOLS, start=1):
            pool(asked.folder, name, asked.seeds, time.time() + 60 * asked.minutes / (len(POOLS) - number + 1))
        return 0
    half = max(asked.suites // 2, 1)
    found: dict[str, Any] = {
        "trainings": of_trainings(asked.folder, asked.suites, asked.seeds, asked.minutes),
        "predictions": of_predictions(asked.suites),
        "scores": of_scores(asked.suites),
        "power": power(half),
        "looks": looks(half),
        "whole tables": whole_tables(half),
    }
    rates = alarms(found)
    worst, average = max(rates.values()), sum(rates.values()) / len(rates)
    document = {
        "what": __doc__.splitlines()[0],
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "software": software(),
        "suites": {"false alarms": asked.suites, "power, looks, whole tables": half},
        "false alarms %": {"worst": worst, "average": round(average, 2), "cases": rates},
        **found,
    }
    RECORD.write_text(json.dumps(document, indent=1) + "\n")
    print(f"false alarms: {average:.2f} % on average, {worst:.2f} % in the worst of {len(rates)} cases")
    return int(worst > MOST_OF_A_CASE or average > MOST_ON_AVERAGE)


if __name__ == "__main__":
    sys.exit(main())
