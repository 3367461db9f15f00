"""`mmkit train`: train one combination of encoders, fusion and head, and keep the model."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mmkit.cli import training_options as shared
from mmkit.cli.configuration import merged
from mmkit.cli.encoders import encoders_by_input
from mmkit.cli.own_data import OwnDataOptions, named_task, takes_own_data, tell_data
from mmkit.cli.process import command_of, prepare
from mmkit.cli.results import print_json, stdout
from mmkit.cli.setting import catalog, setting
from mmkit.cli.unread import tell_unread
from mmkit.errors import UsageError
from mmkit.experiments.plan import Plan
from mmkit.experiments.training import Keeping, Made, plan_of_one
from mmkit.experiments.training import train as train_one
from mmkit.records.unread import read_unread
from mmkit.registry.catalog import Catalog
from mmkit.report.card import notes, score_rows, scores_title
from mmkit.report.privacy import privacy_notes
from mmkit.report.sheet import Sheet
from mmkit.report.tables import drawn, put
from mmkit.system.bars import Bars
from mmkit.system.cache_folder import default_folder
from mmkit.system.progress import MUTE
from mmkit.system.ranks import Ranks, threads_of_rank, together
from mmkit.system.settings import Settings
from mmkit.system.sizes import bytes_in


@takes_own_data(before="config")
def train(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the model; an interrupted training goes on in it.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task to train for. [digits]", envvar="MMKIT_TASK")
    ] = None,
    *,
    own: OwnDataOptions,
    encoder: Annotated[
        shared.Several,
        typer.Option(metavar="INPUT=NAME[:K=V,...]", help="Encoder of an input or of a modality; once for each."),
    ] = None,
    fusion: Annotated[
        shared.Several, typer.Option(metavar="NAME[:K=V,...]", help="Fusion, or only:INPUT. [attention]")
    ] = None,
    head: Annotated[shared.Several, typer.Option(metavar="NAME[:K=V,...]", help="Head. [the first that suits]")] = None,
    objective: Annotated[
        shared.Several,
        typer.Option(
            metavar="NAME[:K=V,...]",
            help="Additional loss; repeatable. `none` leaves out the one that the fusion brings along.",
        ),
    ] = None,
    balance: Annotated[
        shared.Several, typer.Option(metavar="NAME[:K=V,...]", help="How encoders are balanced in training. [none]")
    ] = None,
    option: shared.Option = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, augmentation and dropout. [0]")] = None,
    epochs: shared.Epochs = None,
    batch_size: shared.BatchSize = None,
    lr: shared.LearningRate = None,
    refit: Annotated[
        bool | None, typer.Option("--refit/--no-refit", help="Then train again on train and validation. [no]")
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option("--calibrate/--no-calibrate", help="Fit a temperature of probabilities on validation. [yes]"),
    ] = None,
    ema: Annotated[
        float | None, typer.Option(metavar="DECAY", help="Average of the weights over steps; same as train.ema. [none]")
    ] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the step; same as train.compile. [no]")
    ] = None,
    private: Annotated[
        str | None,
        typer.Option(
            metavar="epsilon=E,delta=D[,clip=C]",
            help="Tell little of any one row: clip the gradient of each, and add noise; same as train.private. [none]",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Minutes between checkpoints within an epoch. [10]")
    ] = None,
    checkpoint_epochs: Annotated[int | None, typer.Option(metavar="E", help="Epochs between checkpoints. [1]")] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write event files to DIR/tensorboard. [no]")
    ] = None,
    licence: Annotated[str | None, typer.Option(metavar="TEXT", help="Licence of the model, for its card.")] = None,
    limit: shared.Limit = None,
    device: shared.Device = None,
    precision: shared.Precision = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of each rank. [its share of the cores]", envvar="MMKIT_THREADS")
    ] = None,
    ranks: Annotated[
        int | None, typer.Option(help="Processes that train together; an error if others were started. [those started]")
    ] = None,
    on_error: shared.OnError = None,
    config: shared.Config = None,
    no_cache: shared.NoCache = False,
    keep: shared.Keep = None,
    as_json: shared.AsJson = False,
) -> None:
    """Train one combination of encoders, fusion and head, and keep the model with a card of what it is worth.

    DIR holds the model, its card README.md and the record of its run. While it is trained, checkpoints are written: the
    same command goes on after an interruption or a crash, and on one machine's CPU gives the same model bit for bit.

    Under torchrun, or another launcher of processes, these train one model together:
    torchrun --nproc-per-node 2 -m mmkit train --ranks 2 ...
    """
    given: dict[str, Any] = {
        "task": named_task(ctx, task, own), "encoder": encoder, "fusion": fusion, "head": head,
        "objective": objective, "balance": balance, "option": option,
        "seed": seed, "refit": refit, "tensorboard": tensorboard,
        "checkpoint_minutes": checkpoint_minutes, "checkpoint_epochs": checkpoint_epochs, "licence": licence,
        "limit": limit, "device": device, "precision": precision, "threads": threads, "on_error": on_error,
        "ranks": ranks, "keep": keep, **own.given,
    }  # fmt: skip
    of_training = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "calibrate": calibrate, "ema": ema, "compile": compile_,
        "private": private,
    }  # fmt: skip
    chosen = merged(config, given, of_training)
    with together(chosen["ranks"], chosen["device"] or "auto") as all_ranks:
        _carry_out(ctx, chosen, own, out, all_ranks, cache=None if no_cache else default_folder(), as_json=as_json)


def _carry_out(
    ctx: typer.Context,
    chosen: dict[str, Any],
    own: OwnDataOptions,
    out: Path,
    ranks: Ranks,
    *,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Train with the ranks that were started, of which the first prints."""
    if ranks.world > 1 and ranks.first:
        print(f"mmkit: {ranks.world} ranks train one model", file=sys.stderr)
    threads = ranks.agreed(threads_of_rank(chosen["threads"]))
    kept = None if chosen["keep"] is None else bytes_in(chosen["keep"], "--keep")
    prepare(threads)
    keeping = Keeping(
        seed=chosen["seed"] or 0,
        refit=bool(chosen["refit"]),
        minutes=10 if chosen["checkpoint_minutes"] is None else chosen["checkpoint_minutes"],
        epochs=1 if chosen["checkpoint_epochs"] is None else chosen["checkpoint_epochs"],
        tensorboard=bool(chosen["tensorboard"]),
        licence=chosen["licence"],
        command=command_of(ctx),
    )
    installed = catalog(ctx)
    with redirect_stdout(sys.stderr):
        planned = ranks.own(lambda: _planned(installed, chosen, own, threads))
    if ranks.first:
        tell_data(planned.task)
    bars = Bars(tracebacks=setting(ctx).traceback) if ranks.first else MUTE
    with redirect_stdout(sys.stderr), bars as progress:  # what components print
        made = train_one(planned, out, installed, keeping, cache=cache, keep=kept, progress=progress)
    if not ranks.first:
        return
    if any(made.record.unread.values()):
        lines = [value.line for value in read_unread(made.folder)]
        tell_unread(lines, planned.settings.on_error, str(made.folder / "unread.parquet"))
    if as_json:
        print_json({"folder": str(made.folder), "record": made.record.document()})
    else:
        _show(made, stdout(), data=chosen["data"] is not None)


def _planned(installed: Catalog, chosen: dict[str, Any], own: OwnDataOptions, threads: int | None) -> Plan:
    """The plan of the model that was chosen."""
    return plan_of_one(
        installed,
        _one("fusion", chosen["fusion"]) or "attention",
        task=own.among(chosen).task(installed, chosen["task"]) or "digits",
        encoders=encoders_by_input(chosen["encoder"] or []),
        heads=[one] if (one := _one("head", chosen["head"])) else [],
        objectives=chosen["objective"] or [],
        balances=chosen["balance"] or [],
        options=chosen["option"] or [],
        training={"calibrate": True, **chosen["train"]},
        settings=Settings(
            chosen["device"] or "auto",
            chosen["precision"] or "float32",
            chosen["limit"],
            chosen["on_error"] or "fail",
            threads,
        ),
    )


def _one(kind: str, given: list[str] | None) -> str | None:
    """The only one of a kind, if one was given.

    Raises:
        UsageError: several were given.
    """
    if given and len(given) > 1:
        raise UsageError(f"one model has one {kind}; got {', '.join(given)}: mmkit bench compares them")
    return given[0] if given else None


def _show(made: Made, console: Console, *, data: bool) -> None:
    folder = shlex.quote(str(made.folder))
    if made.before:
        print(f"mmkit: {made.folder} holds this model already; nothing is trained", file=sys.stderr)
    rows = [list(row) for row in score_rows(made.record)]
    for table in drawn([Sheet(scores_title(made.record), ["metric"], ["validation", "test"], rows)], console):
        put(table, console)
    for note in [*notes(made.record), *privacy_notes(made.record)]:
        console.print()
        put(Text(note), console)
    console.print()
    card = made.folder / "README.md"
    put(Text(f"The model is in {made.folder}, its card is {card}. Answers for new samples:"), console)
    command = f"mmkit predict {folder} --data NEW --out ANSWERS.parquet"
    put(Text(f"  {command if data else f'mmkit.load({str(made.folder)!r}).predict([...])'}"), console)
