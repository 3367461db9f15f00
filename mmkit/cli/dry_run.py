"""`mmkit bench --dry-run`: show the plan, try each combination on a few samples, and write nothing."""

from __future__ import annotations

import json

from mmkit.data.splits import splits_of
from mmkit.experiments.dry_run import DryRun, dry_run
from mmkit.experiments.plan import Plan
from mmkit.registry.catalog import Catalog


def show_dry_run(planned: Plan, catalog: Catalog, *, as_json: bool) -> int:
    """Print the plan with the size of each combination, or the error if it cannot be built.

    Returns:
        The exit code: 0 without errors, that of the errors if all have the same, else 1.
    """
    splits = splits_of(planned.task, catalog, planned.settings)
    results = dry_run(planned.all, splits, planned.settings, truths=["train"])
    (_print_json if as_json else _print)(planned, results)
    codes = {getattr(one.error, "exit_code", 1) for one in results if one.error}
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _print(planned: Plan, results: list[DryRun]) -> None:
    for one in results:
        encoders = " ".join(f"{name}={choice}" for name, choice in one.combination.encoders.items())
        size = f"{one.parameters:,} parameters, {one.trainable:,} of them trained"
        print("\t".join([one.combination.label, encoders, str(one.combination.head), _error(one) or size]))
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
    print(json.dumps({"schema": 1, "count": len(runs), "runs": runs, "combinations": combinations}, indent=1))


def _error(one: DryRun) -> str:
    """The error in one line; empty if there is none."""
    return " ".join(f"{type(one.error).__name__}: {one.error}".split()) if one.error else ""
