"""`mmkit zero-shot`: classify by descriptions of the classes in words, without training on any label."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from mmkit.alignment.options import AlignmentOptions
from mmkit.alignment.zero_shot import TEMPLATES, classify_zero_shot
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
def zero_shot(
    ctx: typer.Context,
    input_: Annotated[str, typer.Option("--input", metavar="INPUT", help="Input to classify.")],
    encoder: Annotated[str, typer.Option(metavar="NAME[:K=V,...]", help="Frozen encoder of the input.")],
    text_encoder: Annotated[str, typer.Option(metavar="NAME[:K=V,...]", help="Frozen encoder of the prompts.")],
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Classification task.", envvar="MMKIT_TASK")] = None,
    *,
    own: OwnDataOptions,
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help=f"Prompt, with {{}} for the class; repeatable. [{TEMPLATES[0]}]"),
    ] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="LABEL=WORDS", help="Name of a class in prompts; repeatable. [its label]"),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to use: train, validation or test.")] = "test",
    map_: Annotated[
        str,
        typer.Option(
            "--map", metavar="none|ridge", help="Map between encoders that share no space; ridge is fitted on train."
        ),
    ] = "none",
    pairs: Annotated[
        str | None, typer.Option(metavar="INPUT", help="Text input that the map is fitted on. [the only one]")
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or mps.", envvar="MMKIT_DEVICE")] = "auto",
    precision: Annotated[str, typer.Option(help="Autocast: float32, bfloat16 or float16.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="CPU threads. [one per core]", envvar="MMKIT_THREADS")] = None,
    on_error: Annotated[str, typer.Option(help="If a value cannot be read: fail, skip or missing.")] = "fail",
    seed: Annotated[int, typer.Option(help="Seed of the weights of encoders without pretrained ones.")] = 0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the feature cache.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Classify one input of a task by prompts: the class whose prompts are the most similar.

    The vectors of all prompts of a class are averaged. Nothing is trained on labels; a ridge map is fitted on pairs of
    the input and a text.
    """
    classes: dict[str, list[str]] = {}
    for text in class_ or ():
        label, equals, words = (part.strip() for part in text.partition("="))
        if not (label and equals and words):
            raise UsageError(f"--class takes LABEL=WORDS; got {text}")
        classes.setdefault(label, []).append(words)
    options = AlignmentOptions(split, map_, seed, Settings(device, precision, on_error=on_error))  # type: ignore[arg-type]  # checked there
    prepare(threads)
    available = catalog(ctx)
    of_data = own.task(available, named_task(ctx, task, own))
    if of_data is None:
        raise UsageError("which samples? Give --task NAME or --data PATH")
    tell_data(of_data)
    with redirect_stdout(sys.stderr), Bars() as progress:  # what components print
        result = classify_zero_shot(
            available,
            task=of_data,
            input=input_,
            encoder=encoder,
            text_encoder=text_encoder,
            templates=tuple(template or TEMPLATES),
            classes=classes,
            pairs=pairs,
            options=options,
            shared=Shared(None if no_cache else default_folder(), progress),
        )
    tell_unread((line for lines in result.unread.values() for line in lines), on_error)
    if as_json:
        print_json(result.document())
    else:
        print_results(result.sheet(), result.sentence())
