"""The steps of a suite: what it costs, the search for learning rates, the runs that are compared, and the yardsticks.

Each step writes its records when they are made, so that a suite can be interrupted anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits
from mmkit.experiments.beside import Beside
from mmkit.experiments.costs import Costs, measure_costs
from mmkit.experiments.event_files import events_of
from mmkit.experiments.forecast import Forecast
from mmkit.experiments.identity import code_of_run, data_of, fold_of
from mmkit.experiments.kept import Kept
from mmkit.experiments.parts import Part, seeds_of_all
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import Attempt, Done, Protocol, is_done, seed_of, split_of
from mmkit.experiments.run import Run, execute, failed
from mmkit.experiments.saving import BestModels, Execute
from mmkit.experiments.search import search
from mmkit.experiments.yardsticks import measured
from mmkit.experiments.yardsticks import yardsticks as yardsticks_of
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.trained import MultimodalModel
from mmkit.records.file import RecordFile
from mmkit.records.record import SCHEMA, Purpose, Record
from mmkit.records.verdicts import Terms
from mmkit.records.worst import worst_file
from mmkit.registry.catalog import Catalog
from mmkit.report.summary import Row, best, names, rows
from mmkit.report.values import written
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
        if save:
            with self.kept.writing():
                models = BestModels(self.kept.folder, part.splits, self.known)
                models.complete((run for run, _ in done), self.perform, self.shared.progress.note)
        if self.samples:
            self._complete_samples({record.id: run for run, record in done})
        return done

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

    def add_costs(self, runs: Mapping[str, Run], costs: Costs) -> None:
        """Add costs to the records of completed runs that lack them."""
        for id_, run in runs.items():
            if found := costs.of.get(run.combination.key):
                self.add(replace(self.known[id_], throughput=found.throughput, cost=found.cost))

    def costs(self, buildable: Mapping[str, Combination]) -> Costs:
        """The costs of combinations: those in the folder, if they are of the same code, data, machine and settings.

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
            "batch_size": plan.training.batch_size,
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
        costs = measure_costs(buildable, self.splits, plan.training, plan.settings, self.shared)
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

        def attempt(run: Run) -> Record:
            nonlocal done
            progress.stage(f"search: {called[run.combination.key]}, {self._fold}lr {run.training.lr:g}")
            id_ = run.id(self.splits)
            if id_ not in self.known or self.known[id_].status != "ok":
                record, _ = self._recorded(run, "search")
                self.add(replace(record, base=plan.base, phase="search", index=0))
                self._ended(run, self.known[id_])
            done += 1
            progress.update("search runs", done, most)
            return self.known[id_]

        for combination in combinations:
            found = search(plan, combination, attempt, seed)
            if found:
                searched.add(combination.key, *found)
                self.forecast.chosen(self.number, combination.key, found[0])
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
            partial(self._attempt, costs, models),
            partial(self._promote, costs),
            partial(self.forecast.expect, self.number),
            self._wanted,
        )
        return [(one.attempt.run, one.record) for one in protocol.carry_out()]

    def _attempt(self, costs: Costs, models: BestModels | None, attempt: Attempt) -> Record:
        """The record of a run of the protocol: that of the folder, or a new one."""
        run, kept, progress = attempt.run, self.kept, self.shared.progress
        known = self.known.get(run.id(self.splits))
        if known is not None and is_done(known, attempt):
            self.forecast.ended(self.number, run, "comparison", None)
            return known
        number = f"{'race' if attempt.phase == 'search' else 'seed'} {attempt.index + 1}"
        name = f"{called_by_key(self.part.plan)[run.combination.key]}, {self._fold}{number}"
        progress.stage(name)
        do = partial(self._recorded, run, tested=attempt.tested, controlled=attempt.controlled)
        record, model = do()
        if record.status != "ok" and attempt.phase == "confirm":  # without it there is no verdict
            record, model = do()
        record = self._of_protocol(attempt, record, costs)
        if models and model:
            with kept.writing():
                models.keep(run, record, model)
        self.add(record)
        kept.finished += 1
        kept.runs = max(kept.runs, kept.finished)
        self._ended(run, record)
        progress.update("runs", kept.finished, kept.runs)
        progress.finished(f"{kept.finished} of {kept.runs} runs: {name}{_outcome(record)}", ok=record.status == "ok")
        return record

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
        self.kept.runs += max(0, wanted - plan.seeds) * (1 + len(plan.baselines))
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

    def _ended(self, run: Run, record: Record) -> None:
        """Correct the time that is left by what a run took."""
        self.forecast.ended(self.number, run, record.purpose, record.seconds)
        self.shared.progress.remaining(self.forecast.left())

    def _recorded(
        self, run: Run, purpose: Purpose = "comparison", *, tested: bool = True, controlled: bool = False
    ) -> tuple[Record, MultimodalModel | None]:
        try:
            with events_of(self.events, run, purpose, fold_of(self.splits.task)) as events:
                return execute(
                    run,
                    self.splits,
                    catalog=self.catalog,
                    shared=self.shared,
                    purpose=purpose,
                    tested=tested,
                    beside=replace(self._beside, events=events, controls=controlled),
                )
        except Exception as error:
            if isinstance(error, RejectedError) and error.for_all:
                raise  # the test split is unusable, and every other run would fail after its training
            self.shared.progress.failed(error)
            # An error of a third party's component fails its own runs only.
            return failed(run, self.splits, error, purpose), None


def called_by_key(plan: Plan) -> dict[str, str]:
    """The names of the combinations of a plan, by key."""
    return dict(zip((one.key for one in plan.all), names(rows_of(plan)), strict=True))


def rows_of(plan: Plan) -> list[Row]:
    """The rows that the combinations of a plan will have, for their names."""
    return [
        Row({name: str(choice) for name, choice in one.encoders.items()}, one.label, str(one.head), ())
        for one in plan.all
    ]


def _outcome(record: Record) -> str:
    """Score on validation and duration of a run."""
    if record.status != "ok":
        return " failed; see the reason below"
    score = record.validation.get(record.metric)
    told = "not defined" if score is None else written(score, record.metric)
    return f": {record.metric} {told} on validation, {record.seconds or 0:.0f} s"
