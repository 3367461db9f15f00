"""`mmkit explain`: what each input gave to the answer to a row, and which parts of it."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from mmkit.cli.process import prepare
from mmkit.cli.results import print_json
from mmkit.cli.saved_model import Decimal, Device, Files, Folder, Outside, Rows, Threads, folder_of, load
from mmkit.cli.setting import catalog
from mmkit.errors import UsageError
from mmkit.explain.explaining import explain_rows
from mmkit.explain.page import page
from mmkit.explain.terminal import lines
from mmkit.model.description import unchanged
from mmkit.sharing.names import title_of
from mmkit.sources.streaming import stream_of
from mmkit.system.files import at_home, replacing, utf8

MOST = 100
"""Rows of one page."""


def explain(
    ctx: typer.Context,
    model: Folder,
    data: Rows,
    row: Annotated[
        list[str],
        typer.Option(
            "--row",
            "--rows",
            metavar="N",
            help="Row to explain, from 0: 7, or 3,7 or 10-12; repeatable.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Class, label or number to explain. [the predicted one]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Page to write: .html.")] = None,
    inside: Annotated[
        bool, typer.Option("--inside/--no-inside", help="Look into the inputs, too; needs captum.")
    ] = True,
    on_error: Annotated[str, typer.Option(help="If a value cannot be used: fail, or missing (the value).")] = "fail",
    device: Device = "auto",
    threads: Threads = None,
    files: Files = None,
    outside: Outside = False,
    decimal: Decimal = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Explain the answer of a saved model to a row: what each input gave to it, and which parts of each.

    Contributions of inputs are Shapley values; a part is a word, a place of a picture, a stretch of a signal, or a
    column. It says what the model did, not what is true.
    """  # fmt: skip
    numbers = numbers_of(row)
    out = None if out is None else at_home(out)
    _check_out(out, force=force)
    prepare(threads)
    installed = catalog(ctx)
    model = folder_of(model)
    with unchanged(at_home(model)) as digest:
        loaded = load(model, installed, device)
    stream = stream_of(data, installed, files=files, outside=outside)
    with redirect_stdout(sys.stderr):
        found = list(
            explain_rows(
                loaded,
                stream,
                numbers,
                output=name,
                parts=inside,
                on_error=on_error,  # type: ignore[arg-type]  # checked there
                decimal=decimal,
            )
        )
    if as_json:
        about = {"model": str(model), "digest": digest, "data": stream.name}
        print_json({**about, "explanations": [one.document() for one in found]})
    else:
        print("\n\n".join("\n".join(lines(one)) for one in found))
    if out is not None:
        text = page(found, f"Why {title_of(at_home(model))} says so")
        try:
            with replacing(out) as (fresh,):
                fresh.write_bytes(utf8(text))
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}; give another file with --out") from error
        print(f"mmkit: {out} has it as a page ({len(text) / 1000:,.0f} kB)", file=sys.stderr)


def numbers_of(given: list[str]) -> list[int]:
    """The rows that are asked for, in order.

    >>> numbers_of(["7", "3,10-12"])
    [3, 7, 10, 11, 12]

    Raises:
        UsageError: that is no number and no range, or there are more than fit on a page.
    """
    found: set[int] = set()
    for part in (one.strip() for text in given for one in text.split(",")):
        match = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if match is None or last < first:
            raise UsageError(f"--row is a number from 0, a list or a range, as in 7 or 3,7 or 10-12; got {part!r}")
        if last - first >= MOST or len(found | set(range(first, last + 1))) > MOST:
            raise UsageError(f"--row asks for more than {MOST} rows; explain fewer at once")
        found |= set(range(first, last + 1))
    return sorted(found)


def _check_out(out: Path | None, *, force: bool) -> None:
    """Check before anything is computed that the page can be written.

    Raises:
        UsageError: it cannot.
    """
    if out is None:
        return
    if out.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"--out is a page, FILE.html; got {out}; data is printed by --json")
    if out.exists() and not force:
        raise UsageError(f"{out} exists; give --force to replace it, or another file")
    if not out.parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.parent}; make it, or give another file")
