"""`mmkit data inspect`: what a table of one's own is, before anything is trained."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mmkit.cli.own_data import (
    Columns,
    Deep,
    Files,
    Group,
    Id,
    Outside,
    Splits,
    SplitSeed,
    Target,
    TargetKind,
    Time,
    options_of_data,
    width,
)
from mmkit.errors import UsageError
from mmkit.tasks.own_data import OwnData


def inspect(
    data: Annotated[str, typer.Argument(metavar="PATH", help="A table, or a folder.")],
    target: Target = None,
    target_kind: TargetKind = None,
    column: Columns = None,
    group: Group = None,
    time: Time = None,
    id_: Id = None,
    split_seed: SplitSeed = None,
    splits: Splits = None,
    files: Files = None,
    outside: Outside = None,
    deep: Deep = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what each column of a table is and why, the target, the splits, and what to know before training.

    A table is CSV, TSV, JSON lines, Parquet, Arrow or tar shards ('s-{000..099}.tar'); a folder holds several of one
    table, or images, sounds or videos whose sub-folder is the class, or what `datasets` saved; hub:NAME is what it has
    in its cache. Nothing is trained and nothing is changed.
    """
    given = {
        "data": data, "target": target, "target_kind": target_kind, "column": column, "group": group, "time": time,
        "id": id_, "split_seed": split_seed, "splits": splits, "files": files, "outside": outside, "deep": deep,
    }  # fmt: skip
    found = OwnData.describe(options_of_data(given))
    if as_json:
        print(json.dumps(found.document(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print(found.text(width()))
    if found.problems:
        raise UsageError(found.problems[0])
