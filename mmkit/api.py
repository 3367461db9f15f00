"""The Python interface: `bench`, `compare`, `evaluate`, `predict`, ... as on the command line; and models."""

from __future__ import annotations

import importlib
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Unpack

import torch

from mmkit.alignment.options import AlignmentOptions, Map
from mmkit.alignment.retrieval import Retrieval, measure_retrieval
from mmkit.alignment.zero_shot import TEMPLATES, ZeroShot, classify_zero_shot
from mmkit.contract import Split
from mmkit.errors import UsageError, in_python, one_of
from mmkit.experiments.plan import NONE, Named, plan
from mmkit.experiments.remembering import remembering
from mmkit.experiments.run import execute
from mmkit.experiments.suite import Suite, carry_out, refuses_unseen
from mmkit.experiments.task_checks import check_task
from mmkit.experiments.threads import threads_of
from mmkit.experiments.training import Keeping, carded, plan_of_one, train
from mmkit.features.sharing import Shared
from mmkit.model.description import unchanged
from mmkit.model.trained import HUB, MultimodalModel
from mmkit.records.reading import Read, read_suites
from mmkit.records.record import Record
from mmkit.records.verdicts import Protocol
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice, options_of
from mmkit.report.compare import SuiteComparison
from mmkit.report.compare import compare as compare_suites
from mmkit.sources.about import About
from mmkit.system.bars import Bars
from mmkit.system.cache_folder import default_folder
from mmkit.system.executors.choosing import Engine, executor_of, workers_of
from mmkit.system.files import at_home
from mmkit.system.notebook import NotebookBars, in_notebook
from mmkit.system.precision import Precision
from mmkit.system.progress import MUTE, SILENT, Progress
from mmkit.system.ranks import threads_of_rank, together
from mmkit.system.settings import OnError, Settings
from mmkit.system.sizes import bytes_in
from mmkit.system.state import own_threads
from mmkit.system.times import seconds_in
from mmkit.training.optimisation import Search, Training

if TYPE_CHECKING:  # it imports pyarrow, which only own data needs
    from mmkit.experiments.measuring import Evaluated
    from mmkit.model.answer_joining import Summary
    from mmkit.sources.description import Description

OneOrMore = Named | Sequence[Named]


@in_python()
def bench(
    *,
    task: Named = "digits",
    data: Any = None,
    target: str | Sequence[str] | None = None,
    encoders: Mapping[str, OneOrMore] | None = None,
    fusion: OneOrMore | None = None,
    head: OneOrMore = (),
    objectives: OneOrMore = (),
    balance: OneOrMore = (),
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    seeds: int = 5,
    seed: int = 0,
    protocol: Protocol = "quick",
    same_within: float | None = None,
    budget: float | str | None = None,
    search_options: bool = False,
    baselines: bool = True,
    device: str = "auto",
    precision: Precision = "float32",
    limit: int | None = None,
    on_error: OnError = "fail",
    threads: int | None = None,
    out: str | Path | None = None,
    save: bool = False,
    mix: bool = False,
    cost: bool = True,
    yardsticks: bool | None = None,
    samples: bool = False,
    tensorboard: bool = False,
    profile: str | bool = False,
    modes: bool = False,
    workers: int | None = None,
    engine: Engine | None = None,
    cache: str | Path | None = None,
    keep: int | str | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
    **about: Unpack[About],
) -> Suite:
    """Compare combinations of encoders, fusions and heads on a task, and with single-input baselines.

    A component is named as on the command line ("low-rank:rank=8"), or given as a class.

    Args:
        task: that the combinations are trained for.
        data: your own, in place of a task: as `inspect` takes it.
        target: the column of `data` to predict; several of numbers are one target.
        encoders: by input or by modality, one or several; several of one input are compared.
        fusion: one or several; "all" is every installed fusion that suits the task, None is concat, log-pool and
            attention.
        head: one or several; "all" is every installed head that suits the task, none is the first of them.
        objectives: losses besides the head's, in every combination that they go with; "none" leaves out those that
            fusions bring along.
        balance: one or several, or "all", by which encoders are balanced in training; compared with none.
        options: "fusion.key=value", "encoder.INPUT.key=value", "train.key=value", ...; they override options in names.
        training: options of training; they override what the task recommends. Without an "lr" each combination gets the
            best of "rates" on validation.
        seeds: fresh seeds by which the fusion that was chosen on validation, and every single input, are confirmed; one
            gives no verdict.
        seed: of which all seeds are made.
        protocol: "quick", or "full": every fusion is measured on test, and seeds are added where they tell more.
        same_within: what the closing sentence takes for the same, in points of a share, else in units of the metric;
            None is 1 point, or 2 % of the best single input.
        budget: time in which combinations and learning rates are searched and what is found is confirmed, such as
            "30m", or seconds: those that do badly on validation are stopped early. None trains them all.
        search_options: also search the options of fusions and heads that are not given, in the same time for each
            combination and each input alone; needs `budget`, and the extra `search`.
        baselines: also train a model of each input alone.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward pass: "float32", "bfloat16" or "float16".
        limit: the greatest number of training samples; None is all.
        on_error: what to do with a value that cannot be read or transformed: "fail", "skip" (drop its sample) or
            "missing" (drop the value).
        threads: of the CPU, for each run; None is as many as torch has, with several workers a fair share of the cores,
            and in a folder with records as many as they had.
        out: folder of the suite; runs that it holds are not repeated. None is a new one under `mmkit-runs`.
        save: save the model of each combination, of its run that is best on validation.
        mix: continue in a folder with records of another machine, other versions, other data or other code.
        cost: also measure speed, memory and FLOPs of each combination.
        yardsticks: also fit what scikit-learn does with the same frozen features, or with a table: records and rows of
            their own. None does so where scikit-learn is installed and there are at most 5,000 training samples.
        samples: keep the worst errors on test of each run with their samples, for `Suite.report`.
        tensorboard: also write event files of the runs that are done now to `out`, a folder each.
        profile: also write traces of PyTorch's profiler to `out`, of one combination: its name; True is the only one.
        modes: also time the fusion that the full protocol chooses compiled, and as a CUDA graph; that takes
            minutes.
        workers: how many runs are computed at once, each in a process of its own; records are those that one after
            the other would make, with the same `threads`, but for times and order. None is 1, or with `engine` as many
            as this machine has cores for.
        engine: "processes" on this machine; or "ray": the cluster at RAY_ADDRESS, else one that is started here. None
            is processes where there are several workers.
        cache: folder for the features of frozen encoders; None is the one that `mmkit cache` shows.
        keep: bytes of disk for what is transformed once, or a text such as "20GiB"; None is a tenth of what is free, at
            most 20 GiB.
        catalog: where names are looked up; None is what is installed.
        progress: True shows bars on a terminal and in a notebook, False nothing; or your own `Progress`.
        about: what else you say of `data`: the other parameters of `inspect`.

    Raises:
        UsageError: an unknown name, a wrong option, or a folder that cannot be used.
        UnavailableError: a component or a device that is not available on this machine.
        DataError: samples or records that cannot be read, or truth that cannot be used.
        MmkitError: no combination can be built; the message is that of the first.
    """
    catalog = catalog or installed()
    at_once = workers_of(engine, workers, threads)
    threads = threads_of(threads, at_once, None if out is None else Path(out))
    planned = plan(
        catalog,
        task=_task(catalog, task, data, target, _known(bench, about)),
        encoders={name: _list(given) for name, given in (encoders or {}).items()},
        fusions=None if fusion is None else _list(fusion),
        heads=_list(head),
        objectives=_list(objectives),
        balances=[NONE, *_list(balance)],
        options=options,
        training=training,
        seeds=seeds,
        seed=seed,
        protocol=protocol,
        same_within=same_within,
        budget=_seconds(budget),
        search_options=search_options,
        baselines=baselines,
        settings=Settings(device, precision, limit, on_error, threads),
    )
    folder = new_folder(planned.task.name) if out is None else Path(out)
    with _progress(progress) as shown:
        _tell_data(planned.task, shown)
        return carry_out(
            planned,
            folder,
            catalog,
            save=save,
            mix=mix,
            cost=cost,
            yardsticks=yardsticks,
            samples=samples,
            tensorboard=tensorboard,
            profile=profile,
            modes=modes,
            executor=executor_of(engine, at_once, planned.settings),
            cache=_cache(cache),
            keep=_size(keep),
            progress=shown,
        )


def compare(
    a: Suite | str | Path,
    b: Suite | str | Path,
    *,
    fail_if: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
) -> SuiteComparison:
    """Compare two suites on the same data, combination by combination and seed by seed.

    Args:
        a: what was: a suite, its folder, or a folder of such folders.
        b: what is: the same.
        fail_if: limits of the change, such as "time>5%" or "accuracy<-1"; `checks` then says which are broken.
        metrics: on test, to compare beside the one that ranks.

    Raises:
        UsageError: they are of different data, or a name or a condition is not possible.
        DataError: there is no record, or one that cannot be read.
    """
    folders = [str(side.folder if isinstance(side, Suite) else side) for side in (a, b)]
    before, after = (
        [Read(side.folder, side.records)] if isinstance(side, Suite) else read_suites(side, newest_last=True)
        for side in (a, b)
    )
    return compare_suites(
        before,
        after,
        (folders[0], folders[1]),
        fail_if=[fail_if] if isinstance(fail_if, str) else fail_if,
        metrics=[metrics] if isinstance(metrics, str) else metrics,
    )


@in_python()
def fit(
    *,
    task: Named = "digits",
    data: Any = None,
    target: str | Sequence[str] | None = None,
    encoders: Mapping[str, Named] | None = None,
    fusion: Named = "attention",
    head: Named | None = None,
    objectives: OneOrMore = (),
    balance: Named | None = None,
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    search: bool = False,
    refit: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
    limit: int | None = None,
    on_error: OnError = "fail",
    threads: int | None = None,
    ranks: int | None = None,
    out: str | Path | None = None,
    checkpoint_minutes: float | None = 10,
    checkpoint_epochs: int | None = 1,
    tensorboard: bool = False,
    licence: str | None = None,
    cache: str | Path | None = None,
    keep: int | str | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
    **about: Unpack[About],
) -> tuple[MultimodalModel, Record]:
    """Train one model and evaluate it.

    `mmkit train` does the same, with `search=True` and `training={"calibrate": True}`.

    Args:
        task: that the model is trained for.
        data: your own, in place of a task: as `inspect` takes it.
        target: the column of `data` to predict; several of numbers are one target.
        encoders: by input, or by modality.
        fusion: a name, or a class; or "only:INPUT", a model of one input alone.
        head: a name, or a class; None is the first installed head that suits the task.
        objectives: losses besides the head's; "none" leaves out the one that the fusion brings along.
        balance: how encoders are balanced in training; None is not at all.
        options: "fusion.key=value", "encoder.INPUT.key=value", "train.key=value", ...; they override options in names.
        training: options of training; they override what the task recommends.
        search: choose the learning rate on validation, as `bench` does; else it is that of `training`.
        refit: then train again on train and validation together, with the rate and the epochs that were found.
        seed: of weights, order, augmentation and dropout.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward pass: "float32", "bfloat16" or "float16".
        limit: the greatest number of training samples; None is all.
        on_error: what to do with a value that cannot be read or transformed: "fail", "skip" or "missing".
        threads: of the CPU, for each rank; None is as many as torch has, of several ranks a fair share of the cores.
        ranks: how many processes train it together, each of which calls this with the same: it is an error where
            the launcher (torchrun, `accelerate launch`, Ray's TorchTrainer) has started others. None is as many as it
            has. The first alone writes and shows progress.
        out: folder of the model, its card and its record. A training that was interrupted goes on in it, and one that
            has ended is not repeated. None keeps nothing.
        checkpoint_minutes: between two checkpoints in `out`; None is only at the end of epochs.
        checkpoint_epochs: between two checkpoints in `out`; None is only by time.
        tensorboard: write event files to `out`.
        licence: of the model, for its card; None is "not stated".
        cache: folder for the features of frozen encoders, with `out`; None is the one that `mmkit cache` shows.
        keep: bytes of disk for what is transformed once, with `out`; as in `bench`.
        catalog: where names are looked up; None is what is installed.
        progress: bars on a terminal and in a notebook; False is silent; or something of your own.
        about: what else you say of `data`: the other parameters of `inspect`.

    Returns:
        The model, for predicting and saving, and the record of the run.

    Raises:
        UsageError: an unknown name, a wrong option, or a folder that cannot be used.
        UnavailableError: a component or a device that is not available on this machine.
        DataError: samples that cannot be read, or truth that cannot be used.
        MmkitError: training diverged.
    """
    catalog = catalog or installed()
    if out is None and tensorboard:
        raise UsageError("event files are written to the folder of the model; give out=")
    with (
        together(ranks, device) as all_ranks,
        _progress(progress if all_ranks.first else MUTE) as shown,
    ):
        if all_ranks.world > 1:
            shown.note(f"{all_ranks.world} ranks train one model")
        planned = all_ranks.own(
            lambda: plan_of_one(
                catalog,
                fusion,
                task=_task(catalog, task, data, target, _known(fit, about)),
                encoders={name: [given] for name, given in (encoders or {}).items()},
                heads=[] if head is None else [head],
                objectives=_list(objectives),
                balances=[] if balance is None else [balance],
                options=options,
                training=training,
                settings=Settings(device, precision, limit, on_error, threads_of_rank(threads)),
                search=search,
            )
        )
        name = "" if out is not None else planned.task.name.rpartition("/")[2]
        keeping = Keeping(seed, refit, checkpoint_minutes, checkpoint_epochs, tensorboard, licence, name=name)
        if out is None and not (search or refit):
            run = planned.run(planned.all[0], seed)
            splits = run.splits(catalog)
            for line in check_task(splits, refuse_unseen=refuses_unseen(planned)):
                shown.note(line)
            record, model = execute(run, splits, catalog=catalog, shared=Shared(progress=shown))
            whole = model if run.training.private else remembering(model, splits)
            return carded(whole, record, splits, name, keeping), record
        with TemporaryDirectory() if out is None else nullcontext(out) as folder:
            made = train(planned, Path(folder), catalog, keeping, cache=_cache(cache), keep=_size(keep), progress=shown)
    return made.model, made.record


def load(
    directory: str | Path,
    *,
    components: Mapping[str, type | Choice] | None = None,
    catalog: Catalog | None = None,
    device: torch.device | str = "cpu",
) -> MultimodalModel:
    """Load a model that `save` wrote, or one of the hub.

    Args:
        directory: the folder; or hub:OWNER/NAME, hub:OWNER/NAME@REVISION, which is downloaded to the hub's cache. A
            private one needs a token: HF_TOKEN, or `hf auth login`.
        components: the classes of components that were given as classes, by recorded name; as choices if with specs.
        catalog: where names are looked up; None is what is installed.
        device: where the model is put.

    Raises:
        DataError: the folder holds no model, or one that is damaged; or the hub has none, or cannot be reached.
        UnavailableError: a component's plugin is not installed; it names the distribution and its version.
    """
    return MultimodalModel.load(directory, components=components, catalog=catalog, device=device)


@in_python()
def predict(
    model: str | Path,
    *,
    data: Any,
    out: str | Path,
    include: Sequence[str] = (),
    on_error: OnError = "fail",
    batch_size: int = 256,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    engine: Engine | None = None,
    files: str | Path | None = None,
    outside: bool = False,
    decimal: Literal["point", "comma"] | None = None,
    force: bool = False,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> Summary:
    """Answer the rows of a table with a saved model, into a file: what `mmkit predict` does.

    A call that was interrupted, even killed, goes on where it stopped. `load(model).answers(data)` gives the answers
    themselves.

    Args:
        model: the folder of a saved or an exported model, or hub:OWNER/NAME.
        data: a path; or a frame or a mapping of column to sequence, which only this process can read.
        out: the file: .parquet, .csv, .tsv, .jsonl or .arrow.
        include: columns of the table that stand beside the answers.
        on_error: for a value that cannot be read or transformed: "fail", "missing" or "skip", which leaves the answer
            of its row empty.
        batch_size: rows that the model takes at once.
        device: "cpu", "cuda", "mps" or "auto".
        threads: of the CPU, for each part; None is as many as torch has, with several workers a fair share of the
            cores, and those of the parts that are there.
        workers: how many parts are answered at once, each in a process of its own; with the same `threads` the file is
            the same. None is 1, or with `engine` as many as the cores allow.
        engine: "processes" on this machine; or "ray": the cluster at RAY_ADDRESS, else one that is started here. None
            is processes where there are several workers.
        files: where names of files in cells begin; None is the folder of the table.
        outside: True where files may lie outside of that folder.
        decimal: the sign of fractions in numbers that are strings; None is that of training.
        force: replace the file, and begin anew.
        catalog: where components are looked up; None is what is installed.
        progress: show progress on standard error, or report it there.

    Raises:
        UsageError: the file is there, or parts of another call are; an option that there is not; a table in memory for
            several processes; or a model in memory.
        DataError: the model or the table cannot be read; or a value cannot be used, and `on_error` is "fail".
        UnavailableError: a plugin, a device or an engine is not available.
    """
    # They import pyarrow, which only tables need.
    named = ("model.answer_files", "model.answers", "sources.streaming")
    tables, answers, streaming = (importlib.import_module(f"mmkit.{one}") for one in named)
    if isinstance(model, MultimodalModel):
        raise UsageError(
            "predict takes the folder of a saved model, which each of its processes loads, and got a model in memory: "
            "model.answers(data) gives its answers"
        )
    file = at_home(out)
    at_once = workers_of(engine, workers, threads)
    tables.check_out(file, data)
    if str(model).startswith(HUB):
        model = importlib.import_module("mmkit.sharing.fetching").located(model)  # a start does without the hub
    folder = at_home(model)
    with own_threads(tables.threads_of(threads, at_once, file)), _progress(progress) as shown:
        known = catalog or installed()
        with unchanged(folder) as digest:
            loaded = MultimodalModel.load(folder, catalog=known, device=device)
        job = tables.Job(
            loaded,
            folder,
            digest,
            known,
            streaming.stream_of(data, known, files=files, outside=outside),
            answers.Asked(tuple(include), on_error, batch_size, decimal),
            file,
            force,
        )
        settings = Settings(loaded.device.type, threads=torch.get_num_threads())
        found: Summary = tables.write_answers(job, shown, executor_of(engine, at_once, settings))
        return found


@in_python()
def evaluate(
    model: str | Path | MultimodalModel,
    *,
    data: Any,
    target: str | Sequence[str] = (),
    on_error: OnError = "fail",
    batch_size: int = 256,
    device: str = "auto",
    threads: int | None = None,
    files: str | Path | None = None,
    outside: bool = False,
    decimal: Literal["point", "comma"] | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> Evaluated:
    """Measure a saved model on a labelled table: what `mmkit evaluate` does.

    Args:
        model: the folder of a saved or an exported model, or hub:OWNER/NAME; or a model, which stays on its device.
        data: a path, a frame (pandas, polars, pyarrow, duckdb), or a mapping of column to sequence.
        target: the column with the truth, or several of numbers; none is what the model was trained to predict.
        on_error: for a value or a truth that cannot be used: "fail", "missing" or "skip", which leaves its row out.
        batch_size: rows that the model takes at once.
        device: "cpu", "cuda", "mps" or "auto".
        threads: of the CPU; None is as many as torch has.
        files: where names of files in cells begin; None is the folder of the table.
        outside: True where files may lie outside of that folder.
        decimal: the sign of fractions in numbers that are strings; None is that of training.
        catalog: where components are looked up; None is what is installed.
        progress: show progress on standard error, or report it there.

    Raises:
        UsageError: the table has no such column, or an option that there is not.
        DataError: the model or the table cannot be read, no row has truth, or a value cannot be used and `on_error` is
            "fail"; or more than half of a column or of an input cannot.
        UnavailableError: a plugin or a device is not available.
    """
    # They import pyarrow, which only tables need.
    named = ("experiments.measuring", "model.answers", "sources.streaming")
    measuring, answers, streaming = (importlib.import_module(f"mmkit.{one}") for one in named)
    known = catalog or installed()
    with own_threads(threads), _progress(progress) as shown:
        loaded = model
        if not isinstance(loaded, MultimodalModel):
            loaded = MultimodalModel.load(loaded, catalog=known, device=device)
        stream = streaming.stream_of(data, known, files=files, outside=outside)
        columns = [target] if isinstance(target, str) else list(target)
        asked = answers.Asked((), on_error, batch_size, decimal)
        found: Evaluated = measuring.evaluate_table(loaded, stream, columns, asked, progress=shown)
        return found


@in_python()
def retrieve(
    *,
    task: Named | None = None,
    data: Any = None,
    target: str | Sequence[str] | None = None,
    encoders: Mapping[str, Named],
    split: Split = "test",
    map: Map = "none",  # noqa: A002 (the user's word for it)
    device: str = "auto",
    precision: Precision = "float32",
    on_error: OnError = "fail",
    seed: int = 0,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
    **about: Unpack[About],
) -> Retrieval:
    """Retrieve each of two inputs by the other, among all samples of a split.

    Args:
        task: that has the samples.
        data: your own, in place of a task: as `inspect` takes it.
        target: the column of `data` to predict; it says which classes splits hold alike.
        encoders: frozen encoders of two inputs; a map leads from the space of the first to that of the second.
        split: its samples are both queries and candidates.
        map: "none" if both encoders share a space, else "ridge".
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward pass: "float32", "bfloat16" or "float16".
        on_error: what to do with a value that cannot be read: "fail", "skip" or "missing".
        seed: of the weights of encoders that have no pretrained ones.
        cache: folder for the features of frozen encoders; None is the one that `mmkit cache` shows.
        catalog: where names are looked up; None is what is installed.
        progress: True shows bars on a terminal and in a notebook, False nothing; or your own `Progress`.
        about: what else you say of `data`: the other parameters of `inspect`.

    Raises:
        UsageError: the request is not possible, such as vectors of different widths without a map.
        DataError: samples or weights that are not available.
    """
    with _progress(progress) as shown:
        return measure_retrieval(
            catalog := catalog or installed(),
            task=_task(catalog, task, data, target, _known(retrieve, about)),
            encoders=encoders,
            options=AlignmentOptions(split, map, seed, Settings(device, precision, on_error=on_error)),
            shared=Shared(_cache(cache), shown),
        )


@in_python()
def zero_shot(
    *,
    task: Named | None = None,
    data: Any = None,
    target: str | Sequence[str] | None = None,
    input: str,  # noqa: A002 (the user's word for it)
    encoder: Named,
    text_encoder: Named,
    templates: str | Sequence[str] = TEMPLATES,
    classes: Mapping[str, str | Sequence[str]] | None = None,
    pairs: str | None = None,
    split: Split = "test",
    map: Map = "none",  # noqa: A002 (the user's word for it)
    device: str = "auto",
    precision: Precision = "float32",
    on_error: OnError = "fail",
    seed: int = 0,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
    **about: Unpack[About],
) -> ZeroShot:
    """Classify one input by descriptions of the classes in words, without training on any label.

    Args:
        task: a classification task.
        data: your own, in place of a task: as `inspect` takes it.
        target: the column of `data` that holds the classes.
        input: the input to classify.
        encoder: frozen encoder of the input.
        text_encoder: frozen encoder of the prompts.
        templates: one or several prompts, each with {} in place of the class; the vectors of a class are averaged.
        classes: one or several names in words, by label; the default is the label itself.
        pairs: the text input whose pairs with `input` a ridge map is fitted on; None is the task's only text input.
        split: its samples are classified.
        map: "none" if both encoders share a space, else "ridge".
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward pass: "float32", "bfloat16" or "float16".
        on_error: what to do with a value that cannot be read: "fail", "skip" or "missing".
        seed: of the weights of encoders that have no pretrained ones.
        cache: folder for the features of frozen encoders; None is the one that `mmkit cache` shows.
        catalog: where names are looked up; None is what is installed.
        progress: True shows bars on a terminal and in a notebook, False nothing; or your own `Progress`.
        about: what else you say of `data`: the other parameters of `inspect`.

    Raises:
        UsageError: the request is not possible, such as a template without {}.
        DataError: samples or weights that are not available.
    """
    with _progress(progress) as shown:
        return classify_zero_shot(
            catalog := catalog or installed(),
            task=_task(catalog, task, data, target, _known(zero_shot, about)),
            input=input,
            encoder=encoder,
            text_encoder=text_encoder,
            templates=(templates,) if isinstance(templates, str) else templates,
            classes=classes or {},
            pairs=pairs,
            options=AlignmentOptions(split, map, seed, Settings(device, precision, on_error=on_error)),
            shared=Shared(_cache(cache), shown),
        )


@in_python()
def inspect(
    data: Any,
    *,
    target: str | Sequence[str] | None = None,
    **about: Unpack[About],
) -> Description:
    """What a table of your own is: each column and why, the inputs, the target, the splits, the findings.

    Nothing is trained. In a notebook and by `print` the result shows itself as `mmkit data inspect` does.

    Args:
        data: a path (CSV, TSV, JSON lines, Parquet, Arrow, tar shards, Excel, a folder of those, of images, sounds or
            videos whose sub-folder is the class, or of `datasets`), hub:NAME, a frame (pandas, polars, pyarrow,
            duckdb), or a mapping of column to sequence, or a list of rows, each a mapping.
        target: the column to predict; several of numbers are one target.
        about: `target_kind`, "classes", "labels", "scalar" or "text"; `columns`, kinds by column ({"zip": "category"});
            `group`, columns whose equal values stay in one split; `time`, the column by which train is the earliest;
            `id`, the column that names each row; `split_seed`; `splits`, shares, a column, or a mapping of
            "validation" and "test" to what they are, where `data` trains; `files`, where names of files in cells
            begin; `outside`, True where they may leave that folder; `folds`, in how many `bench` tests every row once;
            `deep`, True where every value is read.

    Raises:
        UsageError: a column, kind or option that there is not, or a target that can be read in two ways.
        DataError: data that cannot be read, or has nothing to learn from.
    """
    own = _own_data(installed())
    found: Description = own.describe(own.options(data, target, _known(inspect, about)))
    return found


def _known(call: Callable[..., Any], about: About) -> About:
    """What was said of the data.

    Raises:
        UsageError: it is no parameter of that call.
    """
    for name in about:
        if name not in About.__annotations__:
            parameters = [*signature(call).parameters.keys() - {"about"}, *About.__annotations__]
            if "training" in parameters and name in options_of(Training) | options_of(Search):
                given = about[name]  # type: ignore[literal-required]  # whatever the user has written
                raise UsageError(f'{name} is an option of training; give training={{"{name}": {given!r}}}')
            raise UsageError(f"{call.__name__} has no parameter {name}; {one_of(parameters, name)}")
    return about


def _task(catalog: Catalog, task: Named | None, data: Any, target: str | Sequence[str] | None, about: About) -> Named:
    """The task that was named, or that of a user's own data."""
    if data is not None:
        return catalog.choose("task", "own-data", _own_data(catalog).options(data, target, about))
    if target is not None or about:
        raise UsageError(f"{'target' if target is not None else next(iter(about))} says something of data; give data=")
    if task is None:
        raise UsageError("which samples? Give task= or data=")
    return task


def _own_data(catalog: Catalog) -> Any:
    """The class of the task, imported where it is needed."""
    return catalog.find("task", "own-data").load()


def _tell_data(task: Choice, shown: Progress) -> None:
    """Note what was found in a user's own data, if the task is that."""
    if hasattr(task.component, "summary"):
        for line in task.component(**task.part(task.component)).summary():
            shown.note(line.strip())


def new_folder(task: str) -> Path:
    """The path of a folder that does not exist yet, under `mmkit-runs` in the working directory."""
    stem = f"{task.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = Path("mmkit-runs") / stem, 1
    while folder.exists():
        folder, count = Path("mmkit-runs") / f"{stem}-{count}", count + 1
    return folder


def _list(components: OneOrMore) -> list[Named]:
    return list(components) if isinstance(components, Sequence) and not isinstance(components, str) else [components]


def _cache(folder: str | Path | None) -> Path:
    return default_folder() if folder is None else at_home(folder)


def _seconds(budget: float | str | None) -> float | None:
    if isinstance(budget, str):
        return seconds_in(budget, "budget")
    if budget is not None and not 0 < budget < math.inf:
        raise UsageError(f"budget takes seconds, more than 0, or a time such as 30m; got {budget}")
    return budget


def _size(keep: int | str | None) -> int | None:
    if isinstance(keep, str):
        return bytes_in(keep, "keep")
    if keep is not None and keep < 0:
        raise UsageError(f"keep takes bytes, 0 or more, or a size such as 20GiB; got {keep}")
    return keep


@contextmanager
def _progress(progress: bool | Progress) -> Iterator[Progress]:
    if isinstance(progress, Progress):
        shown = progress
    elif progress:
        shown = NotebookBars() if in_notebook() else Bars()
    else:
        shown = SILENT
    with warnings.catch_warnings():
        # tqdm warns so in a notebook when transformers imports it; mmkit needs no widgets.
        warnings.filterwarnings("ignore", message="IProgress not found")
        with shown:
            yield shown
