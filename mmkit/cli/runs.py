"""`mmkit runs`: the runs of a folder, filtered and sorted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from mmkit.cli.results import print_json, print_lines, stdout
from mmkit.records.reading import read_suites
from mmkit.report.labels import plain
from mmkit.report.runs import lines_of, listed_runs
from mmkit.report.tables import put
from mmkit.titles import counted


def runs(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of a suite, or one of such folders.")],
    status: Annotated[str | None, typer.Option(help="List one status: ok or failed.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field of the record, as fusion=late or train.lr=0.002; repeatable."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Best first: a metric on test, validation.METRIC, or seconds."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the runs of a folder: those that are compared, those of searches, and yardsticks.

    In a pipe a line is separated by tabs, and has the error of a failed run at its end. The exit code is 0 whatever the
    runs came to.
    """
    found = listed_runs(read_suites(folder), status=status, where=where or [], sort=sort)
    if as_json:
        documents = [{"suite": one.suite, "record": one.record.document()} for one in found]
        print_json({"schema": 1, "runs": documents})
        return
    titles, lines, named = lines_of(found)
    errors = [" ".join((one.record.error or "").split()) for one in found]
    if not sys.stdout.isatty():
        lines = [[*line, error] for line, error in zip(lines, errors, strict=True)]
    titles = [title.replace(" ", "\n", 1) if title not in named else title for title in titles]
    print_lines(titles, lines, named)
    if sys.stdout.isatty():
        console = stdout()
        for one, error in zip(found, errors, strict=True):
            if error:
                put(Text(f"failed: {plain(one.record.fusion)}, seed {one.record.seed}: {plain(error)}", "red"), console)
    print(f"mmkit: {counted(len(found), 'run')}", file=sys.stderr)
