"""A suite: all runs of a plan, in one folder, begun or gone on with.

DIR/records.jsonl   one line a run, written when it ends
DIR/suite.json      the plan, and the timings that all combinations share
DIR/samples.json    the ids of the samples of each split
DIR/models/         the weights of the best seed of each combination, where asked for
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmkit.catalog import Catalog
from mmkit.combination import Combination
from mmkit.contract import Split
from mmkit.data.refused import RefusedError
from mmkit.data.splits import Splits
from mmkit.errors import MmkitError, UsageError
from mmkit.features.shared import Shared
from mmkit.plan import Plan
from mmkit.price import Price, Prices, prices
from mmkit.record import SCHEMA, Record, Records, fingerprint, owned
from mmkit.rehearsal import rehearsed
from mmkit.run import Run, execute, failed, splits_of, surroundings

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
COMPARED = ("machine", "software", "plugins", "libraries")


class Watcher:
    """Told what a suite is doing; this one keeps silent."""

    def planned(self, runs: int, found: int) -> None:
        """So many runs in all, so many of them found finished."""

    def measuring(self, what: str) -> None:
        """A combination is rehearsed, or speed or memory is measured."""

    def started(self, run: Run) -> None:
        """A run begins."""

    def encoding(self, name: str, done: int, samples: int) -> None:
        """A frozen encoder has computed the features of so many samples of an input."""

    def noted(self, message: str) -> None:
        """Something that the user should know, and that stops nothing."""

    def epoch(self, done: int, planned: int) -> None:
        """An epoch of it ended."""

    def finished(self, record: Record) -> None:
        """A run ended, well or not."""


@dataclass(frozen=True, repr=False)
class Suite:
    """What a suite found.

    Args:
        folder: where it is kept.
        plan: what was asked.
        records: of the plan's runs, in its order.
    """

    folder: Path
    plan: Plan
    records: list[Record] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Suite {self.folder}: {len(self.records)} runs, {len(self.failures)} failed>"

    @property
    def failures(self) -> list[Record]:
        """Runs that could not be done."""
        return [record for record in self.records if record["status"] != "ok"]


def carry_out(
    plan: Plan,
    folder: Path,
    catalog: Catalog,
    *,
    save: bool = False,
    mix: bool = False,
    price: bool = True,
    cache: Path | None = None,
    watcher: Watcher | None = None,
) -> Suite:
    """Do all runs of the plan that the folder does not hold yet.

    Args:
        plan: the runs.
        folder: of the suite; it need not exist.
        catalog: where modalities are looked up.
        save: keep the weights of the best seed of each combination.
        mix: go on although machine, software or plugins differ from those of the records that are there.
        price: measure speed, memory and FLOPs as well.
        cache: folder for the features of frozen encoders; None keeps them for this suite, in memory.
        watcher: told of the progress.

    Raises:
        UsageError: the folder cannot be written, is in use, or holds records of another machine or other versions.
        DataError: a record cannot be read, or truth cannot be used.
        MmkitError: no combination can be built, for the reason of the first.
    """
    watcher = watcher or Watcher()
    with owned(folder):  # before the records are opened, which cuts off what another process has half written
        records = Records(folder / "records.jsonl")
        there = records.read()
        splits = splits_of(plan.task, catalog, plan.on_error, plan.limit)
        runs = {run.id(splits): run for run in plan.runs()}
        if not mix:
            for known in there.values():
                _same_surroundings(known, next(iter(runs.values())), folder)
        pending = {id_: run for id_, run in runs.items() if there.get(id_, {}).get("status") != "ok"}
        watcher.planned(len(runs), len(runs) - len(pending))
        shared = Shared(cache, watcher.encoding, watcher.noted)
        able = _able(plan, {_key(run.combination) for run in pending.values()}, splits, watcher, shared)
        priced = _priced(plan, able if price else {}, splits, folder, watcher, shared) if pending else Prices({}, {})
        best = _Best(folder / "models") if save else None
        for id_, run in pending.items():
            watcher.started(run)
            work = partial(execute, run, splits, catalog=catalog, shared=shared)
            there[id_] = _recorded(run, splits, work, priced.of.get(_key(run.combination)), watcher, best)
            records.append(there[id_])
            watcher.finished(there[id_])
        if pending:
            # Last, so that nothing asks for the test split before the first model is trained.
            _write(folder / "samples.json", {"schema": SCHEMA, **{name: list(splits(name).ids) for name in SPLITS}})
    return Suite(folder, plan, [there[id_] for id_ in runs])


def _recorded(
    run: Run, splits: Splits, work: Callable[..., Any], price: Price | None, watcher: Watcher, best: _Best | None
) -> Record:
    try:
        record, model = work(report=watcher.epoch)
    except Exception as error:
        if isinstance(error, RefusedError) and error.for_all:  # of the test split: the others would fail after training
            raise
        return failed(run, splits, error)  # whatever a third party's component raises costs its own runs only
    if best:
        best.keep(run, record, model.save)
    return record | (price or {})


def _able(plan: Plan, pending: Set[str], splits: Splits, watcher: Watcher, shared: Shared) -> dict[str, Combination]:
    """The combinations of the plan, by key, without those that a rehearsal of what is pending finds wanting.

    Raises:
        MmkitError: nothing that was asked for can be built, for the reason of the first.
    """
    every = {_key(combination): combination for combination in plan.all}
    asked = (every[key] for key in every if key in pending)
    found = rehearsed(asked, splits, plan.device, plan.precision, shared, report=watcher.measuring)
    errors = {_key(one.combination): one.error for one in found if one.error}
    wanted = [errors.get(_key(combination)) for combination in plan.combinations]  # baselines alone are not
    if wanted[0] and all(isinstance(error, MmkitError) for error in wanted):
        raise wanted[0]
    return {key: combination for key, combination in every.items() if key not in errors}


def _priced(
    plan: Plan, able: Mapping[str, Combination], splits: Splits, folder: Path, watcher: Watcher, shared: Shared
) -> Prices:
    """What is in the folder for these combinations, on this plan; else measured now and written there with the plan."""
    path = folder / "suite.json"
    combinations = {key: combination.document() for key, combination in able.items()}
    asked = {
        "combinations": combinations,
        "batch_size": plan.training.batch_size,
        "device": plan.device,
        "precision": plan.precision,
        "task": str(plan.task),
    }
    try:
        before = json.loads(path.read_text("utf-8"))
        known = before["speed_of"]
        if {**known, "combinations": combinations} == asked and combinations.items() <= known["combinations"].items():
            return Prices(before["prices"], before["rounds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing there, or torn: it is measured anew
    priced = prices(able, splits, plan.training, plan.device, plan.precision, shared, report=watcher.measuring)
    document = {
        "schema": SCHEMA,
        "task": str(plan.task),
        "seeds": list(plan.seeds),
        "left_out": [list(pair) for pair in plan.left_out],
        "speed_of": asked,
        "prices": priced.of,
        "rounds": priced.rounds,
    }
    _write(path, document)
    return priced


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a whole file or none."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    fresh.replace(path)


def _key(combination: Combination) -> str:
    return fingerprint(combination.document())


def _same_surroundings(known: Mapping[str, Any], run: Run, folder: Path) -> None:
    here = surroundings(run)
    for part in COMPARED:
        then, now = known.get(part, {}), here[part]
        for name in then.keys() & now.keys():
            if then[name] != now[name]:
                raise UsageError(
                    f"{folder} holds records with {part} {name} {then[name]}, and here it is {now[name]}; "
                    "choose another --out, or --mix to go on"
                )


class _Best:
    """The saved model of each combination: that of the seed which validation finds best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, run: Run, record: Record, save: Callable[[Path], None]) -> None:
        """Save the model if no better seed of its combination is there."""
        name = re.sub(r"[^\w.=-]+", "_", run.combination.label).strip("_")
        path = self.folder / f"{name}-{_key(run.combination)[:6]}"
        note = path.with_suffix(".score.json")
        value = record["validation"][record["metric"]]
        if value is None:
            return
        rank = value if record["higher_is_better"] else -value
        try:
            if json.loads(note.read_text("utf-8"))["rank"] >= rank:
                return
        except (OSError, ValueError, KeyError):
            pass  # none is there yet
        save(path)
        note.write_text(json.dumps({"rank": rank, "seed": run.seed, "id": record["id"]}) + "\n", "utf-8")
