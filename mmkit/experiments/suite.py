"""A suite: all runs of a plan, in one folder, which can be resumed.

DIR/records.jsonl   one line per run, written when it ends
DIR/suite.json      the plan, and the costs of all combinations
DIR/scores/         the score of each test sample, a file a run
DIR/splits.parquet  the id, the split and the groups of each sample
DIR/unread.parquet  the values that could not be used
DIR/models/         the model of the best seed of each combination, with --save
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmkit.data.splits import Splits, splits_of
from mmkit.errors import MmkitError, UsageError
from mmkit.experiments.costs import Costs
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.identity import (
    SPLITS,
    check_belongs,
    check_identity,
    warn_unseen,
)
from mmkit.experiments.kept import Kept
from mmkit.experiments.plan import Plan
from mmkit.experiments.run import Run, surroundings
from mmkit.experiments.saving import BestModels, model_folder
from mmkit.experiments.search import Searched, known_search
from mmkit.experiments.steps import Steps, rows_of
from mmkit.experiments.task_checks import check_task
from mmkit.experiments.yardsticks import wanted
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.file import RecordFile
from mmkit.records.record import Record
from mmkit.records.splits import write_splits
from mmkit.records.unread import read_unread
from mmkit.registry.catalog import Catalog
from mmkit.report.html import html_of
from mmkit.report.summary import Cell, Row, best, names, rows, table, tied
from mmkit.report.verdict import Verdict, verdict
from mmkit.system.files import at_home, owned, write_json
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
        records: of the plan's runs, in its order, then of yardsticks. Those of searches are in `records.jsonl` alone.
    """

    folder: Path
    plan: Plan
    records: list[Record] = field(default_factory=list)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        found = self.rows
        level = [id(row) for row in tied(found)]
        called = [name for name, row in zip(names(found), found, strict=True) if id(row) in level]
        on_top = f"; best on validation: {' and '.join(called)}" if called else ""
        runs = sum(record.purpose == "comparison" for record in self.records)
        return f"<Suite {self.folder}: {runs} run{'s' * (runs != 1)}{failed}{on_top}>"

    def _repr_html_(self) -> str:
        return html_of(self.rows)

    @property
    def rows(self) -> list[Row]:
        """One row per combination, over its seeds; the best on validation first."""
        return rows(self.records)

    @property
    def best(self) -> Row | None:
        """The combination, fusion or single input, that is best on validation; None if every run failed.

        Of several that are level it is the first of the plan; `rows` says of each whether it is level with the best.
        """
        return best(self.rows)

    @property
    def verdict(self) -> Verdict | None:
        """The comparison of the best fusion with the best single input; None if one of them is missing."""
        return verdict(self.rows)

    @property
    def models(self) -> dict[str, Path]:
        """The folders of saved models, for `mmkit.load`, by the names that `table` uses; empty if none were saved."""
        rows_of_plan = rows_of(self.plan)
        folders = [model_folder(self.folder, combination) for combination in self.plan.all]
        return {name: folder for name, folder in zip(names(rows_of_plan), folders, strict=True) if folder.is_dir()}

    @property
    def failures(self) -> list[Record]:
        """The records of failed runs; a yardstick that could not be fitted is none, but is shown."""
        return [record for record in self.records if record.status != "ok" and record.purpose == "comparison"]

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
    yardsticks: bool | None = None,
    cache: Path | None = None,
    keep: int | None = None,
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
        yardsticks: also fit what a user could do without mmkit; None does so where scikit-learn is installed and the
            training split is small.
        cache: folder for the features of frozen encoders, and for transformed splits that are larger than memory; None
            keeps them in memory, for this suite.
        keep: bytes of transformed splits there; None is a tenth of what is free, at most 20 GiB.
        progress: receives reports of progress.

    Raises:
        UsageError: the folder cannot be written, is in use, or holds records of another task; or of another machine,
            other versions, other data or other code.
        UnavailableError: yardsticks are asked for, and scikit-learn is not installed.
        DataError: a record cannot be read, or truth cannot be used.
        MmkitError: no combination can be built; the error is that of the first.
    """
    folder = at_home(folder)
    with owned(folder):  # first, because opening the records removes a line that another process is writing
        file = RecordFile(folder / "records.jsonl")
        known = file.read()
        splits = splits_of(plan.task, catalog, plan.settings)
        _check_folder(plan, known, splits, folder, mix=mix)
        warn_unseen(plan.runs(), splits, progress.warn)
        kept = Kept(folder, len(plan.runs()))
        with kept.writing():
            if document := getattr(splits.task, "document", None):
                write_json(folder / "data.json", document())
            write_splits(folder, {name: splits.content(name) for name in SPLITS})
        searched = _known_searches(plan, known, splits)
        unsearched = {one.key for one in plan.all if plan.rates and one.key not in searched.training}
        runs = {run.id(splits): run for run in plan.runs(searched.training) if run.combination.key not in unsearched}
        pending = _pending(runs, known)
        kept.finished = len(runs) - len(pending)
        if kept.finished:
            progress.note(f"{kept.finished} of {kept.runs} runs are already in {folder} and are not repeated")
        progress.update("runs", kept.finished, kept.runs)
        steps = Steps(splits, catalog, file, known, kept, Shared(cache, progress, keep))
        with kept.told(progress):
            if pending or unsearched:
                progress.stage("checks of the task")
                for line in check_task(splits, refuse_unseen=refuses_unseen(plan)):
                    progress.note(line)
            with_yardsticks = wanted(yardsticks, splits)
            uncosted = {id_: r for id_, r in runs.items() if cost and id_ not in pending and not known[id_].throughput}
            tried = unsearched | {run.combination.key for run in [*pending.values(), *uncosted.values()]}
            plan, buildable = _buildable(plan, tried, splits, steps.shared)
            costs = steps.costs(plan, buildable if cost else {}) if tried else Costs({}, {})
            for id_, run in uncosted.items():
                if found := costs.of.get(run.combination.key):
                    steps.add(replace(known[id_], throughput=found.throughput, cost=found.cost))
            steps.search(plan, [one for key, one in buildable.items() if key in unsearched], searched)
            runs = {run.id(splits): run for run in plan.runs(searched.training)}
            kept.runs = len(runs)
            steps.run(plan, _pending(runs, known), costs, searched, save=save)
            if save:
                with kept.writing():
                    BestModels(folder, splits, known).complete(runs.values(), steps.perform, progress.note)
            done = [(run, known[id_]) for id_, run in runs.items()]
            beside = steps.yardsticks(done) if with_yardsticks else []
    return Suite(folder, plan, [*(record for _, record in done), *beside])


def _check_folder(plan: Plan, known: Mapping[str, Record], splits: Splits, folder: Path, *, mix: bool) -> None:
    """Check that the records of a folder may be continued.

    Raises:
        UsageError: they are of another task; or, without `mix`, of another machine, other versions, data or code.
    """
    check_belongs(known, plan.task, splits.task, folder)
    if not mix:
        for record in known.values():
            _check_surroundings(record, plan.runs()[0], folder)
        check_identity(known.values(), plan.runs(), splits, folder)


def _pending(runs: Mapping[str, Run], known: Mapping[str, Record]) -> dict[str, Run]:
    return {id_: run for id_, run in runs.items() if id_ not in known or known[id_].status != "ok"}


def _known_searches(plan: Plan, known: Mapping[str, Record], splits: Splits) -> Searched:
    """The searches for a learning rate that the folder holds."""
    searched = Searched()
    for combination in plan.all if plan.rates else ():
        found = known_search(plan, combination, known, splits)
        if found:
            searched.add(combination.key, *found)
    return searched


def refuses_unseen(plan: Plan) -> bool:
    """Whether a class that training lacks ends every run: no head takes it, and it is not to be dropped."""
    transforms = [getattr(one.head.component, "reads", None) for one in plan.all]
    known = all(isinstance(transform, type) and issubclass(transform, Categories) for transform in transforms)
    return plan.settings.on_error == "fail" and known


def _buildable(plan: Plan, pending: Set[str], splits: Splits, shared: Shared) -> tuple[Plan, dict[str, Combination]]:
    """The plan without optional combinations that fail the dry run, and all of it, by key, that pass.

    Those that are not pending are not tried.

    Raises:
        MmkitError: no combination, apart from baselines, can be built; the error is that of the first.
    """
    every = {combination.key: combination for combination in plan.all}
    tried = (every[key] for key in every if key in pending)
    errors = {one.combination.key: one.error for one in dry_run(tried, splits, plan.settings, shared) if one.error}
    of_combinations = [errors.get(combination.key) for combination in plan.combinations]  # without baselines
    if of_combinations[0] and all(isinstance(error, MmkitError) for error in of_combinations):
        raise of_combinations[0]
    if not all(of_combinations):  # else nothing would be left
        before, plan = len(plan.left_out), plan.without(errors)
        for name, reason in plan.left_out[before:]:
            shared.progress.note(f"{name} is left out: {reason}")
    return plan, {key: combination for key, combination in every.items() if key not in errors}


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
