"""`mmkit compare`: what has changed between two suites on the same data."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from mmkit.cli.results import print_json, stdout
from mmkit.records.reading import read_suites
from mmkit.report.compare import SuiteComparison
from mmkit.report.compare import compare as compare_suites
from mmkit.report.tables import drawn, put


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="What was: the folder of a suite, or a folder of such folders.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What is: the same.")],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help='Limit of a change, as "time>5%" or "accuracy<-1"; repeatable.'),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Metric to compare beside the one that ranks; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two suites on the same data, combination by combination and seed by seed.

    A condition is a metric, time (of a prediction), train_time, parameters or flops; then < or >; then points for
    shares, units for other metrics, and percent for the rest. Exit code: 1 if the change surely goes beyond a limit, 5
    if that cannot be told, 0 else. Without conditions it is 0.
    """
    of_a, of_b = (read_suites(side, newest_last=True) for side in (a, b))
    found = compare_suites(of_a, of_b, (a, b), fail_if=fail_if or [], metrics=metric or [])
    if as_json:
        print_json(found.document())
    else:
        _show(found)
    raise typer.Exit(found.exit_code)


def _show(found: SuiteComparison) -> None:
    console = stdout()
    for sheet in found.sheets():
        for text in drawn([sheet], console):
            put(text, console)
        console.print()
    for line in found.lines():
        put(Text(line), console)
    put(Text(f"{chr(10) if found.lines() else ''}{found.sentence}"), console)
