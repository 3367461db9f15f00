"""`mmkit runs`: the runs of a folder, filtered and sorted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from mmkit.cli.results import print_json, print_lines, stdout
from mmkit.records.reading import read_suites
from mmkit.report.labels import plain
from mmkit.report.runs import absent, lines_of, listed_runs, piped
from mmkit.report.tables import put
from mmkit.titles import counted


def runs(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of a suite, or one of such folders.")],
    status: Annotated[str | None, typer.Option(help="List one status: ok, failed, or stopped (by a budget).")] = None,
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

    In a pipe lines are separated by tabs; the first has the titles, and the columns are always the same. The exit code
    is 0 whatever the runs came to.
    """
    suites = read_suites(folder)
    found = listed_runs(suites, status=status, where=where or [], sort=sort)
    for line in absent(suites, where or []):
        print(f"mmkit: --where: {line}", file=sys.stderr)
    if as_json:
        documents = [{"suite": one.suite, "record": one.record.document()} for one in found]
        print_json({"schema": 1, "runs": documents})
        return
    if sys.stdout.isatty():
        titles, lines, named = lines_of(found)
        print_lines([title.replace(" ", "\n", 1) if title not in named else title for title in titles], lines, named)
        console = stdout()
        for one in found:
            if error := " ".join((one.record.error or "").split()):
                put(Text(f"failed: {plain(one.record.fusion)}, seed {one.record.seed}: {plain(error)}", "red"), console)
    else:
        print_lines([], list(piped(found)), [])
    print(f"mmkit: {counted(len(found), 'run')}", file=sys.stderr)
