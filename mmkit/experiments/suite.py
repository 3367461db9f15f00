"""A suite: all runs of a plan, in one folder, which can be resumed.

DIR/records.jsonl   one line per run, written when it ends
DIR/suite.json      the plan, and the costs of all combinations
DIR/scores/         the score of each test sample, a file a run
DIR/splits.parquet  the id, the split and the groups of each sample
DIR/unread.parquet  the values that could not be used
DIR/models/         the model of the best seed of each combination, with --save
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits, splits_of
from mmkit.errors import MmkitError, UsageError
from mmkit.experiments.costs import CombinationCost, Costs, measure_costs
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.identity import (
    SPLITS,
    check_belongs,
    check_identity,
    code_of_run,
    data_of,
    warn_unseen,
)
from mmkit.experiments.kept import Kept
from mmkit.experiments.plan import Plan
from mmkit.experiments.run import Run, execute, failed, surroundings
from mmkit.experiments.saving import BestModels, Execute, model_folder
from mmkit.experiments.task_checks import check_task
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.trained import MultimodalModel
from mmkit.records.file import RecordFile
from mmkit.records.record import SCHEMA, Record
from mmkit.records.splits import write_splits
from mmkit.records.unread import read_unread
from mmkit.registry.catalog import Catalog
from mmkit.report.html import html_of
from mmkit.report.summary import Cell, Row, names, rows, table
from mmkit.report.verdict import Verdict, verdict, written
from mmkit.system.files import at_home, owned, write_json
from mmkit.system.machine import machine, software
from mmkit.system.progress import SILENT, Progress
from mmkit.system.state import own_state
from mmkit.transforms.truth import Categories

COMPARED = ("machine", "software", "plugins", "libraries")


@dataclass(frozen=True, repr=False)
class Suite:
    """The results of all runs of a plan.

    Args:
        folder: of the suite.
        plan: of the suite.
        records: of the plan's runs, in its order.
    """

    folder: Path
    plan: Plan
    records: list[Record] = field(default_factory=list)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        called = next((name for name, row in zip(names(self.rows), self.rows, strict=True) if row.records), None)
        best = f"; best on validation: {called}" if called else ""
        return f"<Suite {self.folder}: {len(self.records)} run{'s' * (len(self.records) != 1)}{failed}{best}>"

    def _repr_html_(self) -> str:
        return html_of(self.rows)

    @property
    def rows(self) -> list[Row]:
        """One row per combination, over its seeds; the best on validation first."""
        return rows(self.records)

    @property
    def best(self) -> Row | None:
        """The combination, fusion or single input, that is best on validation; None if every run failed."""
        return next((row for row in self.rows if row.records), None)

    @property
    def verdict(self) -> Verdict | None:
        """The comparison of the best fusion with the best single input; None if one of them is missing."""
        return verdict(self.rows)

    @property
    def models(self) -> dict[str, Path]:
        """The folders of saved models, for `mmkit.load`, by the names that `table` uses; empty if none were saved."""
        rows_of_plan = _rows_of(self.plan)
        folders = [model_folder(self.folder, combination) for combination in self.plan.all]
        return {name: folder for name, folder in zip(names(rows_of_plan), folders, strict=True) if folder.is_dir()}

    @property
    def failures(self) -> list[Record]:
        """The records of failed runs."""
        return [record for record in self.records if record.status != "ok"]

    @property
    def unread(self) -> list[str]:
        """The values that could not be used, a line each, of all runs of the folder."""
        if not any(count for record in self.records for count in record.unread.values()):
            return []
        return [value.line for value in read_unread(self.folder)]

    def table(self) -> list[dict[str, Cell]]:
        """One row per combination as plain values, the best on validation first: `pandas.DataFrame(suite.table())`.

        All rows have the same columns, with None for a missing value. The first, "combination", is the name.
        """
        return table(self.rows)


@own_state()
def carry_out(
    plan: Plan,
    folder: Path,
    catalog: Catalog,
    *,
    save: bool = False,
    mix: bool = False,
    cost: bool = True,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> Suite:
    """Run all runs of the plan that the folder does not hold yet, and measure and save what it lacks of the others.

    Args:
        plan: the runs.
        folder: of the suite; it is created if needed.
        catalog: where modalities are looked up.
        save: save the model of each combination, of the seed that is best on validation.
        mix: continue although machine, software, plugins, data or code differ from those of existing records.
        cost: also measure speed, memory and FLOPs.
        cache: folder for the features of frozen encoders; None keeps them in memory, for this suite.
        progress: receives reports of progress.

    Raises:
        UsageError: the folder cannot be written, is in use, or holds records of another task; or of another machine,
            other versions, other data or other code.
        DataError: a record cannot be read, or truth cannot be used.
        MmkitError: no combination can be built; the error is that of the first.
    """
    folder = at_home(folder)
    with owned(folder):  # first, because opening the records removes a line that another process is writing
        file = RecordFile(folder / "records.jsonl")
        known = file.read()
        splits = splits_of(plan.task, catalog, plan.settings)
        check_belongs(known, plan.task, splits.task, folder)
        if document := getattr(splits.task, "document", None):
            write_json(folder / "data.json", document())
        runs = {run.id(splits): run for run in plan.runs()}
        if not mix:
            for record in known.values():
                _check_surroundings(record, next(iter(runs.values())), folder)
            check_identity(known.values(), runs.values(), splits, folder)
        warn_unseen(runs.values(), splits, progress.warn)
        write_splits(folder, {name: splits.content(name) for name in SPLITS})
        pending = {id_: run for id_, run in runs.items() if id_ not in known or known[id_].status != "ok"}
        finished = len(runs) - len(pending)
        if finished:
            progress.note(f"{finished} of {len(runs)} runs are already in {folder} and are not repeated")
        progress.update("runs", finished, len(runs))
        shared = Shared(cache, progress)
        called = dict(zip((one.key for one in plan.all), names(_rows_of(plan)), strict=True))
        kept = Kept(folder, len(runs), finished)
        with kept.told(progress):
            if pending:
                progress.stage("checks of the task")
                for line in check_task(splits, refuse_unseen=refuses_unseen(plan)):
                    progress.note(line)
            uncosted = {id_: r for id_, r in runs.items() if cost and id_ not in pending and not known[id_].throughput}
            tried = {run.combination.key for run in [*pending.values(), *uncosted.values()]}
            buildable = _buildable(plan, tried, splits, shared)
            costs = _costs(plan, buildable if cost else {}, splits, kept, shared) if tried else Costs({}, {})
            for id_, run in uncosted.items():
                if found := costs.of.get(run.combination.key):
                    known[id_] = replace(known[id_], throughput=found.throughput, cost=found.cost)
                    with kept.writing():
                        file.append(known[id_])
            perform = partial(execute, splits=splits, catalog=catalog, shared=shared)
            best = BestModels(folder, splits, known) if save else None
            for id_, run in pending.items():
                name = f"{called[run.combination.key]}, seed {run.seed}"
                progress.stage(name)
                record, model = _recorded(run, splits, perform, costs.of.get(run.combination.key), progress)
                with kept.writing():
                    if best and model:
                        best.keep(run, record, model)
                    file.append(record)
                known[id_] = record
                kept.finished += 1
                progress.update("runs", kept.finished, len(runs))
                progress.finished(
                    f"{kept.finished} of {len(runs)} runs: {name}{_outcome(record)}", ok=record.status == "ok"
                )
            if best:
                with kept.writing():
                    best.complete(runs.values(), perform, progress.note)
    return Suite(folder, plan, [known[id_] for id_ in runs])


def _rows_of(plan: Plan) -> list[Row]:
    """The rows that the combinations of a plan will have, for their names."""
    return [
        Row({name: str(choice) for name, choice in one.encoders.items()}, one.label, str(one.head), ())
        for one in plan.all
    ]


def refuses_unseen(plan: Plan) -> bool:
    """Whether a class that training lacks ends every run: no head takes it, and it is not to be dropped."""
    transforms = [getattr(one.head.component, "reads", None) for one in plan.all]
    known = all(isinstance(transform, type) and issubclass(transform, Categories) for transform in transforms)
    return plan.settings.on_error == "fail" and known


def _outcome(record: Record) -> str:
    """Score on validation and duration of a run."""
    if record.status != "ok":
        return " failed; see the reason below"
    score = record.validation.get(record.metric)
    told = "not defined" if score is None else written(score, record.metric)
    return f": {record.metric} {told} on validation, {record.seconds or 0:.0f} s"


def _recorded(
    run: Run, splits: Splits, perform: Execute, cost: CombinationCost | None, progress: Progress
) -> tuple[Record, MultimodalModel | None]:
    try:
        record, model = perform(run)
    except Exception as error:
        if isinstance(error, RejectedError) and error.for_all:
            raise  # the test split is unusable, and every other run would fail after its training
        progress.failed(error)
        return failed(run, splits, error), None  # an error of a third party's component fails its own runs only
    return (replace(record, throughput=cost.throughput, cost=cost.cost) if cost else record), model


def _buildable(plan: Plan, pending: Set[str], splits: Splits, shared: Shared) -> dict[str, Combination]:
    """The combinations of the plan, by key, that pass the dry run. Those that are not pending are not tried.

    Raises:
        MmkitError: no combination, apart from baselines, can be built; the error is that of the first.
    """
    every = {combination.key: combination for combination in plan.all}
    tried = (every[key] for key in every if key in pending)
    errors = {one.combination.key: one.error for one in dry_run(tried, splits, plan.settings, shared) if one.error}
    of_combinations = [errors.get(combination.key) for combination in plan.combinations]  # without baselines
    if of_combinations[0] and all(isinstance(error, MmkitError) for error in of_combinations):
        raise of_combinations[0]
    return {key: combination for key, combination in every.items() if key not in errors}


def _costs(plan: Plan, buildable: Mapping[str, Combination], splits: Splits, kept: Kept, shared: Shared) -> Costs:
    """The costs of combinations: those in the folder, if they are of the same code, data, machine and settings.

    Else they are measured and written.
    """
    path = kept.folder / "suite.json"
    combinations = {
        key: {**combination.document(), "code": code_of_run(plan.task, combination, splits)}
        for key, combination in buildable.items()
    }
    measured = {
        "data": data_of(splits)["train"],
        "machine": machine(),
        "software": software(),
        "combinations": combinations,
        "batch_size": plan.training.batch_size,
        "device": plan.settings.device,
        "precision": plan.settings.precision,
        "task": str(plan.task),
    }
    try:
        before = json.loads(path.read_text("utf-8"))
        known = before["measured"]
        same = {**known, "combinations": combinations} == measured
        if same and combinations.items() <= known["combinations"].items():
            return Costs.of_document(before)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: measured again
    costs = measure_costs(buildable, splits, plan.training, plan.settings, shared)
    document = {
        "schema": SCHEMA,
        "task": str(plan.task),
        "seeds": list(plan.seeds),
        "left_out": [list(pair) for pair in plan.left_out],
        "measured": measured,
        **costs.document(),
    }
    with kept.writing():
        write_json(path, document)
    return costs


def _check_surroundings(known: Record, run: Run, folder: Path) -> None:
    """Check that the environment is that of an existing record.

    Raises:
        UsageError: it differs.
    """
    current = surroundings(run)
    for part in COMPARED:
        then, now = getattr(known, part), current[part]
        for name in then.keys() & now.keys():
            if then[name] != now[name]:
                raise UsageError(
                    f"{folder} holds records with {part} {name} {then[name]}, and now it is {now[name]}; "
                    "choose another --out, or --mix to continue in this one"
                )
