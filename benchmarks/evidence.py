"""What every method gives on the tasks that are there, fusions, objectives, balance methods: five fresh seeds on test.

    python benchmarks/evidence.py TASK FOLDER --record
    python benchmarks/evidence.py TASK FOLDER [--seeds 5] [--fusion NAME ...]

TASK is a task of `list-plugins`, with its options; clipart takes frozen EfficientNet-lite0 and MiniLM, as `clipart.py`
does, with what that needs. Each combination gets the learning rate that is best on validation with a seed of its own,
where the task does not name one, then fresh seeds that choose nothing and read test. Each run is noted in
FOLDER/TASK, so that the same command goes on behind it. What was found, `evidence.json` there, with `--record`
`records/evidence/TASK.json`, is written when the fusions are done, and again with each objective, with the balance
methods, and with each way of training for missing inputs.

A row says of its test scores: the mean and each seed; what remains where an input is missing in every sample, though
none was in the data of its training; and how far it lies beyond another row, fusions beyond `concat`, and a fusion with
something else beyond itself without: with the margin of the verdict, over seeds and samples (95 %, for
one comparison: of forty rows two may lie outside by chance). `level_with_the_best` are the rows that cannot be told
from the best of all, by the rule of the tables of `bench`, which counts how many are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clipart import encoders as of_clipart

from mmkit.data.splits import splits_of
from mmkit.experiments.beside import Beside
from mmkit.experiments.identity import SPLITS
from mmkit.experiments.plan import Plan, plan
from mmkit.experiments.protocol import seed_of, split_of
from mmkit.experiments.run import Run, execute
from mmkit.experiments.search import search
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.file import RecordFile
from mmkit.records.record import Purpose, Record
from mmkit.records.splits import read_groups, write_splits
from mmkit.records.verdicts import Terms
from mmkit.registry.catalog import Catalog, installed
from mmkit.report.jackknife import Array
from mmkit.report.statistics import margin
from mmkit.report.summary import Row, rows
from mmkit.report.verdict import level_with_the_best
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

RECORDS = Path(__file__).parent / "records" / "evidence"
BASES = ("concat", "attention")
"""The fusions with which objectives, balance methods and ways of training are tried."""
ABSENT: tuple[dict[str, Any], ...] = (
    {"missing": "token"},
    {"modality_dropout": 0.2},
    {"missing": "token", "modality_dropout": 0.2},
)
"""Ways of training for inputs that may be missing, as `-o train.KEY=VALUE` of the command line."""
REFERENCE = "concat"


def plans(catalog: Catalog, task: str, encoders: dict[str, list[str]], fusions: Sequence[str]) -> Iterator[Plan]:
    """The plans of a task: all fusions and every single input; then what else there is with two fusions."""
    common: dict[str, Any] = {"task": task, "encoders": encoders, "settings": Settings("cpu")}
    yield plan(catalog, fusions=[*dict.fromkeys([REFERENCE, *fusions])] if fusions else ["all"], **common)
    if not fusions:
        for entry in catalog.available("objective"):
            # Those of one fusion come along with it; teachers are saved models, which are not there yet.
            if not getattr(entry.spec, "fusion", "") and not getattr(entry.spec, "teachers", False):
                yield plan(catalog, fusions=BASES, objectives=[entry.name], baselines=False, **common)
        if not encoders:  # else they are frozen, and there is nothing to balance
            yield plan(catalog, fusions=BASES, balances=["all"], baselines=False, **common)
        for way in ABSENT:
            yield plan(catalog, fusions=BASES, training=way, baselines=False, **common)


class Folder:
    """The runs of a task that are done.

    Args:
        catalog: where names are looked up.
        path: of the folder.
        asked: a plan of the task.
        seeds: of each combination.
    """

    def __init__(self, catalog: Catalog, path: Path, asked: Plan, seeds: int) -> None:
        self.catalog, self.seeds = catalog, seeds
        self.file = RecordFile(path / "records.jsonl")
        self.known = self.file.read()
        self.shared = Shared(path / "features")
        self.splits = splits_of(asked.task, catalog, asked.settings)
        self.split = split_of(self.splits)
        write_splits(path, [{name: self.splits.content(name) for name in SPLITS}])
        self.terms = Terms(read_groups(path), protocol="full")

    def done(self, asked: Plan) -> list[Record]:
        """The records of a plan's fresh seeds; runs that are not known are done."""
        return [record for combination in asked.all for record in self._seeds(asked, combination)]

    def _seeds(self, asked: Plan, combination: Combination) -> list[Record]:
        training = asked.training
        if asked.rates:
            seed = seed_of(0, self.split, "search", 0)
            found = search(asked, [combination], lambda runs: [self._record(run, "search") for run in runs], seed)
            training, _ = found[combination.key]
        seeds = [seed_of(0, self.split, "confirm", index) for index in range(self.seeds)]
        return [self._record(asked.run(combination, seed, training), "comparison") for seed in seeds]

    def _record(self, run: Run, purpose: Purpose) -> Record:
        id_ = run.id(self.splits)
        if id_ not in self.known:
            began = time.perf_counter()
            beside = Beside(controls=purpose == "comparison" and len(run.combination.encoders) > 1)
            record, _ = execute(
                run, self.splits, catalog=self.catalog, shared=self.shared, purpose=purpose, beside=beside
            )
            self.file.append(record)
            self.known[record.id] = record
            print(f"{run.combination.label} {purpose}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
        return self.known[id_]


def scores(row: Row) -> Array:
    """[S N], a score a seed and test sample; more is better."""
    sign = 1 if row.higher_is_better else -1
    return sign * np.stack([record.scores.values for record in row.records if record.scores]).astype(np.float64)


def missing(row: Row) -> dict[str, float]:
    """The mean metric on test where an input is missing in every sample."""
    inputs = row.encoders.keys()
    found: dict[str, list[float]] = {name: [] for name in inputs}
    for record in row.records:
        for subset in record.controls.subsets if record.controls else ():
            (out, *more) = inputs - set(subset.present) or ("",)
            if out and not more and subset.score is not None:
                found[out].append(subset.score)
    return {name: statistics.fmean(values) for name, values in found.items() if values}


def absence(record: Record) -> dict[str, Any]:
    """How it was trained for inputs that may be missing; empty where it was not."""
    training = record.run["training"]
    plain = {"missing": "neutral", "modality_dropout": 0.0}
    return {key: training[key] for key, default in plain.items() if training[key] != default}


def rows_of(records: Sequence[Record]) -> list[Row]:
    """A row for each combination and way of training."""
    ways: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        ways.setdefault(tuple(absence(record).items()), []).append(record)
    return [row for one in ways.values() for row in rows(one)]


def figures(row: Row, bare: Mapping[str, Row], folder: Folder, *, level: bool) -> dict[str, Any]:
    """A row of the record; `bare` are the fusions with nothing beside, by name."""
    fusion, _, balance = row.fusion.partition(" + ")
    entry = folder.catalog.named(fusion.partition(":")[0], "fusion") if not row.alone else ()
    way = absence(row.records[0])
    kind = (
        "training" if way else "balance" if balance else "objective" if row.objectives and fusion in BASES else "fusion"
    )
    of = REFERENCE if kind == "fusion" else fusion
    beyond = margin(scores(row), scores(bare[of]), groups=list(folder.terms.groups.values()))
    first = row.records[0]
    return {
        "kind": "input" if row.alone else kind,
        "fusion": fusion,
        "objectives": list(row.objectives),
        "balance": balance,
        "training": way,
        "family": getattr(entry[0].spec, "family", "") if entry else "",
        "parameters": first.cost.parameters if first.cost else None,
        "lr": row.rates[0],
        "test": [record.metrics[row.metric] for record in row.records],
        "validation": statistics.fmean(record.validation[row.metric] for record in row.records),
        "missing": missing(row),
        "beyond": {"of": of, "difference": beyond.difference, "margin": beyond.total},
        "level_with_the_best": level,
    }


def evidence(task: str, found: Sequence[Row], folder: Folder) -> dict[str, Any]:
    """The record of a task, its numbers with five digits."""
    bare = {row.fusion: row for row in found if not row.objectives and not absence(row.records[0])}
    first = bare[REFERENCE]
    level = {id(row) for row in level_with_the_best(found, folder.terms)}
    document = {
        "what": __doc__.splitlines()[0],
        "task": task,
        "made": time.strftime("%Y-%m-%d"),
        "metric": first.metric,
        "seeds": folder.seeds,
        "samples": dataclasses.asdict(first.records[0].samples),
        "encoders": {name: named(encoder) for name, encoder in first.encoders.items()},
        "rows": [figures(row, bare, folder, level=id(row) in level) for row in found],
        "machine": machine(),
        "software": software(),
    }
    short: dict[str, Any] = json.loads(json.dumps(document), parse_float=lambda number: float(f"{float(number):.5g}"))
    return short


def named(encoder: str) -> str:
    """An encoder with the names of its weights, wherever they lie.

    >>> named("timm:weights=/a/b/lite0.safetensors,size=160"), named("transformers-text:model=/a/minilm/model")
    ('timm:weights=lite0.safetensors,size=160', 'transformers-text:model=minilm/model')
    """

    def short(found: re.Match[str]) -> str:
        path = Path(found[1])
        return f"={path.name if path.suffix else '/'.join(path.parts[-2:])}"

    return re.sub(r"=(/[^,]+)", short, encoder)


def main() -> None:
    """Measure a task and write its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fusion", action="append", default=[], help="these and concat, without objectives")
    parser.add_argument("--record", action="store_true", help="write the record of the task")
    options = parser.parse_args()
    if options.record and options.fusion:
        parser.error("a record has all fusions; leave out --fusion, or --record")
    torch.set_num_threads(1)
    catalog = installed()
    label = re.sub(r"[^a-z0-9]+", "-", options.task).strip("-")
    encoders = of_clipart(options.folder) if options.task.startswith("clipart") else {}
    asked = list(plans(catalog, options.task, encoders, options.fusion))
    folder = Folder(catalog, options.folder / label, asked[0], options.seeds)
    records: list[Record] = []
    for one in asked:
        records += folder.done(one)
        document = evidence(options.task, rows_of(records), folder)
        file = RECORDS / f"{label}.json" if options.record else options.folder / label / "evidence.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
