"""One combination trained to be used: searched, trained, calibrated, tested, and kept in a folder that can be resumed.

DIR/model.json, DIR/model.safetensors   the model, for `mmkit.load`
DIR/trained_on.safetensors   salted hashes of the rows of train and validation, by which `mmkit evaluate` knows them;
    not of a private training
DIR/README.md        the card: what the model is, how it was made, what it is worth
DIR/record.json      the record of its run; it is written last, and says that the training has ended
DIR/train.json       what was asked for, and of which data and code
DIR/scores/, DIR/splits.parquet, DIR/unread.parquet, DIR/data.json   as in the folder of a suite
DIR/checkpoint/      while it is trained: the checkpoint of each training, and the records of those that have ended
DIR/tensorboard/     event files, if they are asked for

Of several ranks each calls `train` with the same. The first alone reads the folder, writes to it and shows progress.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits, splits_of
from mmkit.errors import DataError, MmkitError, TrainingError, UsageError, one_of
from mmkit.experiments.asked import ASKED, asked_of, check_alike, check_same, read_asked
from mmkit.experiments.beside import Beside
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.identity import SPLITS, warn_unseen
from mmkit.experiments.plan import Named, Plan, plan
from mmkit.experiments.protocol import seed_of, split_of
from mmkit.experiments.remembering import remembering
from mmkit.experiments.run import Run, execute, failed
from mmkit.experiments.search import search
from mmkit.experiments.suite import refuses_unseen
from mmkit.experiments.task_checks import check_task
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.description import DESCRIPTION, WEIGHTS
from mmkit.model.saving import BEGUN
from mmkit.model.trained import CARD, MultimodalModel
from mmkit.records.file import RecordFile
from mmkit.records.record import Purpose, RateSearch, Record, Refit
from mmkit.records.splits import write_splits
from mmkit.records.unread import add_unread
from mmkit.registry.catalog import Catalog
from mmkit.report.card import card
from mmkit.report.labels import ALONE
from mmkit.system.files import at_home, owned, replacing, utf8, write_json
from mmkit.system.hashing import fingerprint
from mmkit.system.progress import MUTE, SILENT, Progress
from mmkit.system.ranks import ranks, together
from mmkit.system.state import own_state, own_threads
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.events import Events, check_installed
from mmkit.training.privacy_accounting import opacus

RECORD, CHECKPOINT = "record.json", "checkpoint"


@dataclass(frozen=True)
class Keeping:
    """How a model is trained and kept, beside its plan.

    Args:
        seed: of weights, order, augmentation and dropout.
        refit: train again on train and validation, with the epochs and the rate that were found.
        minutes: between two checkpoints; None is only at the end of epochs.
        epochs: between two checkpoints; None is only by time.
        tensorboard: write event files.
        licence: of the model, for its card; None is "not stated".
        command: that the card shows.
        name: of the model, for its card; empty is that of its folder.

    Raises:
        UsageError: a value that is not possible.
        UnavailableError: event files are asked for, and TensorBoard is not installed.
    """

    seed: int = 0
    refit: bool = False
    minutes: float | None = 10
    epochs: int | None = 1
    tensorboard: bool = False
    licence: str | None = None
    command: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"minutes between checkpoints are more than 0; got {self.minutes:g}")
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"epochs between checkpoints are 1 or more; got {self.epochs}")
        if self.tensorboard:
            check_installed()


class Made(NamedTuple):
    """A model that was trained and kept.

    Args:
        folder: of the model.
        record: of its run.
        model: the model.
        before: whether it was there before.
    """

    folder: Path
    record: Record
    model: MultimodalModel
    before: bool


@own_state()
def train(
    planned: Plan,
    folder: Path,
    catalog: Catalog,
    keeping: Keeping,
    *,
    cache: Path | None = None,
    keep: int | None = None,
    progress: Progress = SILENT,
) -> Made:
    """Train the only combination of a plan, and keep the model; an interrupted training goes on where it was.

    On the ranks that were started, see `together`; each has the model in the end.

    Args:
        planned: of one combination, without baselines.
        folder: of the model; it is created if needed.
        catalog: where modalities are looked up.
        keeping: how it is kept.
        cache: folder for the features of frozen encoders, and for transformed splits that are larger than memory; None
            keeps them in memory.
        keep: bytes of transformed splits there; None is a tenth of what is free, at most 20 GiB.
        progress: receives reports of progress.

    Raises:
        UsageError: the plan has several combinations, or the folder cannot be used: it holds something else, or a
            training with other options, data or code.
        DataError: data, truth or a checkpoint cannot be read.
        UnavailableError: private training needs Opacus, which is not installed.
        MmkitError: training diverged, or something cannot be written.
        KeyboardInterrupt: the user has ended it; what was trained so far is kept.
    """
    combination = one_of_a_kind(planned.all)
    balance = combination.balance
    taught = combination.taught
    if keeping.refit and taught:
        raise UsageError(
            f"objective {taught[0].name} has teachers that know nothing of validation, on which --refit trains; leave "
            "out one of them"
        )
    if keeping.refit and planned.training.private is not None:
        raise UsageError(
            "--refit trains twice on the rows of train, and each training spends epsilon of its own; leave out --refit"
        )
    if keeping.refit and balance is not None and getattr(balance.spec, "validation", False):
        raise UsageError(
            f"balance {balance.name} measures on validation, on which --refit trains; leave out one of them"
        )
    if planned.training.private is not None:
        opacus()
    run = Run(planned.task, combination, keeping.seed, planned.training, planned.settings)
    folder = at_home(folder)
    with together(device=planned.settings.device) as all_ranks:
        progress = progress if all_ranks.first else MUTE
        all_ranks.told(partial(_check_free, folder))
        with owned(folder) if all_ranks.first else nullcontext(), own_threads(planned.settings.threads):
            return _carried_out(planned, run, folder, catalog, keeping, Shared(cache, progress, keep))


def _carried_out(planned: Plan, run: Run, folder: Path, catalog: Catalog, keeping: Keeping, shared: Shared) -> Made:
    """Train and keep the model in a folder that is this process's, or take the one that it holds."""
    progress, all_ranks = shared.progress, ranks()
    splits = splits_of(planned.task, catalog, planned.settings)
    asked = asked_of(run, splits, rates=planned.rates, extends=planned.may_extend, refit=keeping.refit)
    if all_ranks.world > 1:
        check_alike(all_ranks.gathered(asked))
    if (known := all_ranks.told(partial(_known, folder, asked, splits))) is not None:
        model = MultimodalModel.load(folder, catalog=catalog, components=_given(planned))
        return Made(folder, known, model, before=True)
    warn_unseen([run], splits, progress.warn)
    training = _Training(planned, splits, folder, keeping, shared)
    if all_ranks.first:
        with _writing(folder):
            write_json(folder / ASKED, {**asked, "command": keeping.command})
            (folder / CHECKPOINT).mkdir(exist_ok=True)
            if planned.training.private is not None:
                (folder / CHECKPOINT).chmod(0o700)  # who has the key of the noise can take it off
    with _told(folder, progress):
        record, model = training.carry_out(run)
        if planned.training.private is None:
            model = remembering(model, splits, refit=record.refit is not None)
        model = carded(model, record, splits, keeping.name or folder.name, keeping)
        if all_ranks.first:
            with _writing(folder):
                _keep(folder, splits, record, model)
            shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    return Made(folder, record, model, before=False)


def _known(folder: Path, asked: dict[str, Any], splits: Splits) -> Record | None:
    """The record of the same training, if the folder holds it and it has ended.

    Raises:
        UsageError: the folder holds another training.
    """
    before = read_asked(folder)
    if before is None or not _holds(folder):
        return None
    check_same(before, asked, folder, splits.task)
    return _finished(folder)


def plan_of_one(catalog: Catalog, fusion: Named, **given: Any) -> Plan:
    """The plan of one model.

    Args:
        catalog: where names are looked up.
        fusion: a fusion, or `only:INPUT`, the model of one input alone.
        given: the other parameters of `plan`.

    Raises:
        UsageError: several of a kind are given, folds are, there is no such input, or balance is asked for with one
            input alone; else as `plan`.
    """
    if isinstance(fusion, str) and fusion.startswith(ALONE) and given.get("balances"):
        raise UsageError(f"{fusion} is a model of one input, which there is nothing to balance with; leave out balance")
    name = fusion.removeprefix(ALONE) if isinstance(fusion, str) and fusion.startswith(ALONE) else None
    fusions = ["concat" if name is not None else fusion]
    made = plan(catalog, fusions=fusions, baselines=name is not None, single=True, **given)
    if made.folds:
        raise UsageError(f"one model is trained, and {len(made.folds)} folds are for bench; leave out folds")
    if name is None:
        return replace(made, combinations=(one_of_a_kind(made.combinations),))
    found = [one for one in made.baselines if name in one.encoders]
    if not found:
        inputs = [given for one in made.baselines for given in one.encoders]
        raise UsageError(f"{ALONE}{name}: the task has no input {name}; {one_of(inputs, name)}")
    return replace(made, combinations=(one_of_a_kind(found),), baselines=())


def one_of_a_kind(combinations: Sequence[Combination]) -> Combination:
    """The only one of combinations.

    Raises:
        UsageError: there are several.
    """
    first, *others = combinations
    if others:
        found = {
            "fusion": [one.label for one in combinations],
            "head": [str(one.head) for one in combinations],
            **{f"encoder of {name}": [str(one.encoders[name]) for one in combinations] for name in first.encoders},
        }
        several = "; ".join(
            f"{kind}: {', '.join(distinct)}"
            for kind, values in found.items()
            if len(distinct := list(dict.fromkeys(values))) > 1
        )
        raise UsageError(f"one model is trained; got several of a kind ({several}): mmkit bench compares them")
    return first


class _Training:
    """The trainings that lead to a model: those of the search, the one of the model, and that on more data."""

    def __init__(self, plan: Plan, splits: Splits, folder: Path, keeping: Keeping, shared: Shared) -> None:
        self.plan = plan
        self.splits = splits
        self.folder = folder
        self.keeping = keeping
        self.shared = shared
        self.errors: list[Exception] = []

    def carry_out(self, run: Run) -> tuple[Record, MultimodalModel]:
        """The record and the model of a run, its learning rate searched if the plan says so."""
        file = RecordFile(self.folder / CHECKPOINT / "records.jsonl")
        known, begun = ranks().told(lambda: (file.read(), any((self.folder / CHECKPOINT).glob("*.safetensors"))))
        progress = self.shared.progress
        if known or begun:
            progress.note(f"going on from the checkpoint in {self.folder}")
        else:
            self._check(run)

        def attempt(one: Run, purpose: Purpose = "search") -> Record:
            id_ = one.id(self.splits)
            if id_ not in known or known[id_].status != "ok":
                known[id_] = ranks().agreed(self._attempted(one, purpose))
                if ranks().first:
                    with _writing(self.folder):
                        file.append(known[id_])
                    self._checkpoint(id_).path.unlink(missing_ok=True)
            return known[id_]

        run, searched = self._searched(run, attempt)
        if not self.keeping.refit:
            progress.stage("training")
            record, model = self._execute(run, "comparison")
            return replace(record, search=searched), model
        progress.stage("training")
        chosen = attempt(run)
        if chosen.status != "ok":
            raise self.errors[-1]
        progress.stage("training on train and validation")
        record, model = self._execute(run, "comparison", refit=chosen)
        return replace(_refitted(chosen, record), search=searched), model

    def _check(self, run: Run) -> None:
        """Find out in seconds what would end the training."""
        progress = self.shared.progress
        progress.stage("checks of the task")
        for line in check_task(self.splits, refuse_unseen=refuses_unseen(self.plan)):
            progress.note(line)
        for one in dry_run([run.combination], self.splits, run.settings, self.shared, training=run.training):
            if one.error is not None:
                raise one.error

    def _searched(self, run: Run, attempt: Callable[[Run], Record]) -> tuple[Run, RateSearch | None]:
        if run.training.private is not None:
            self.shared.progress.note(
                f"private: the learning rate is {run.training.lr:g}; none is searched, since each training of a search "
                "would spend epsilon of its own (--lr)"
            )
        if not self.plan.rates:
            return run, None
        progress, most, done = self.shared.progress, len(self.plan.rates) + self.plan.may_extend, 0

        def told(runs: Sequence[Run]) -> list[Record]:
            nonlocal done
            records = []
            for one in runs:
                progress.stage(f"search: lr {one.training.lr:g}")
                records.append(attempt(one))
                done += 1
                progress.update("search runs", done, most)
            return records

        seed = seed_of(self.plan.base, split_of(self.splits), "search", 0)  # that of `bench`
        found = search(self.plan, [run.combination], told, seed).get(run.combination.key)
        progress.update("search runs", most, most)
        if found is None:
            raise self.errors[0]
        training, searched = found
        return replace(run, training=training), searched

    def _attempted(self, run: Run, purpose: Purpose) -> Record:
        try:
            return self._execute(run, purpose)[0]
        except Exception as error:
            if isinstance(error, RejectedError) and error.for_all:
                raise
            if ranks().world > 1 and not isinstance(error, TrainingError | RejectedError):
                raise  # of this rank, which the others would wait for
            self.errors.append(error)
            self.shared.progress.failed(error)
            return failed(run, self.splits, error, purpose)  # another rate may do

    def _execute(self, run: Run, purpose: Purpose, refit: Record | None = None) -> tuple[Record, MultimodalModel]:
        id_ = run.id(self.splits)
        events = self._events(run, purpose, again=refit is not None)
        beside = Beside(
            self._checkpoint(fingerprint([id_, "refit"]) if refit else id_),
            events,
            refit,
            intervals=run.seed == self.keeping.seed,
        )
        try:
            return execute(run, self.splits, shared=self.shared, purpose=purpose, beside=beside)
        finally:
            if events is not None:
                events.close()

    def _events(self, run: Run, purpose: Purpose, *, again: bool) -> Events | None:
        if not self.keeping.tensorboard or not ranks().first:
            return None
        searching = purpose == "search" and run.seed != self.keeping.seed
        name = f"search-lr-{run.training.lr:g}-epochs-{run.training.epochs}" if searching else "model"
        return Events(self.folder / "tensorboard" / (f"{name}-refit" if again else name))

    def _checkpoint(self, id_: str) -> Checkpoints:
        path = self.folder / CHECKPOINT / f"{id_}.safetensors"
        return Checkpoints(path, self.keeping.minutes, self.keeping.epochs, id_)


def _refitted(chosen: Record, record: Record) -> Record:
    """The record of a training on train and validation: what chose its epochs, and what test says of the result."""
    assert chosen.samples is not None  # noqa: S101 (it was completed)
    calibrated = record.calibrated
    if calibrated is not None and chosen.calibrated is not None:
        calibrated = replace(
            calibrated,
            before={**chosen.calibrated.before, "test": calibrated.before["test"]},
            after={**chosen.calibrated.after, "test": calibrated.after["test"]},
        )
    return replace(
        record,
        id=fingerprint([record.id, "refit"]),
        validation=chosen.validation,
        intervals={**chosen.intervals, "test": record.intervals["test"]},
        history=chosen.history,
        best_epoch=chosen.best_epoch,
        averaged_epochs=chosen.averaged_epochs,
        still_improving=chosen.still_improving,
        calibrated=calibrated,
        never=chosen.never,
        refit=Refit(chosen.id, chosen.samples.train + chosen.samples.validation, list(record.averaged_epochs)),
    )


def _check_free(folder: Path) -> None:
    """Check that a folder may be used: it does not exist, is empty, or is of a training.

    Raises:
        UsageError: it holds something else.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error
    if ASKED not in names and names - BEGUN:
        raise UsageError(f"{folder} holds other files and no training; choose an empty or a new folder with --out")


def _holds(folder: Path) -> bool:
    """Whether a training has left anything in its folder: its record, a checkpoint, or runs of its search."""
    if (folder / RECORD).exists() or any((folder / CHECKPOINT).glob("*.safetensors")):
        return True
    searches = folder / CHECKPOINT / "records.jsonl"
    return searches.exists() and searches.stat().st_size > 0


def _finished(folder: Path) -> Record | None:
    """The record of a training that has ended; None if it has not.

    Raises:
        DataError: it cannot be read.
    """
    try:
        document = json.loads((folder / RECORD).read_text("utf-8"))
        return Record.of(document, folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / RECORD} cannot be read ({error}); remove it to train again") from error


def carded(model: MultimodalModel, record: Record, splits: Splits, name: str, keeping: Keeping) -> MultimodalModel:
    """The model with its card.

    Args:
        model: trained, with the hashes of its rows.
        record: of its run.
        splits: that it was trained on.
        name: of it.
        keeping: its licence, and the command that made it.
    """
    document = getattr(splits.task, "document", None)
    text = card(
        record,
        name,
        getattr(splits.task, "description", ""),
        None if document is None else document(),
        command=keeping.command,
        licence=keeping.licence,
        remembers=model.trained_on is not None,
        inputs={one: model.inputs[one] for one in model.combination.encoders},
        target=model.target,
    )
    return replace(model, card=text)


def _keep(folder: Path, splits: Splits, record: Record, model: MultimodalModel) -> None:
    """Write all of a folder; the record comes last, by which a training is known to have ended."""
    if not (folder / DESCRIPTION).exists():
        (folder / WEIGHTS).unlink(missing_ok=True)
    model.save(folder)
    document = getattr(splits.task, "document", None)
    data: dict[str, Any] | None = None if document is None else document()
    if data is not None:
        write_json(folder / "data.json", data)
    write_splits(folder, [{name: splits.content(name) for name in SPLITS}])
    if record.unread_values:
        add_unread(folder, record.unread_values)
    if record.scores is not None:
        record.scores.write(folder / record.scores_file)
    if model.card is not None:
        with replacing(folder / CARD) as (fresh,):
            fresh.write_bytes(utf8(model.card))
    write_json(folder / RECORD, record.document())


def _given(plan: Plan) -> dict[str, Any]:
    """The components that were given as classes, by recorded name."""
    choices = [one for chosen in plan.all[0].choices() for one in chosen.whole]
    return {one.name: one if one.spec else one.component for one in choices if not one.distribution}


@contextmanager
def _told(folder: Path, progress: Progress) -> Iterator[None]:
    """Tell what is kept where the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        if _holds(folder):
            progress.note(f"the training is kept in {folder / CHECKPOINT}; the same command goes on there")
        else:
            progress.note("nothing was trained yet; the same command begins anew")
        raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell in a line that a folder cannot be written to.

    Raises:
        MmkitError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise MmkitError(f"cannot write to {folder}: {error.strerror or error}") from error
