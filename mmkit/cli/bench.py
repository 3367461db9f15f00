"""`mmkit bench`: compare combinations of encoders, fusions and heads on a task."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkit.api import new_folder
from mmkit.cli import training_options as shared
from mmkit.cli.configuration import merged
from mmkit.cli.dry_run import show_dry_run
from mmkit.cli.encoders import encoders_by_input
from mmkit.cli.own_data import OwnDataOptions, named_task, takes_own_data, tell_data
from mmkit.cli.process import command_of, prepare
from mmkit.cli.results import print_json, stdout
from mmkit.cli.setting import catalog, setting
from mmkit.cli.unread import tell_unread
from mmkit.errors import DataError
from mmkit.experiments.plan import NONE, plan
from mmkit.experiments.suite import Suite, carry_out
from mmkit.experiments.threads import threads_of
from mmkit.report.document import document
from mmkit.report.labels import plain
from mmkit.report.tables import show, show_confusion
from mmkit.system.bars import Bars
from mmkit.system.cache_folder import default_folder
from mmkit.system.executors.choosing import executor_of, workers_of
from mmkit.system.settings import Settings
from mmkit.system.sizes import bytes_in
from mmkit.system.times import seconds_in


@takes_own_data(before="config", compares=True)
def bench(
    ctx: typer.Context,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task to compare on. [digits]", envvar="MMKIT_TASK")
    ] = None,
    *,
    own: OwnDataOptions,
    encoder: Annotated[
        shared.Several,
        typer.Option(metavar="INPUT=NAME[:K=V,...]", help="Encoder of an input or of a modality; repeatable."),
    ] = None,
    fusion: Annotated[
        shared.Several,
        typer.Option(
            metavar="NAME[:K=V,...]",
            help="Fusion, or `all`; repeatable. [concat, log-pool, attention]",
            envvar="MMKIT_FUSION",
        ),
    ] = None,
    head: Annotated[
        shared.Several,
        typer.Option(metavar="NAME[:K=V,...]", help="Head, or `all`; repeatable. [the first that suits]"),
    ] = None,
    objective: Annotated[
        shared.Several,
        typer.Option(
            metavar="NAME[:K=V,...]",
            help="Additional loss of every combination; repeatable. `none` leaves out those that fusions bring along.",
        ),
    ] = None,
    balance: Annotated[
        shared.Several,
        typer.Option(
            metavar="NAME[:K=V,...]",
            help="How encoders are balanced in training, or `all`; compared with none; repeatable. [none]",
        ),
    ] = None,
    option: shared.Option = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Fresh seeds by which the chosen fusion and every input alone are confirmed. [5]", envvar="MMKIT_SEEDS"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Base of all seeds of training; not of splits. [0]")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="quick|full",
            help="full: every fusion is measured on test, and seeds are added where they tell more. [quick]",
        ),
    ] = None,
    same_within: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="What the verdict takes for the same: points of a share, else units. [1; 2 % of the best input]",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Search within a time such as 30m: what does badly on validation is stopped early. [train all]",
        ),
    ] = None,
    search_options: Annotated[
        bool | None,
        typer.Option(
            "--search-options",
            help="Within --budget also search options of fusions and heads, in the same time for each. [no]",
        ),
    ] = None,
    epochs: shared.Epochs = None,
    batch_size: shared.BatchSize = None,
    lr: shared.LearningRate = None,
    limit: shared.Limit = None,
    device: shared.Device = None,
    precision: shared.Precision = None,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads of each run. [one per core; cores / workers]", envvar="MMKIT_THREADS"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Compute N runs at once, each in a process of its own. [1]")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="processes|ray",
            help="Where runs are computed: ray takes the cluster at RAY_ADDRESS, else starts one here. [processes]",
        ),
    ] = None,
    on_error: shared.OnError = None,
    baselines: Annotated[bool | None, typer.Option(help="Also train each input alone. [yes]")] = None,
    cost: Annotated[bool | None, typer.Option(help="Also measure speed, memory and FLOPs. [yes]")] = None,
    yardsticks: Annotated[
        bool | None,
        typer.Option(help="Also fit what scikit-learn does with the same features or table. [where that is cheap]"),
    ] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write event files to DIR/tensorboard, a folder a run. [no]")
    ] = None,
    profile: Annotated[
        bool | None,
        typer.Option("--profile", help="Write traces of PyTorch's profiler to DIR/profile, of one combination. [no]"),
    ] = None,
    profile_of: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Profile this one of several combinations, as the tables name it."),
    ] = None,
    modes: Annotated[
        bool | None,
        typer.Option(
            "--modes", help="Also time the chosen fusion compiled and as a CUDA graph (--protocol full). [no]"
        ),
    ] = None,
    config: shared.Config = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the suite; its runs are not repeated. [a new one in mmkit-runs]"),
    ] = None,
    save: Annotated[
        bool | None, typer.Option("--save", help="Save the model of each combination's best run on validation. [no]")
    ] = None,
    mix: Annotated[
        bool, typer.Option("--mix", help="Continue in DIR on another machine, or with other versions, data or code.")
    ] = False,
    no_cache: shared.NoCache = False,
    keep: shared.Keep = None,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Also show the best combination's confusion matrix on test.")
    ] = False,
    with_samples: Annotated[
        bool | None,
        typer.Option(
            "--with-samples", help="Keep the worst errors on test with their samples, for `mmkit report`. [no]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, build each combination and do one step, then stop.")
    ] = False,
    as_json: shared.AsJson = False,
) -> None:
    """Compare combinations of encoders, fusions and heads on a task, and with each input alone.

    A repeated --encoder, --fusion, --head or --balance is another value to compare; all are combined with all.
    Precedence, from lowest to highest: defaults, --config, the environment, the command line, options after a name, -o.
    """
    given: dict[str, Any] = {
        "task": named_task(ctx, task, own), "encoder": encoder, "fusion": fusion, "head": head,
        "objective": objective, "balance": balance, "option": option,
        "seeds": seeds, "seed": seed, "protocol": protocol, "same_within": same_within,
        "budget": budget, "search_options": search_options,
        "limit": limit, "device": device, "precision": precision, "threads": threads,
        "workers": workers, "engine": engine,
        "on_error": on_error, "baselines": baselines, "cost": cost, "yardsticks": yardsticks, "out": out,
        "tensorboard": tensorboard, "save": save, "keep": keep,
        "profile": profile, "profile_of": profile_of, "with_samples": with_samples,
        "modes": modes,
        **own.given,
    }  # fmt: skip
    training = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    chosen = merged(config, given, training)
    kept = None if chosen["keep"] is None else bytes_in(chosen["keep"], "--keep")
    prepare(chosen["threads"])
    at_once = workers_of(chosen["engine"], chosen["workers"], chosen["threads"])
    threads = threads_of(chosen["threads"], at_once, None if chosen["out"] is None else Path(chosen["out"]))
    installed = catalog(ctx)
    with redirect_stdout(sys.stderr):
        planned = plan(
            installed,
            task=own.among(chosen).task(installed, chosen["task"]) or "digits",
            encoders=encoders_by_input(chosen["encoder"] or []),
            fusions=chosen["fusion"] or None,
            heads=chosen["head"] or [],
            objectives=chosen["objective"] or [],
            balances=[NONE, *(chosen["balance"] or [])],
            options=chosen["option"] or [],
            training=chosen["train"],
            seeds=5 if chosen["seeds"] is None else chosen["seeds"],
            seed=chosen["seed"] or 0,
            protocol=chosen["protocol"] or "quick",
            same_within=chosen["same_within"],
            budget=None if chosen["budget"] is None else seconds_in(chosen["budget"], "--budget"),
            search_options=bool(chosen["search_options"]),
            baselines=chosen["baselines"] is not False,
            settings=Settings(
                chosen["device"] or "auto",
                chosen["precision"] or "float32",
                chosen["limit"],
                chosen["on_error"] or "fail",
                threads,
            ),
        )
    for name, reason in planned.left_out:
        print(f"mmkit: {name} is left out: {reason}", file=sys.stderr)
    tell_data(planned.task)
    executor = executor_of(chosen["engine"], at_once, planned.settings)
    if dry_run:
        cost_too = chosen["cost"] is not False
        shown = show_dry_run(
            planned, installed, executor, cost=cost_too, as_json=as_json, tracebacks=setting(ctx).traceback
        )
        raise typer.Exit(shown)
    folder = Path(chosen["out"]) if chosen["out"] else new_folder(planned.task.name)
    with redirect_stdout(sys.stderr), Bars(tracebacks=setting(ctx).traceback) as progress:  # what components print
        suite = carry_out(
            planned,
            folder,
            installed,
            save=bool(chosen["save"]),
            mix=mix,
            cost=chosen["cost"] is not False,
            yardsticks=chosen["yardsticks"],
            samples=bool(chosen["with_samples"]),
            command=command_of(ctx),
            cache=None if no_cache else default_folder(),
            keep=kept,
            tensorboard=bool(chosen["tensorboard"]),
            profile=chosen["profile_of"] or bool(chosen["profile"]),
            modes=bool(chosen["modes"]),
            executor=executor,
            progress=progress,
        )
    tell_unread(suite.unread, planned.settings.on_error, str(folder / "unread.parquet"))
    _note_repeated_encoding(suite)
    _show(suite, as_json=as_json, confusion=confusion)
    codes = {record.exit_code for record in suite.failures}
    if codes:
        # The code of missing data or weights, if there are no other failures.
        raise typer.Exit(DataError.exit_code if codes == {DataError.exit_code} else 1)


def _note_repeated_encoding(suite: Suite) -> None:
    """Note frozen encoders that ran in every epoch because of augmentation."""
    for name in sorted({name for record in suite.records for name in record.encoded_anew}):
        print(
            f"mmkit: input {name} is augmented, so its frozen encoder ran in every epoch; "
            "-o train.copies=K encodes K augmented copies once instead",
            file=sys.stderr,
        )


def _show(suite: Suite, *, as_json: bool, confusion: bool) -> None:
    if as_json:
        print_json(document(suite.records, str(suite.folder), suite.terms))
    else:
        console = stdout()
        show(suite.rows, console, suite.terms)
        if confusion:
            show_confusion(suite.rows, console)
    print(f"mmkit: records are in {suite.folder}", file=sys.stderr)
    if models := suite.models:
        print(f"mmkit: {len(models)} models are in {suite.folder / 'models'}; mmkit.load reads them:", file=sys.stderr)
        print(*(f"  {folder}  {plain(name)}" for name, folder in models.items()), sep="\n", file=sys.stderr)
