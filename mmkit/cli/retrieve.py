"""`mmkit retrieve`: retrieve one input of a sample by its other, among those of all samples."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from mmkit.alignment.options import AlignmentOptions
from mmkit.alignment.retrieval import measure_retrieval
from mmkit.cli.own_data import OwnDataOptions, named_task, takes_own_data, tell_data
from mmkit.cli.process import prepare
from mmkit.cli.results import print_json, print_results
from mmkit.cli.setting import catalog
from mmkit.cli.unread import tell_unread
from mmkit.errors import UsageError
from mmkit.features.sharing import Shared
from mmkit.system.bars import Bars
from mmkit.system.cache_folder import default_folder
from mmkit.system.settings import Settings


@takes_own_data(before="device")
def retrieve(
    ctx: typer.Context,
    encoder: Annotated[
        list[str],
        typer.Option(metavar="INPUT=NAME[:K=V,...]", help="Frozen encoder of an input; give it for two inputs."),
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task that has the samples.", envvar="MMKIT_TASK")
    ] = None,
    *,
    own: OwnDataOptions,
    split: Annotated[str, typer.Option(help="Split to use: train, validation or test.")] = "test",
    map_: Annotated[
        str,
        typer.Option(
            "--map", metavar="none|ridge", help="Map between encoders that share no space; ridge is fitted on train."
        ),
    ] = "none",
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or mps.", envvar="MMKIT_DEVICE")] = "auto",
    precision: Annotated[str, typer.Option(help="Autocast: float32, bfloat16 or float16.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="CPU threads. [one per core]", envvar="MMKIT_THREADS")] = None,
    on_error: Annotated[str, typer.Option(help="If a value cannot be read: fail, skip or missing.")] = "fail",
    seed: Annotated[int, typer.Option(help="Seed of the weights of encoders without pretrained ones.")] = 0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the feature cache.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Retrieve each of two inputs by the other: recall at 1, 5 and 10, mean reciprocal rank, median rank.

    The encoders are frozen, so a second call reads the features from the cache. Samples with an equal value in either
    input are all right answers to each other. Ties rank the right answer last.
    """
    chosen: dict[str, str] = {}
    for text in encoder:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value) or name in chosen:
            raise UsageError(f"--encoder takes INPUT=NAME[:key=value,...], once per input; got {text}")
        chosen[name] = value
    options = AlignmentOptions(split, map_, seed, Settings(device, precision, on_error=on_error))  # type: ignore[arg-type]  # checked there
    prepare(threads)
    available = catalog(ctx)
    of_data = own.task(available, named_task(ctx, task, own))
    if of_data is None:
        raise UsageError("which samples? Give --task NAME or --data PATH")
    tell_data(of_data)
    with redirect_stdout(sys.stderr), Bars() as progress:  # what components print
        shared = Shared(None if no_cache else default_folder(), progress)
        retrieval = measure_retrieval(available, task=of_data, encoders=chosen, options=options, shared=shared)
    tell_unread((line for lines in retrieval.unread.values() for line in lines), on_error)
    if as_json:
        print_json(retrieval.document())
    else:
        print_results(retrieval.sheet(), retrieval.sentence())
