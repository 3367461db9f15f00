"""`mmkit plugins new`: a plugin to begin from."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmkit.cli.setting import catalog
from mmkit.scaffold.distribution import SKETCHES, parts_of, rendered, taken, write
from mmkit.system.files import at_home


def new(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(SKETCHES)}.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the component and its distribution: lower-case-words.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write it; empty or new. [./NAME]")] = None,
) -> None:
    """Write a plugin as a whole distribution: it installs, keeps the contract, has tests, and can be benched at once.

    What it holds works as it is; make it yours step by step, with `mmkit plugins check DIR` beside you.
    """
    found = catalog(ctx)
    files = rendered(kind, name, found)
    folder = Path(name) if out is None else at_home(out)
    write(files, folder)
    for part, of in parts_of(kind, name).items():
        if owner := taken(found, part, of):
            print(f"mmkit: {owner} has a {part} {of}, too; yours is chosen as {name}/{of}", file=sys.stderr)
    where = shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")  # pip takes a bare word for a name
    for path in sorted(files):
        print(f"{folder}/{path}")
    print(f"\nNext:\n  mmkit plugins check {where}\n  pip install -e {where}\n  {_bench(files['README.md'])}")


def _bench(readme: str) -> str:
    """The command of the page that compares the new component."""
    return next(line for line in readme.splitlines() if line.startswith("mmkit bench "))
