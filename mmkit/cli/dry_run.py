"""`mmkit bench --dry-run`: show the plan, try each combination on a few samples, and write nothing."""

from __future__ import annotations

import sys
import traceback
from contextlib import redirect_stdout

from mmkit.cli.results import print_json, print_lines
from mmkit.data.splits import splits_of
from mmkit.experiments.dry_run import DryRun, dry_run
from mmkit.experiments.plan import Plan
from mmkit.experiments.suite import refuses_unseen
from mmkit.experiments.task_checks import check_task
from mmkit.registry.catalog import Catalog
from mmkit.report.labels import plain


def show_dry_run(planned: Plan, catalog: Catalog, *, as_json: bool, tracebacks: bool = False) -> int:
    """Print the plan with the size of each combination, or the error if it cannot be built.

    Returns:
        The exit code: 0 without errors, that of the errors if all have the same, else 1.
    """
    with redirect_stdout(sys.stderr):  # what components print
        splits = splits_of(planned.task, catalog, planned.settings)
        for line in check_task(splits, refuse_unseen=refuses_unseen(planned)):
            print(f"mmkit: {line}")
        results = dry_run(planned.all, splits, planned.settings, truths=["train"])
    for one in results:
        if one.error and tracebacks:
            traceback.print_exception(one.error)
    (_print_json if as_json else _print)(planned, results)
    codes = {getattr(one.error, "exit_code", 1) for one in results if one.error}
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _print(planned: Plan, results: list[DryRun]) -> None:
    labels = [
        [
            one.combination.label,
            " ".join(f"{name}={choice}" for name, choice in one.combination.encoders.items()),
            str(one.combination.head),
        ]
        for one in results
    ]
    named = ("fusion", "encoders", "head")
    if sys.stdout.isatty():
        sizes = [["-", "-"] if one.error else [f"{one.parameters:,}", f"{one.trainable:,}"] for one in results]
        lines = [[*label, *size] for label, size in zip(labels, sizes, strict=True)]
        print_lines((*named, "parameters", "trained"), lines, named)
        for label, one in zip(labels, results, strict=True):
            if one.error:
                print(plain(f"{'  '.join(label)}: {_error(one)}"))
    else:
        told = [_error(one) or f"{one.parameters:,} parameters, {one.trainable:,} of them trained" for one in results]
        print_lines((*named, "size"), [[*label, text] for label, text in zip(labels, told, strict=True)], named)
    runs = len(planned.runs())
    count = f"{len(planned.all)} combinations x {len(planned.seeds)} seeds = {runs} runs"
    print(f"{count} on task {planned.task}, {planned.settings.device}, {planned.settings.precision}")


def _print_json(planned: Plan, results: list[DryRun]) -> None:
    runs = [run.document() for run in planned.runs()]
    combinations = [
        {
            **one.combination.document(),
            "parameters": one.parameters,
            "trainable_parameters": one.trainable,
            "error": _error(one) or None,
        }
        for one in results
    ]
    print_json({"schema": 1, "count": len(runs), "runs": runs, "combinations": combinations})


def _error(one: DryRun) -> str:
    """The error in one line; empty if there is none."""
    return " ".join(f"{type(one.error).__name__}: {one.error}".split()) if one.error else ""
