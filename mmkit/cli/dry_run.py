"""`mmkit bench --dry-run`: show the plan, try each combination on a few samples, and write nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from mmkit.data.splits import splits_of
from mmkit.experiments.dry_run import ENOUGH, DryRun, dry_run
from mmkit.experiments.plan import Plan, one_line
from mmkit.experiments.search import search_runs
from mmkit.registry.catalog import Catalog


def show_dry_run(planned: Plan, catalog: Catalog, *, as_json: bool) -> int:
    """Print the plan with the size of each combination, or the error if it cannot be built.

    Returns:
        The exit code: 0 without errors, that of the errors if all have the same, else 1.
    """
    settings = replace(planned.settings, limit=min(planned.settings.limit or ENOUGH, ENOUGH))
    results = dry_run(planned.all, splits_of(planned.task, catalog, settings), settings, truths=["train"])
    (_print_json if as_json else _print)(planned, results)
    possible = any(one.error is None for one in results)
    codes = {
        getattr(one.error, "exit_code", 1)
        for one in results
        if one.error and not (possible and one.combination.key in planned.optional)
    }
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _print(planned: Plan, results: list[DryRun]) -> None:
    out = {one.combination.key: one.error for one in results if one.error}
    able = planned.without(out) if len(out) < len(results) else planned
    for one in results:
        encoders = " ".join(f"{name}={choice}" for name, choice in one.combination.encoders.items())
        size = f"{one.parameters:,} parameters, {one.trainable:,} of them trained{_chosen(one)}"
        left = "left out: " if one.error and one.combination.key in planned.optional and able is not planned else ""
        line = [
            one.combination.label,
            encoders,
            str(one.combination.head),
            left + one_line(one.error) if one.error else size,
        ]
        print("\t".join(line))
    count = f"{len(able.all)} combinations x {len(able.seeds)} seeds = {len(able.runs())} runs"
    print(f"{count} on task {able.task}, {able.settings.device}, {able.settings.precision}")
    least, most = search_runs(able)
    if least:
        rates = ", ".join(f"{rate:g}" for rate in able.rates)
        number = f"{least}" if least == most else f"{least} to {most}"
        print(f"before them {number} search runs, which choose a learning rate of {rates} on validation")


def _print_json(planned: Plan, results: list[DryRun]) -> None:
    out = {one.combination.key: one.error for one in results if one.error}
    able = planned.without(out) if len(out) < len(results) else planned
    runs = [run.document() for run in able.runs()]
    combinations = [
        {
            **one.combination.document(),
            "parameters": one.parameters,
            "trainable_parameters": one.trainable,
            "chosen": one.chosen,
            "error": one_line(one.error) if one.error else None,
        }
        for one in results
    ]
    least, most = search_runs(able)
    document = {
        "schema": 1,
        "count": len(runs),
        "search": {"rates": list(able.rates), "least": least, "most": most},
        "left_out": [list(pair) for pair in able.left_out],
        "runs": runs,
        "combinations": combinations,
    }
    print(json.dumps(document, indent=1))


def _chosen(one: DryRun) -> str:
    """What components chose for themselves, as the end of a line."""
    parts = (f"{part}.{name}={value}" for part, chosen in one.chosen.items() for name, value in chosen.items())
    return "".join(f", {part} chosen" for part in parts)
