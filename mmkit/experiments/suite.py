"""A suite: all runs of a plan, in one folder, which can be resumed.

DIR/records.jsonl   one line per run, written when it ends
DIR/suite.json      the plan, and the costs of all combinations
DIR/scores/         the score of each test sample, a file a run
DIR/splits.parquet  the id, the split and the groups of each sample
DIR/unread.parquet  the values that could not be used
DIR/verdicts.jsonl  the verdicts, with the runs that each rests on
DIR/models/         the model of the best run of each combination, with --save
DIR/worst/          the worst errors of each run with their samples, with --with-samples
DIR/budget.json     what was measured before a search within a budget, by which it is spent
DIR/blend/          the answers of its models on validation and test
DIR/command.txt     the command that asked for it
DIR/tensorboard/    event files, a folder a run, with --tensorboard
DIR/profile/        traces of one combination, with --profile
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkit.data.splits import Splits, built
from mmkit.errors import MmkitError, UsageError
from mmkit.experiments.costs import Costs
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.forecast import SHORT, Forecast, forecast_of
from mmkit.experiments.identity import SPLITS, data_of, fold_of, warn_unseen
from mmkit.experiments.kept import Kept
from mmkit.experiments.means import Means, asked_of
from mmkit.experiments.outlook import means_of, outlook_of
from mmkit.experiments.parts import Part
from mmkit.experiments.plan import Plan
from mmkit.experiments.profiling import profiled_one, write_traces
from mmkit.experiments.protocol import SoFar, counted
from mmkit.experiments.run import Run
from mmkit.experiments.saving import model_folder
from mmkit.experiments.steps import Steps, rows_of
from mmkit.experiments.task_checks import check_task
from mmkit.experiments.yardsticks import wanted
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.file import COMMAND, RecordFile
from mmkit.records.record import Record
from mmkit.records.splits import read_groups, write_splits
from mmkit.records.unread import read_unread
from mmkit.records.verdicts import Terms, add_verdict, terms_of
from mmkit.registry.catalog import Catalog
from mmkit.report.html import html_of
from mmkit.report.page.page import page
from mmkit.report.summary import Cell, Row, best, names, rows, table, tied
from mmkit.report.verdict import Verdict, verdict
from mmkit.system.executors.jobs import Executor, closed
from mmkit.system.executors.serial import Serial
from mmkit.system.files import at_home, owned, write_json, write_text
from mmkit.system.progress import SILENT, Progress
from mmkit.system.state import own_state, own_threads
from mmkit.system.times import in_words
from mmkit.training.events import check_installed
from mmkit.transforms.truth import Categories


@dataclass(frozen=True, repr=False)
class Suite:
    """The results of all runs of a plan.

    Args:
        folder: of the suite.
        plan: of the suite.
        records: of the runs that are compared, in their order, and those that a budget has stopped; then of a blend and
            of yardsticks. Those of searches for learning rates are in `records.jsonl` alone, but for the best of each
            fusion where several race.
        terms: of the verdict.
    """

    folder: Path
    plan: Plan
    records: list[Record] = field(default_factory=list)
    terms: Terms = field(default_factory=Terms)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        found = self.rows
        level = [id(row) for row in tied(found)]
        called = [name for name, row in zip(names(found), found, strict=True) if id(row) in level]
        on_top = f"; best on validation: {' and '.join(called)}" if called else ""
        runs = sum(record.purpose == "comparison" for record in self.records)
        return f"<Suite {self.folder}: {runs} run{'s' * (runs != 1)}{failed}{on_top}>"

    def _repr_html_(self) -> str:
        return html_of(self.rows, self.terms)

    @property
    def rows(self) -> list[Row]:
        """One row per combination, over its seeds: those that were confirmed first, the best on validation first."""
        return rows(self.records)

    @property
    def best(self) -> Row | None:
        """The combination, fusion or single input, that is best on validation of those that were confirmed.

        Of several that are level it is the first of the plan. None if every run failed.
        """
        return best(self.rows)

    @property
    def verdict(self) -> Verdict | None:
        """The comparison of the chosen fusion with every single input; None if one of them is missing."""
        return verdict(self.rows, self.terms)

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
        return list(dict.fromkeys(value.line for value in read_unread(self.folder)))  # of folds, several read a value

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page of the suite, one HTML file; its path.

        Args:
            path: of the file; None is `report.html` in the folder of the suite.

        Raises:
            UnavailableError: what draws it is not installed.
            DataError: something in the folder cannot be read.
            OSError: the file cannot be written.
        """
        file = self.folder / "report.html" if path is None else at_home(path)
        write_text(file, page(self.folder))
        return file

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
    samples: bool = False,
    command: str = "",
    cache: Path | None = None,
    keep: int | None = None,
    tensorboard: bool = False,
    profile: str | bool = False,
    modes: bool = False,
    executor: Executor | None = None,
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
        samples: keep the worst errors on test of each run, with their samples.
        command: that asked for it, for a reader; empty if none did.
        cache: folder for the features of frozen encoders, and for transformed splits that are larger than memory; None
            keeps them in memory, for this suite.
        keep: bytes of transformed splits there; None is a tenth of what is free, at most 20 GiB.
        tensorboard: also write event files of the runs that are done now.
        profile: also trace one combination: its name, or True for the only one.
        modes: also time the chosen fusion compiled, and as a CUDA graph; of the full protocol with costs.
        executor: does the runs, and is closed at the end; None does one after the other in this process.
        progress: receives reports of progress.

    Raises:
        UsageError: the folder cannot be written, is in use, or holds records of another task; or of another machine,
            other versions, other data or other code; or several combinations are to be traced; or several workers
            are to spend a budget.
        UnavailableError: yardsticks or event files are asked for, and what they need is not installed.
        DataError: a record cannot be read, or truth cannot be used.
        MmkitError: no combination can be built; the error is that of the first.
    """
    folder, executor = at_home(folder), executor or Serial()
    _check_asked(plan, executor, save=save, tensorboard=tensorboard, modes=modes, cost=cost)
    began = time.monotonic()
    traced = profiled_one(
        plan, {called: one for one, called in zip(plan.all, names(rows_of(plan)), strict=True)}, profile
    )
    # The lock comes first, because opening the records removes a line that another process is writing.
    with owned(folder), own_threads(plan.settings.threads), closed(executor), _common(cache, executor) as common:
        file = RecordFile(folder / "records.jsonl")
        known = file.read()
        parts = [Part.of(part, catalog, known, folder, mix=mix) for part in plan.parts]
        kept = _begun(plan, parts, known, folder, progress, command)
        shared = Shared(common, progress, keep)
        with kept.told(progress):
            terms = Terms(read_groups(folder), plan.same, plan.protocol)
            states = [part.state(known, terms) for part in parts]
            pending = {key for part in parts for key in part.unsearched}
            pending |= {key for state in states for key, count in state.left.items() if count > 0}
            start = _ready(plan, parts, executor, progress) if pending else 0.0
            with_yardsticks = wanted(yardsticks, parts[0].splits)
            uncosted = [
                _uncosted(state, known, part.splits) if cost else {} for part, state in zip(parts, states, strict=True)
            ]
            tried = pending | {run.combination.key for runs in uncosted for run in runs.values()}
            asked = asked_of(plan, data_of(parts[0].splits))
            plan, buildable = _buildable(plan, tried, parts[0].splits, shared)
            parts = [replace(part, plan=one) for part, one in zip(parts, plan.parts, strict=True)]
            kept.runs = max(kept.finished, counted(plan, promoted=bool(plan.rates)))
            estimated = parts[0].means is None and (progress.shows or plan.budget is not None)
            waiting = {key: one for key, one in buildable.items() if key in pending and estimated}
            forecast = forecast_of(
                parts, waiting, states, shared, cost=cost, detailed=cost, workers=executor.workers, start=start
            )
            means = parts[0].means
            if pending:
                means = _told(plan, means, asked, forecast, known.values(), began, progress)
            events = folder if tensorboard else None
            steps = [
                Steps(
                    part,
                    number,
                    catalog,
                    file,
                    known,
                    kept,
                    shared,
                    forecast,
                    terms,
                    samples,
                    events,
                    detailed=cost and plan.protocol == "full",
                    modes=modes,
                    costed=cost and plan.search_options,
                    executor=executor,
                )
                for number, part in enumerate(parts)
            ]
            if traced is not None:
                progress.stage(f"profile of {traced.label}")
                for path in write_traces(traced, plan, parts[0].splits, folder, shared):
                    progress.note(f"{path} is a trace for Perfetto or chrome://tracing")
            now = buildable if cost and not plan.search_options else {}  # options that are searched: once chosen
            costs = steps[0].costs(now) if tried else Costs({}, {})
            steps = steps if means is None else [_with_budget(steps[0], means, began, forecast.costs)]
            for step, runs in zip(steps, uncosted, strict=True):
                step.add_costs(runs, costs)
            done: list[Record] = []
            beside: list[Record] = []
            del parts
            while steps:  # one after the other, and what a fold has read goes with it
                step = steps.pop(0)
                of_part = step.all(buildable, costs, save=save)
                done += [record for _, record in of_part if record.purpose != "search" or record.stopped]
                beside += step.blend(of_part)
                beside += step.yardsticks(of_part) if with_yardsticks else []
                if step.budget is not None:
                    plan = step.budget.plan  # with the options that were chosen
            return _judged(Suite(folder, plan, [*done, *beside], terms), kept)


def _told(
    plan: Plan,
    means: Means | None,
    asked: str,
    forecast: Forecast,
    known: Iterable[Record],
    began: float,
    progress: Progress,
) -> Means | None:
    """Tell how long what is left will take, or what a budget affords; the means of a budget.

    Raises:
        UsageError: a budget that is too small.
    """
    if plan.budget is None:
        estimate = forecast.estimate()
        if estimate.total >= SHORT:
            progress.note(estimate.sentence())
        if told := forecast.of_workers():
            progress.note(told)
        progress.remaining(estimate.total)
        return None
    if means is not None:
        outlook = outlook_of(plan, means)  # a budget may have become too small
        if trained := [record.seconds or 0.0 for record in known]:
            spent = in_words(means.setup + sum(trained))
            progress.note(f"{spent} of a budget of {in_words(plan.budget)} are spent; the search goes on")
        else:
            progress.note(outlook.sentence())
        return means
    means = means_of(plan, asked, forecast, setup=time.monotonic() - began + forecast.costs)
    progress.note(outlook_of(plan, means).sentence())
    return means


def _with_budget(step: Steps, means: Means, began: float, costs: float) -> Steps:
    """The step with its search within a budget; what was measured is kept before the first training.

    Args:
        step: of the suite.
        means: by which the budget is spent.
        began: when the suite was begun.
        costs: seconds of measuring costs, which is done after a search for options.
    """
    if step.part.means is None:
        later = costs if step.part.plan.search_options else 0.0
        means = replace(means, setup=time.monotonic() - began + later)
        with step.kept.writing():
            means.write(step.kept.folder)
    return replace(step, budget=step.budget_of(means))


def _judged(suite: Suite, kept: Kept) -> Suite:
    """The suite with the number of its look at the test split; a verdict is kept in the folder."""
    found = suite.verdict
    if found is None or found.finding == "none":
        return suite
    suite = replace(suite, terms=replace(suite.terms, look=terms_of(suite.folder, found.runs).look))
    if (found := suite.verdict) is not None:
        with kept.writing():
            add_verdict(suite.folder, suite.terms, found.runs, found.document())
    return suite


def _uncosted(state: SoFar, known: Mapping[str, Record], splits: Splits) -> dict[str, Run]:
    """The runs of the folder that have no costs, by id."""
    runs = {one.attempt.run.id(splits): one.attempt.run for one in state.done}
    return {id_: run for id_, run in runs.items() if not known[id_].throughput}


def _begun(
    plan: Plan, parts: Sequence[Part], known: Mapping[str, Record], folder: Path, progress: Progress, command: str
) -> Kept:
    """Write what a folder says of its data, and tell what it holds.

    Raises:
        UsageError: a task that is one fold of several.
    """
    first = parts[0].splits
    if not plan.folds and (fold := fold_of(first.task)):
        raise UsageError(f"a suite joins all of {fold.of} folds; leave out the option fold, which names one")
    warn_unseen(parts[0].plan.runs(), first, progress.warn)
    kept = Kept(folder, counted(plan, promoted=bool(plan.rates)))
    with kept.writing():
        if document := getattr(built(plan.task), "document", None):
            write_json(folder / "data.json", document())
        if command:
            write_text(folder / COMMAND, f"{command}\n")
        order = first.task.order if plan.folds else None  # type: ignore[attr-defined]  # folds have it
        write_splits(folder, [{name: part.splits.content(name) for name in SPLITS} for part in parts], order)
    terms = Terms(read_groups(folder), plan.same, plan.protocol)
    kept.finished = sum(not one.promoted for part in parts for one in part.state(known, terms).done)
    kept.runs = max(kept.runs, kept.finished)
    if kept.finished:
        progress.note(f"{kept.finished} of {kept.runs} runs are already in {folder} and are not repeated")
    progress.update("runs", kept.finished, kept.runs)
    return kept


@contextmanager
def _common(cache: Path | None, executor: Executor) -> Iterator[Path | None]:
    """The cache; without one, several processes have one for this suite alone, and compute each feature once."""
    if cache is not None or isinstance(executor, Serial):
        yield cache
        return
    with TemporaryDirectory(prefix="mmkit-") as folder:
        yield Path(folder)


def check_executor(plan: Plan, executor: Executor) -> None:
    """Refuse to search within a budget by several runs at once.

    Raises:
        UsageError: it was asked for.
    """
    if plan.budget is not None and not isinstance(executor, Serial):
        raise UsageError(
            "a search within a budget decides by what each run took, one after the other; leave out --workers and "
            "--engine, or --budget"
        )


def _check_asked(plan: Plan, executor: Executor, *, save: bool, tensorboard: bool, modes: bool, cost: bool) -> None:
    """Refuse what does not go together."""
    check_executor(plan, executor)
    if save and plan.folds:
        raise UsageError(
            f"--save keeps one model of each combination, and of {len(plan.folds)} folds each has seen only a part of "
            "the rows; leave out --folds to save models"
        )
    if tensorboard:
        check_installed()
    if modes and (plan.protocol != "full" or not cost):
        raise UsageError(
            "--modes times the fusion that the full protocol chooses; add --protocol full, and leave out --no-cost"
        )


def _ready(plan: Plan, parts: Iterable[Part], executor: Executor, progress: Progress) -> float:
    """Start workers before anything is measured, and tell what stands out in the task of each part, each thing once.

    Returns:
        The seconds that starting the workers took.
    """
    if executor.workers > 1:
        progress.stage(f"{executor.workers} workers start")
    start = executor.start()
    progress.stage("checks of the task")
    lines = (check_task(part.splits, refuse_unseen=refuses_unseen(plan)) for part in parts)
    for line in dict.fromkeys(itertools.chain.from_iterable(lines)):
        progress.note(line)
    return start


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
    tested = dry_run(tried, splits, plan.settings, shared, training=plan.training)
    errors = {one.combination.key: one.error for one in tested if one.error}
    of_combinations = [errors.get(combination.key) for combination in plan.combinations]  # without baselines
    if of_combinations[0] and all(isinstance(error, MmkitError) for error in of_combinations):
        raise of_combinations[0]
    if not all(of_combinations):  # else nothing would be left
        before, plan = len(plan.left_out), plan.without(errors)
        for name, reason in plan.left_out[before:]:
            shared.progress.note(f"{name} is left out: {reason}")
    return plan, {key: combination for key, combination in every.items() if key not in errors}
