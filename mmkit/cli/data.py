"""`mmkit data inspect`: what a table of one's own is, before anything is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from mmkit.cli.own_data import OwnDataOptions, takes_own_data, width
from mmkit.cli.results import print_json
from mmkit.errors import UsageError
from mmkit.tasks.own_data import OwnData


@takes_own_data(argument=True, compares=True)
def inspect(
    own: OwnDataOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what each column of a table is and why, the target, the splits, and what to know before training.

    A table is CSV, TSV, JSON lines, Parquet, Arrow, a sheet (book.xlsx, book.xlsx#SHEET) or tar shards
    ('s-{000..099}.tar'); a folder holds several of one table, or images, sounds or videos whose sub-folder is the
    class, or what `datasets` saved; hub:NAME is what it has in its cache. Nothing is trained and nothing is changed.
    """
    found = OwnData.describe(own.options())
    if as_json:
        print_json(found.document())
    else:
        print(found.text(width()))
    if found.problems:
        raise UsageError(found.problems[0])
