"""A suite: all runs of a plan, in one folder, which can be resumed.

DIR/records.jsonl   one line per run, written when it ends
DIR/suite.json      the plan, and the costs of all combinations
DIR/samples.json    the ids of the samples of each split
DIR/models/         the model of the best seed of each combination, with --save
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mmkit.contract import Split
from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits, splits_of
from mmkit.errors import MmkitError, UsageError
from mmkit.experiments.costs import CombinationCost, Costs, measure_costs
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.plan import Plan
from mmkit.experiments.run import Run, execute, failed, surroundings
from mmkit.experiments.search import Searched, known_search, search
from mmkit.experiments.yardsticks import measured, wanted
from mmkit.experiments.yardsticks import yardsticks as yardsticks_of
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.trained import MultimodalModel
from mmkit.records.choice import criterion
from mmkit.records.file import RecordFile
from mmkit.records.record import SCHEMA, Purpose, Record
from mmkit.registry.catalog import Catalog
from mmkit.report.html import html_of
from mmkit.report.summary import Cell, Row, best, names, rows, table, tied
from mmkit.report.verdict import Verdict, verdict
from mmkit.system.files import owned, write_json
from mmkit.system.progress import SILENT, Progress

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
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
        rows_of_plan = [
            Row({name: str(choice) for name, choice in one.encoders.items()}, one.label, str(one.head), ())
            for one in self.plan.all
        ]
        folders = [model_folder(self.folder, combination) for combination in self.plan.all]
        return {name: folder for name, folder in zip(names(rows_of_plan), folders, strict=True) if folder.is_dir()}

    @property
    def failures(self) -> list[Record]:
        """The records of failed runs; a yardstick that could not be fitted is none, but is shown."""
        return [record for record in self.records if record.status != "ok" and record.purpose == "comparison"]

    def table(self) -> list[dict[str, Cell]]:
        """One row per combination as plain values, the best on validation first: `pandas.DataFrame(suite.table())`.

        All rows have the same columns, with None for a missing value. The first, "combination", is the name.
        """
        return table(self.rows)


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
    progress: Progress = SILENT,
) -> Suite:
    """Run all runs of the plan that the folder does not hold yet.

    Args:
        plan: the runs.
        folder: of the suite; it is created if needed.
        catalog: where modalities are looked up.
        save: save the model of each combination, of the seed that is best on validation.
        mix: continue although machine, software or plugins differ from those of existing records.
        cost: also measure speed, memory and FLOPs.
        yardsticks: also fit what a user could do without mmkit; None does so where scikit-learn is installed and the
            training split is small.
        cache: folder for the features of frozen encoders; None keeps them in memory, for this suite.
        progress: receives reports of progress.

    Raises:
        UsageError: the folder cannot be written, is in use, or holds records of another machine or other versions.
        DataError: a record cannot be read, or truth cannot be used.
        MmkitError: no combination can be built; the error is that of the first.
    """
    with owned(folder):  # first, because opening the records removes a line that another process is writing
        file = RecordFile(folder / "records.jsonl")
        known = file.read()
        splits = splits_of(plan.task, catalog, plan.settings)
        if not mix:
            for record in known.values():
                _check_surroundings(record, plan.runs()[0], folder)
        with_yardsticks = wanted(yardsticks, splits)
        searched = _known_searches(plan, known, splits)
        unsearched = {one.key for one in plan.all if plan.rates and one.key not in searched.training}
        runs = {run.id(splits): run for run in plan.runs(searched.training) if run.combination.key not in unsearched}
        pending = {id_: run for id_, run in runs.items() if id_ not in known or known[id_].status != "ok"}
        finished, total = len(runs) - len(pending), len(plan.runs())
        if finished:
            progress.note(f"{finished} of {total} runs are already in {folder} and are not repeated")
        progress.update("runs", finished, total)
        shared = Shared(cache, progress)
        tried = unsearched | {run.combination.key for run in pending.values()}
        plan, buildable = _buildable(plan, tried, splits, shared)
        costs = _costs(plan, buildable if cost else {}, splits, folder, shared) if tried else Costs({}, {})
        to_search = [one for key, one in buildable.items() if key in unsearched]
        _search(plan, to_search, searched, known, file, splits, catalog, shared)
        runs = {run.id(splits): run for run in plan.runs(searched.training)}
        pending = {id_: run for id_, run in runs.items() if id_ not in known or known[id_].status != "ok"}
        if len(runs) != total:
            progress.update("runs", finished, len(runs))
        keeper = _Best(folder) if save else None
        for id_, run in pending.items():
            progress.stage(f"{run.combination.label}, seed {run.seed}")
            work = partial(execute, run, splits, catalog=catalog, shared=shared)
            record = _recorded(run, splits, work, costs.of.get(run.combination.key), keeper)
            record = replace(record, search=searched.records.get(run.combination.key))
            file.append(record)
            known[id_] = record
            finished += 1
            progress.update("runs", finished, len(runs))
            if record.status != "ok":
                progress.note(f"{record.fusion}, seed {record.seed} failed; see the reason below")
        done = [(run, known[id_]) for id_, run in runs.items()]
        beside = _yardsticks(done, known, file, splits, shared) if with_yardsticks else []
        if pending:
            # At the end, so that the test split is not read before the first model is trained.
            ids: dict[str, list[str]] = {name: list(splits(name).ids) for name in SPLITS}
            write_json(folder / "samples.json", {"schema": SCHEMA, **ids})
    return Suite(folder, plan, [*(record for _, record in done), *beside])


def _yardsticks(
    done: Sequence[tuple[Run, Record]], known: dict[str, Record], file: RecordFile, splits: Splits, shared: Shared
) -> list[Record]:
    """The records of the yardsticks of a suite; those that the folder does not hold are fitted."""
    found = []
    for one in yardsticks_of(done, splits, shared):
        id_ = one.id(splits)
        if id_ not in known or known[id_].status != "ok":
            shared.progress.stage(one.name)
            known[id_] = measured(one, splits)
            file.append(known[id_])
        found.append(known[id_])
    return found


def _known_searches(plan: Plan, known: Mapping[str, Record], splits: Splits) -> Searched:
    """The searches for a learning rate that the folder holds."""
    searched = Searched()
    for combination in plan.all if plan.rates else ():
        found = known_search(plan, combination, known, splits)
        if found:
            searched.add(combination.key, *found)
    return searched


def _search(
    plan: Plan,
    combinations: Sequence[Combination],
    searched: Searched,
    known: dict[str, Record],
    file: RecordFile,
    splits: Splits,
    catalog: Catalog,
    shared: Shared,
) -> None:
    """Choose a learning rate for each of the combinations; their search runs are recorded when they end."""
    done, most = 0, len(combinations) * (len(plan.rates) + plan.may_extend)

    def attempt(run: Run) -> Record:
        nonlocal done
        shared.progress.stage(f"search: {run.combination.label}, lr {run.training.lr:g}")
        id_ = run.id(splits)
        if id_ not in known or known[id_].status != "ok":
            work = partial(execute, run, splits, catalog=catalog, shared=shared, purpose="search")
            known[id_] = _recorded(run, splits, work, None, None, "search")
            file.append(known[id_])
        done += 1
        shared.progress.update("search runs", done, most)
        return known[id_]

    for combination in combinations:
        found = search(plan, combination, attempt)
        if found:
            searched.add(combination.key, *found)
    if combinations:
        shared.progress.update("search runs", most, most)


def _recorded(
    run: Run,
    splits: Splits,
    work: Callable[[], tuple[Record, MultimodalModel]],
    cost: CombinationCost | None,
    best: _Best | None,
    purpose: Purpose = "comparison",
) -> Record:
    try:
        record, model = work()
    except Exception as error:
        if isinstance(error, RejectedError) and error.for_all:
            raise  # the test split is unusable, and every other run would fail after its training
        return failed(run, splits, error, purpose)  # an error of a third party's component fails its own runs only
    if best:
        best.keep(run, record, model.save)
    return replace(record, throughput=cost.throughput, cost=cost.cost) if cost else record


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


def _costs(plan: Plan, buildable: Mapping[str, Combination], splits: Splits, folder: Path, shared: Shared) -> Costs:
    """The costs of combinations: those in the folder, if they are of the same settings; else measured and written."""
    path = folder / "suite.json"
    combinations = {key: combination.document() for key, combination in buildable.items()}
    measured = {
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


def model_folder(folder: Path, combination: Combination) -> Path:
    """The folder of the saved model of a combination, in the folder of a suite."""
    name = re.sub(r"[^\w.=-]+", "_", combination.label).strip("_")
    return folder / "models" / f"{name}-{combination.key[:6]}"


class _Best:
    """Saves the model of each combination, of the seed that is best on validation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, run: Run, record: Record, save: Callable[[Path], None]) -> None:
        """Save the model, unless a better seed of its combination is saved."""
        path = model_folder(self.folder, run.combination)
        note = path.with_name(f"{path.name}.score.json")  # its name may hold dots
        by = criterion([record])
        rank = by.score([record])
        if not math.isfinite(rank):
            return
        try:
            if json.loads(note.read_text("utf-8"))["rank"] >= rank:
                return
        except (OSError, ValueError, KeyError):
            pass  # none is saved yet
        save(path)
        write_json(note, {"metric": by.metric, "rank": rank, "seed": run.seed, "id": record.id}, indent=None)
