"""`mmkit bench`: compare combinations on a task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkit.api import new_folder
from mmkit.cli.configuration import merged
from mmkit.cli.dry_run import show_dry_run
from mmkit.cli.process import prepare
from mmkit.cli.results import stdout
from mmkit.cli.setting import catalog
from mmkit.cli.unread import tell_unread
from mmkit.errors import DataError, UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.suite import Suite, carry_out
from mmkit.features.cache import default_folder
from mmkit.report.document import document
from mmkit.report.tables import show, show_confusion
from mmkit.system.bars import Bars
from mmkit.system.settings import Settings

Several = list[str] | None


def bench(
    ctx: typer.Context,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose samples. [digits]", envvar="MMKIT_TASK")
    ] = None,
    encoder: Annotated[
        Several,
        typer.Option(metavar="INPUT=NAME[:K=V,...]", help="Encoder of an input, or of all inputs of a modality."),
    ] = None,
    fusion: Annotated[
        Several,
        typer.Option(metavar="NAME[:K=V,...]", help="One or several, or `all`. [attention]", envvar="MMKIT_FUSION"),
    ] = None,
    head: Annotated[Several, typer.Option(metavar="NAME[:K=V,...]", help="[the first that suits the task]")] = None,
    objective: Annotated[Several, typer.Option(metavar="NAME[:K=V,...]", help="A loss beside the head's.")] = None,
    option: Annotated[
        Several, typer.Option("-o", metavar="fusion.K=V", help="Option of a component, or of training: train.K=V.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; 3 are 0, 1 and 2. [3]", envvar="MMKIT_SEEDS")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many; also train.epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step; also train.batch_size.")] = None,
    lr: Annotated[float | None, typer.Option(help="Greatest learning rate; also train.lr.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many training samples.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [auto]", envvar="MMKIT_DEVICE")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16, by autocast. [float32]")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU. [one a core]", envvar="MMKIT_THREADS")] = None,
    on_error: Annotated[
        str | None, typer.Option(help="A value that cannot be read: fail, skip its sample, or missing. [fail]")
    ] = None,
    baselines: Annotated[bool | None, typer.Option(help="Each input alone beside the fusions. [yes]")] = None,
    cost: Annotated[bool | None, typer.Option(help="Speed, memory and FLOPs beside the scores. [yes]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with these options.", envvar="MMKIT_CONFIG")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the records; what is there is not done again.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the weights of the best seed on validation.")] = False,
    mix: Annotated[bool, typer.Option("--mix", help="Go on in DIR on another machine or with other versions.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute the features of frozen encoders anew, and keep none.")
    ] = False,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Also the confusion matrix of the best combination, on test.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, each combination tried on a few samples, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Compare combinations of encoders, fusions and heads on a task, with each input alone beside them.

    An option that is given again is another value to compare, and all are combined with all. Later beats earlier:
    defaults, --config, the environment, what stands after a name, -o.
    """
    given: dict[str, Any] = {
        "task": task, "encoder": encoder, "fusion": fusion, "head": head, "objective": objective, "option": option,
        "seeds": seeds, "limit": limit, "device": device, "precision": precision, "threads": threads,
        "on_error": on_error, "baselines": baselines, "cost": cost, "out": out,
    }  # fmt: skip
    training = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    chosen = merged(config, given, training)
    prepare(chosen["threads"])
    installed = catalog(ctx)
    planned = plan(
        installed,
        task=chosen["task"] or "digits",
        encoders=_encoders(chosen["encoder"] or []),
        fusions=chosen["fusion"] or ["attention"],
        heads=chosen["head"] or [],
        objectives=chosen["objective"] or [],
        options=chosen["option"] or [],
        training=chosen["train"],
        seeds=3 if chosen["seeds"] is None else chosen["seeds"],
        baselines=chosen["baselines"] is not False,
        settings=Settings(
            chosen["device"] or "auto",
            chosen["precision"] or "float32",
            chosen["limit"],
            chosen["on_error"] or "fail",
        ),
    )
    for name, reason in planned.left_out:
        print(f"mmkit: {name} is left out: {reason}", file=sys.stderr)
    if dry_run:
        raise typer.Exit(show_dry_run(planned, installed, as_json=as_json))
    folder = Path(chosen["out"]) if chosen["out"] else new_folder(planned.task.name)
    with Bars() as progress:
        suite = carry_out(
            planned,
            folder,
            installed,
            save=save,
            mix=mix,
            cost=chosen["cost"] is not False,
            cache=None if no_cache else default_folder(),
            progress=progress,
        )
    unread = (line for record in suite.records for lines in record.unread.values() for line in lines)
    tell_unread(unread, planned.settings.on_error)  # all runs of a suite share most of them
    _tell_anew(suite)
    _show(suite, as_json=as_json, confusion=confusion)
    codes = {record.exit_code for record in suite.failures}
    if codes:
        # Where data or weights alone are missing, the code says so.
        raise typer.Exit(DataError.exit_code if codes == {DataError.exit_code} else 1)


def _encoders(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, encoder = text.partition("=")
        if not (name and equals and encoder):
            raise UsageError(f"--encoder takes INPUT=NAME[:key=value,...]; got {text}")
        found.setdefault(name.strip(), []).append(encoder.strip())
    return found


def _tell_anew(suite: Suite) -> None:
    """Say where features could have been computed once, but for augmentation."""
    for name in sorted({name for record in suite.records for name in record.encoded_anew}):
        print(
            f"mmkit: {name} is augmented, so its frozen encoder ran in every epoch; -o train.copies=K keeps K copies",
            file=sys.stderr,
        )


def _show(suite: Suite, *, as_json: bool, confusion: bool) -> None:
    if as_json:
        print(json.dumps(document(suite.records, str(suite.folder)), indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = stdout()
    show(suite.rows, console)
    if confusion:
        show_confusion(suite.rows, console)
    print(f"mmkit: records are in {suite.folder}", file=sys.stderr)
