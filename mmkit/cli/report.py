"""`mmkit report`: the answer of a suite as a page to send to a colleague."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmkit.cli.results import print_json
from mmkit.errors import UsageError
from mmkit.report.document import document
from mmkit.report.forms import csv_of, markdown_of
from mmkit.report.page.folder import Folder
from mmkit.report.page.page import page
from mmkit.system.files import at_home, write_text

ENDS = {".html": "", ".htm": "", ".md": "--markdown", ".csv": "--csv", ".json": "--json"}
"""Endings of files, and the option that writes such a file."""


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a suite, as bench --out names it.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write. [DIR/report.html; other forms are printed]"),
    ] = None,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables and sentences as Markdown.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV, with every figure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The document of bench --json.")] = False,
) -> None:
    """Write the answer of a suite as one HTML file, which asks for no other file and can be sent by mail.

    The folder alone is read: no data, no model. `mmkit bench --with-samples` keeps the worst errors with their samples
    for it.
    """
    asked = [name for name, given in (("--markdown", markdown), ("--csv", as_csv), ("--json", as_json)) if given]
    if len(asked) > 1:
        raise UsageError(f"one form at a time; got {' and '.join(asked)}")
    form = asked[0] if asked else ""
    if out is not None and ENDS.get(out.suffix.lower(), form) != form:
        wanted = ENDS[out.suffix.lower()]
        raise UsageError(f"{out} ends in {out.suffix}, and {form or 'a page'} is asked for; {_instead(wanted)}")
    folder = at_home(directory)
    if not form:
        text, path = page(folder), folder / "report.html" if out is None else at_home(out)
        _write(path, text)
        print(path)
        return
    found = Folder.read(folder)
    if form == "--json":
        told = document(found.records, str(folder), found.terms)
        if out is None:
            print_json(told)
            return
        text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = csv_of(found.rows) if form == "--csv" else markdown_of(found.rows, found.terms)
    if out is None:
        print(text, end="")
    else:
        _write(at_home(out), text)


def _instead(wanted: str) -> str:
    return f"add {wanted}" if wanted else "leave the form out, or name another file"


def _write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}; choose another file with --out") from error
