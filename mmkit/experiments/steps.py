"""The steps of a suite: what it costs, the search for learning rates, the runs that are compared, and the yardsticks.

Each step writes its records when they are made, so that a suite can be interrupted anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.beside import Beside
from mmkit.experiments.blending import FOLDER, blended, library
from mmkit.experiments.breakdown import breakdown_of
from mmkit.experiments.budget import Budget
from mmkit.experiments.costs import STEP, Costs, measure_costs
from mmkit.experiments.forecast import Forecast
from mmkit.experiments.identity import code_of_run, data_of, fold_of
from mmkit.experiments.jobs import Context, Job, Place, Result
from mmkit.experiments.kept import Kept
from mmkit.experiments.means import Means
from mmkit.experiments.option_search import budget_of
from mmkit.experiments.parts import Part, seeds_of_all
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import Attempt, Done, Protocol, is_done, seed_of, split_of
from mmkit.experiments.run import Run, execute
from mmkit.experiments.saving import BestModels, Execute
from mmkit.experiments.search import search
from mmkit.experiments.yardsticks import measured
from mmkit.experiments.yardsticks import yardsticks as yardsticks_of
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.breakdown import Breakdown
from mmkit.records.file import RecordFile
from mmkit.records.folds import key_of
from mmkit.records.record import SCHEMA, Purpose, Record
from mmkit.records.verdicts import Terms
from mmkit.records.worst import worst_file
from mmkit.registry.catalog import Catalog
from mmkit.report.summary import Row, best, names, rows
from mmkit.report.values import written
from mmkit.system.executors.jobs import Executor
from mmkit.system.executors.serial import Serial
from mmkit.system.files import write_json
from mmkit.system.machine import machine, software


@dataclass(frozen=True)
class Steps:
    """The steps of a suite that is being carried out, with what all of them need.

    Args:
        part: of the suite.
        number: of the part, from 0.
        catalog: where modalities are looked up.
        file: of its records.
        known: the records of the file, by id.
        kept: how far it has come.
        shared: what its runs share.
        forecast: of the time that is left.
        terms: of the verdict.
        samples: whether the worst errors of its runs are kept with their samples.
        events: the folder of the suite, where event files are written; None writes none.
        budget: of the search; None without one.
        detailed: whether costs of the chosen fusion are measured in detail, in the full protocol.
        modes: whether these include ways of execution.
        costed: whether combinations whose options are searched are measured when these are chosen.
        executor: does the runs.
    """

    part: Part
    number: int
    catalog: Catalog
    file: RecordFile
    known: dict[str, Record]
    kept: Kept
    shared: Shared
    forecast: Forecast
    terms: Terms
    samples: bool = False
    events: Path | None = None
    budget: Budget | None = None
    detailed: bool = False
    modes: bool = False
    costed: bool = False
    executor: Executor = field(default_factory=Serial)

    @property
    def splits(self) -> Splits:
        """Of the task of the part."""
        return self.part.splits

    def add(self, record: Record) -> None:
        """Write a record."""
        with self.kept.writing():
            self.file.append(record)
        self.known[record.id] = record

    @property
    def perform(self) -> Execute:
        """Does a run that is compared."""
        return partial(execute, splits=self.splits, catalog=self.catalog, shared=self.shared, beside=self._beside)

    @cached_property
    def place(self) -> Place:
        """Where its runs are computed."""
        plan, shared = self.part.plan, self.shared
        cache = None if shared.cache is None else shared.cache.resolve()  # other processes may be elsewhere
        context = Context(plan.task, plan.settings, self.catalog, data_of(self.splits), cache, shared.keep)
        return Place(context, self.splits, shared)

    def _job(self, run: Run, name: str, attempt: Attempt | None = None, models: Path | None = None) -> Job:
        """A run as a job; without an attempt it is one of a search for a learning rate."""
        folder = self.kept.folder.resolve()
        rung = attempt is not None and attempt.rung is not None
        purpose: Purpose = "search" if attempt is None else "comparison"
        return Job(
            name,
            run.id(self.splits),
            run.combination,
            run.seed,
            run.training,
            code_of_run(run.task, run.combination, self.splits),
            purpose=purpose,
            called="search" if rung else purpose,
            tested=attempt is None or attempt.tested,
            controlled=attempt is not None and attempt.controlled,
            informed=attempt is not None and attempt.informed,
            answers=folder / FOLDER if attempt is not None and attempt.kept else None,
            worst=folder if self.samples else None,
            events=None if self.events is None else folder,
            again=attempt is not None and attempt.phase == "confirm",  # without it there is no verdict
            models=models,
        )

    def _done(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with what became of it, as they end; what was said meanwhile is told."""
        for job, result in self.executor.run(jobs, self.place):
            for message, warning in result.told:
                (self.shared.warn_once if warning else self.shared.note_once)(message)
            if result.error is not None:
                self.shared.progress.failed(result.error)
                _release(result.error)
            yield job, replace(result, record=replace(result.record, beside=self.executor.workers - 1))

    @property
    def _beside(self) -> Beside:
        return Beside(worst=self.kept.folder if self.samples else None)

    @property
    def _fold(self) -> str:
        """The fold as part of the name of a run."""
        fold = fold_of(self.splits.task)
        return f"fold {fold.number}, " if fold else ""

    def all(self, buildable: Mapping[str, Combination], costs: Costs, *, save: bool) -> list[tuple[Run, Record]]:
        """Search, do the runs of the part, and save models; its runs with their records, in their order."""
        part = self.part
        self.search([buildable[key] for key in buildable if key in part.unsearched])
        done = self.run(costs, save=save)
        if self.costed:
            done = self._cost(done)
        compared = [(run, record) for run, record in done if record.purpose != "search"]
        if self.detailed:
            done = self._break_down(done)
        if save:
            with self.kept.writing():
                models = BestModels(self.kept.folder, part.splits, self.known)
                models.complete((run for run, _ in compared), self.perform, self.shared.progress.note)
        if self.samples:
            self._complete_samples({record.id: run for run, record in compared})
        return done

    def _cost(self, done: Sequence[tuple[Run, Record]]) -> list[tuple[Run, Record]]:
        """The runs, those that are compared with what their combinations cost, with the options that were chosen."""
        compared = [run for run, record in done if record.purpose != "search" and record.status == "ok"]
        costs = self.costs({run.combination.key: run.combination for run in compared})
        lacking = {id_: run for run in compared if not self.known[id_ := run.id(self.splits)].throughput}
        self.add_costs(lacking, costs)
        return [(run, self.known[record.id]) for run, record in done]

    def _complete_samples(self, runs: Mapping[str, Run]) -> None:
        """Train again what is best on validation where its worst errors were not kept: it was recorded without them."""
        chosen = best(rows([replace(self.known[id_], fold=None) for id_ in runs]))  # each fold chooses for itself
        for record in chosen.records if chosen else []:
            run = runs[record.id]
            if not worst_file(self.kept.folder, record.id).is_file():
                self.shared.progress.note(
                    f"{run.combination.label}, {self._fold}seed {run.seed} is trained again to keep its worst errors"
                )
                self.perform(run)

    def _break_down(self, done: Sequence[tuple[Run, Record]]) -> list[tuple[Run, Record]]:
        """The runs, those of the chosen fusion with what their predictions cost in detail."""
        of: dict[str, Breakdown | None] = {
            key_of(one): one.breakdown for one in self.known.values() if one.breakdown and self._whole(one.breakdown)
        }
        found = []
        for run, record in done:
            found.append((run, record))
            lacks = record.breakdown is None or not self._whole(record.breakdown)
            if record.controls is None or not lacks:
                continue
            key = key_of(record)
            if key not in of:
                of[key] = self._broken_down(run.combination)
            if (breakdown := of[key]) is not None:
                found[-1] = run, replace(record, breakdown=breakdown)
                self.add(found[-1][1])
        self.forecast.detail = 0.0
        return found

    def _whole(self, breakdown: Breakdown) -> bool:
        return bool(breakdown.modes) or not self.modes

    def _broken_down(self, combination: Combination) -> Breakdown | None:
        """What its predictions cost in detail; None where it could not be measured, which is told."""
        plan = self.part.plan
        try:
            measure = partial(breakdown_of, combination, self.splits, plan.training, plan.settings, self.shared)
            found: Breakdown | None = self.executor.alone(partial(measure, with_modes=self.modes))
        except (MmkitError, RuntimeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            self.shared.progress.warn(f"what {combination.label} costs in detail could not be measured: {reason}")
            return None
        return found

    def add_costs(self, runs: Mapping[str, Run], costs: Costs) -> None:
        """Add costs to the records of completed runs that lack them."""
        for id_, run in runs.items():
            if found := costs.of.get(run.combination.key):
                self.add(replace(self.known[id_], throughput=found.throughput, cost=found.cost))

    def costs(self, buildable: Mapping[str, Combination]) -> Costs:
        """The costs of combinations: those in the folder, if of the same code, data, machine, settings and step.

        Else they are measured and written.
        """
        path, plan = self.kept.folder / "suite.json", self.part.plan
        combinations = {
            key: {**combination.document(), "code": code_of_run(plan.task, combination, self.splits)}
            for key, combination in buildable.items()
        }
        measured_of = {
            "data": data_of(self.splits)["train"],
            "machine": machine(),
            "software": software(),
            "combinations": combinations,
            "step": {name: getattr(plan.training, name) for name in STEP},
            "device": plan.settings.device,
            "precision": plan.settings.precision,
            "task": str(plan.task),
        }
        try:
            before = json.loads(path.read_text("utf-8"))
            known = before["measured"]
            same = {**known, "combinations": combinations} == measured_of
            if same and combinations.items() <= known["combinations"].items():
                return Costs.of_document(before)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: measured again
        measure = partial(measure_costs, buildable, self.splits, plan.training, plan.settings, self.shared)
        costs: Costs = self.executor.alone(measure)
        document = {
            "schema": SCHEMA,
            "task": str(plan.task),
            "seeds": plan.seeds,
            "base": plan.base,
            "protocol": plan.protocol,
            "left_out": [list(pair) for pair in plan.left_out],
            "measured": measured_of,
            **costs.document(),
        }
        with self.kept.writing():
            write_json(path, document)
        return costs

    def search(self, combinations: Sequence[Combination]) -> None:
        """Choose a learning rate for each of the combinations; their search runs are recorded when they end."""
        plan, searched = self.part.plan, self.part.searched
        progress, called = self.shared.progress, called_by_key(plan)
        done, most = 0, len(combinations) * (len(plan.rates) + plan.may_extend)
        seed = seed_of(plan.base, split_of(self.splits), "search", 0)

        def attempt(runs: Sequence[Run]) -> list[Record]:
            nonlocal done
            ids = {run.id(self.splits): run for run in runs}
            lacking = {id_: run for id_, run in ids.items() if id_ not in self.known or self.known[id_].status != "ok"}
            done += len(ids) - len(lacking)
            progress.update("search runs", done, most)
            names = {
                id_: f"search: {called[run.combination.key]}, {self._fold}lr {run.training.lr:g}"
                for id_, run in lacking.items()
            }
            for job, result in self._done([self._job(run, names[id_]) for id_, run in lacking.items()]):
                self.add(replace(result.record, base=plan.base, phase="search", index=0))
                self._ended(lacking[job.id], self.known[job.id])
                done += 1
                progress.update("search runs", done, most)
            return [self.known[id_] for id_ in ids]

        for key, found in search(plan, combinations, attempt, seed).items():
            searched.add(key, *found)
            self.forecast.chosen(self.number, key, found[0])
        if combinations:
            progress.update("search runs", most, most)

    def run(self, costs: Costs, *, save: bool) -> list[tuple[Run, Record]]:
        """Do the runs that are compared, as the protocol says, and save models that are the best."""
        part, plan = self.part, self.part.plan
        models = BestModels(self.kept.folder, self.splits, self.known) if save else None
        protocol = Protocol(
            plan,
            split_of(self.splits),
            part.searched.training,
            part.searched.first(self.known),
            partial(self._attempts, costs, models),
            partial(self._promote, costs),
            partial(self.forecast.expect, self.number),
            self._wanted,
            self.budget,
        )
        if models is not None:
            models.clear()
        done = {one.record.id: one.attempt.run for one in protocol.carry_out()}
        if models is not None:
            models.clear()
        return [(run, self.known[id_]) for id_, run in done.items()]

    def budget_of(self, means: Means) -> Budget:
        """The search within the budget of the plan."""

        def expect(count: int) -> None:
            self.kept.runs = max(count, self.kept.finished)

        return budget_of(self.part.plan, means, self.part.searched, self.rewrite, expect)

    def rewrite(self, record: Record) -> Record:
        """Write a record again."""
        self.add(record)
        return record

    def blend(self, done: Sequence[tuple[Run, Record]]) -> list[Record]:
        """The record of the blend of the models of a search within a budget, if there is one."""
        if self.budget is None:
            return []
        self.shared.progress.stage("blend")
        found = blended(library(done, self.kept.folder), self.splits, self.shared)
        if found is None:
            return []
        if found.id not in self.known:
            self.add(found)
        return [self.known[found.id]]

    def _attempts(
        self, costs: Costs, models: BestModels | None, attempts: Sequence[Attempt]
    ) -> Iterator[tuple[Attempt, Record]]:
        """Runs of the protocol in their order, with the records of the folder or with new ones."""
        jobs: dict[str, tuple[Job, Attempt, str]] = {}
        for attempt in attempts:
            known = self.known.get(id_ := attempt.run.id(self.splits))
            if known is not None and is_done(known, attempt):
                self.forecast.ended(self.number, attempt.run, "comparison", None, confirmed=attempt.informed)
                self._pay(attempt, known)
                continue
            key, label = attempt.run.combination.key, attempt.run.combination.label
            called = called_by_key(self.part.plan).get(key, label)  # of options that are searched the plan has none
            name = f"{called}, {self._fold}{_place(attempt)}"
            folder = None if models is None or self._only_tried(attempt) else models.beside
            jobs[id_] = self._job(attempt.run, name, attempt, folder), attempt, name
        for job, result in self._done([job for job, _, _ in jobs.values()]):
            self._keep(costs, models, result, *jobs[job.id][1:])
        for attempt in attempts:
            yield attempt, self.known[attempt.run.id(self.splits)]

    def _only_tried(self, attempt: Attempt) -> bool:
        """Whether a run tries options of a search, of which most are compared with nothing."""
        return self.part.plan.search_options and attempt.rung is not None

    def _keep(self, costs: Costs, models: BestModels | None, result: Result, attempt: Attempt, name: str) -> None:
        """Write the record of a run that has ended, and its model, if it is the best."""
        kept, progress = self.kept, self.shared.progress
        record = self._of_protocol(attempt, result.record, costs)
        if attempt.rung is not None:
            record = replace(record, purpose="search", rung=attempt.rung)
        if models and result.model and not self._only_tried(attempt):
            with kept.writing():
                models.keep(attempt.run, record, result.model)
        self.add(record)
        kept.finished += 1
        kept.runs = max(kept.runs, kept.finished)
        self._ended(attempt.run, record, confirmed=attempt.informed)
        self._pay(attempt, record)
        progress.update("runs", kept.finished, kept.runs)
        progress.finished(f"{kept.finished} of {kept.runs} runs: {name}{_outcome(record)}", ok=record.status == "ok")

    def _promote(self, costs: Costs, attempt: Attempt, record: Record) -> Record:
        """The record of a search for a learning rate as that of a first run of the race."""
        if record.purpose != "comparison":
            self.add(replace(self._of_protocol(attempt, record, costs), purpose="comparison"))
        return self.known[record.id]

    def _of_protocol(self, attempt: Attempt, record: Record, costs: Costs) -> Record:
        """A record with its place in the protocol, how its learning rate was chosen, and what its combination costs."""
        key = attempt.run.combination.key
        record = replace(
            record,
            base=self.part.plan.base,
            phase=attempt.phase,
            index=attempt.index,
            search=self.part.searched.records.get(key),
        )
        if record.status == "ok" and (found := costs.of.get(key)):
            record = replace(record, throughput=found.throughput, cost=found.cost)
        return record

    def _wanted(self, done: Sequence[Done]) -> int:
        """How many fresh seeds the protocol should have; the progress is told of those that are added."""
        plan = self.part.plan
        wanted = seeds_of_all(self.part, self.terms, done)
        more = max(0, wanted - plan.seeds)
        self.kept.runs += more * (1 + len(plan.baselines))
        if plan.protocol == "full":
            self.forecast.confirmed[self.number] = self.forecast.confirmed.get(self.number, 0.0) + more
        return wanted

    def yardsticks(self, done: Sequence[tuple[Run, Record]]) -> list[Record]:
        """The records of the yardsticks of a suite; those that the folder does not hold are fitted."""
        found = []
        for one in yardsticks_of(done, self.splits, self.shared):
            id_ = one.id(self.splits)
            if id_ not in self.known or self.known[id_].status != "ok":
                self.shared.progress.stage(one.name)
                self.add(measured(one, self.splits))
            found.append(self.known[id_])
        return found

    def _pay(self, attempt: Attempt, record: Record) -> None:
        """Show how much of a budget is spent; what its search has spent it knows itself, when the run has ended."""
        if (budget := self.budget) is None:
            return
        if attempt.phase == "confirm":
            budget.passed(record)
        progress, ledger = self.shared.progress, budget.ledger
        spent = ledger.spent + (0.0 if attempt.phase == "confirm" else record.seconds or 0.0)
        progress.update(
            "seconds of the budget", min(round(spent), math.ceil(ledger.budget) - 1), math.ceil(ledger.budget)
        )
        left = ledger.reserved * ledger.ratio if attempt.phase == "confirm" else ledger.budget - spent
        progress.remaining(max(0.0, left))

    def _ended(self, run: Run, record: Record, *, confirmed: bool = False) -> None:
        """Correct the time that is left by what a run took."""
        seconds = record.seconds if record.status == "ok" else None
        self.forecast.ended(self.number, run, record.purpose, seconds, confirmed=confirmed)
        if self.budget is None:
            self.shared.progress.remaining(self.forecast.left())


def called_by_key(plan: Plan) -> dict[str, str]:
    """The names of the combinations of a plan, by key."""
    return dict(zip((one.key for one in plan.all), names(rows_of(plan)), strict=True))


def rows_of(plan: Plan) -> list[Row]:
    """The rows that the combinations of a plan will have, for their names."""
    return [
        Row({name: str(choice) for name, choice in one.encoders.items()}, one.label, str(one.head), ())
        for one in plan.all
    ]


def _place(attempt: Attempt) -> str:
    """The place of a run in the protocol, in words."""
    rung, training = attempt.rung, attempt.run.training
    if rung is None:
        return f"{'race' if attempt.phase == 'search' else 'seed'} {attempt.index + 1}"
    epochs = f"{rung.epochs} epoch{'s' * (rung.epochs > 1)}"
    place = f"rung {rung.number} of {rung.of}, " if rung.of > 1 else ""
    if attempt.index:
        place = f"finals, seed {attempt.index + 1}, "
    return f"{place}lr {training.lr:g}, {epochs}"


def _outcome(record: Record) -> str:
    """Score on validation and duration of a run."""
    if record.status != "ok":
        return " failed; see the reason below"
    score = record.validation.get(record.metric)
    told = "not defined" if score is None else written(score, record.metric)
    return f": {record.metric} {told} on validation, {record.seconds or 0:.0f} s"


def _release(error: BaseException | None) -> None:
    """Let go of the frames of an error that was told: they hold the model, and would until garbage is collected."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
