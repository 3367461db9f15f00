"""`mmkit bench --dry-run`: show the plan, try each combination on a few samples, and write nothing."""

from __future__ import annotations

import sys
import time
import traceback
from contextlib import redirect_stdout

from mmkit.cli.results import print_json, print_lines
from mmkit.data.splits import splits_of
from mmkit.experiments.dry_run import DryRun, dry_run
from mmkit.experiments.forecast import Estimate, forecast_of
from mmkit.experiments.means import asked_of
from mmkit.experiments.outlook import Outlook, means_of, outlook_of
from mmkit.experiments.parts import Part
from mmkit.experiments.plan import Plan, one_line
from mmkit.experiments.protocol import counted, rounds
from mmkit.experiments.search import Searched, search_runs
from mmkit.experiments.suite import check_executor, refuses_unseen
from mmkit.experiments.task_checks import check_task
from mmkit.features.sharing import Shared
from mmkit.records.verdicts import Terms
from mmkit.registry.catalog import Catalog
from mmkit.report.labels import plain
from mmkit.system.bars import Bars
from mmkit.system.executors.jobs import Executor, closed


def show_dry_run(
    planned: Plan, catalog: Catalog, executor: Executor, *, cost: bool, as_json: bool, tracebacks: bool = False
) -> int:
    """Print the plan with the size of each combination, or the error if it cannot be built, and how long it will take.

    Args:
        planned: the plan.
        catalog: where modalities are looked up.
        executor: would do the runs; it is started, as that takes time that counts, and closed.
        cost: whether costs would be measured.
        as_json: print one JSON document.
        tracebacks: print those of errors.

    Returns:
        The exit code: 0 without errors, that of the errors if all have the same, else 1.

    Raises:
        UsageError: a budget with several runs at once, or one that is too small.
    """
    check_executor(planned, executor)
    began = time.monotonic()
    told = ""
    with redirect_stdout(sys.stderr), Bars() as progress:  # what components print
        with closed(executor):
            if executor.workers > 1:
                progress.stage(f"{executor.workers} workers start")
            start = executor.start()
        parts = [Part(one, splits_of(one.task, catalog, one.settings), Searched()) for one in planned.parts]
        splits, shared = parts[0].splits, Shared(progress=progress)
        for line in check_task(splits, refuse_unseen=refuses_unseen(planned)):
            progress.note(line)
        results = dry_run(planned.all, splits, planned.settings, shared, training=planned.training, truths=["train"])
        buildable = {one.combination.key: one.combination for one in results if not one.error}
        states = [part.state({}, Terms()) for part in parts]
        forecast = None
        if buildable:
            forecast = forecast_of(
                parts, buildable, states, shared, cost=cost, detailed=cost, workers=executor.workers, start=start
            )
            told = forecast.of_workers()
        estimate = forecast.estimate() if forecast else None
        outlook = None
        if forecast and planned.budget is not None:
            able = planned.without({one.combination.key: one.error for one in results if one.error})
            setup = time.monotonic() - began + forecast.costs
            outlook = outlook_of(able, means_of(able, asked_of(planned), forecast, setup=setup))
    if told and not as_json:
        print(f"mmkit: {told}", file=sys.stderr)
    for one in results:
        if one.error and tracebacks:
            traceback.print_exception(one.error)
    (_print_json if as_json else _print)(planned, results, outlook or estimate)
    possible = any(one.error is None for one in results)
    codes = {
        getattr(one.error, "exit_code", 1)
        for one in results
        if one.error and not (possible and one.combination.key in planned.optional)
    }
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _print(planned: Plan, results: list[DryRun], estimate: Estimate | Outlook | None) -> None:
    out = {one.combination.key: one.error for one in results if one.error}
    able = planned.without(out) if len(out) < len(results) else planned
    objectives = any(one.combination.objectives for one in results)
    labels = [
        [
            one.combination.label,
            " ".join(f"{name}={choice}" for name, choice in one.combination.encoders.items()),
            str(one.combination.head),
            *([", ".join(map(str, one.combination.objectives)) or "-"] if objectives else []),
        ]
        for one in results
    ]
    errors = [_error(one, left=one.combination.key in planned.optional and able is not planned) for one in results]
    named = ("fusion", "encoders", "head", *(("objectives",) if objectives else ()))
    if sys.stdout.isatty():
        sizes = [["-", "-"] if one.error else [f"{one.parameters:,}", f"{one.trainable:,}"] for one in results]
        lines = [[*label, *size] for label, size in zip(labels, sizes, strict=True)]
        print_lines((*named, "parameters", "trained"), lines, named)
        for label, one, error in zip(labels, results, errors, strict=True):
            if error or one.chosen:
                print(plain(f"{'  '.join(label)}: {error or _chosen(one).removeprefix(', ')}"))
    else:
        told = [
            error or f"{one.parameters:,} parameters, {one.trainable:,} of them trained{_chosen(one)}"
            for one, error in zip(results, errors, strict=True)
        ]
        print_lines((*named, "size"), [[*label, text] for label, text in zip(labels, told, strict=True)], named)
    print(f"{_counted(able)} on task {able.task}, {able.settings.device}, {able.settings.precision}")
    least, most = search_runs(able)
    if least and able.budget is None:
        rates = ", ".join(f"{rate:g}" for rate in able.rates)
        number = f"{least}" if least == most else f"{least} to {most}"
        print(f"before them {number} search runs, which choose a learning rate of {rates} on validation")
    if estimate:
        print(estimate.sentence())


def _print_json(planned: Plan, results: list[DryRun], estimate: Estimate | Outlook | None) -> None:
    out = {one.combination.key: one.error for one in results if one.error}
    able = planned.without(out) if len(out) < len(results) else planned
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
    race = rounds(len(able.combinations)) if able.budget is None else []
    document = {
        "schema": 1,
        "count": counted(able, promoted=bool(able.rates)),
        "protocol": {
            "name": able.protocol,
            "race": race,
            "seeds": able.seeds,
            "budget": able.budget,
            "search_options": able.search_options,
        },
        "search": {"rates": list(able.rates), "least": least, "most": most},
        "seconds": estimate.document() if estimate else None,
        "left_out": [list(pair) for pair in able.left_out],
        "runs": [run.document() for run in able.runs()],
        "combinations": combinations,
    }
    print_json(document)


def _counted(able: Plan) -> str:
    """The runs of a plan in words, and how many they are."""
    fusions, singles, seeds = len(able.combinations), len(able.baselines), able.seeds
    count = counted(able, promoted=bool(able.rates))
    confirmed = " and ".join(
        [
            *(["the one that is best on validation" if fusions > 1 else "1 fusion"] if fusions else []),
            *([f"{singles} input{'s' * (singles > 1)} alone"] if singles else []),
        ]
    )
    confirm = f"{confirmed} x {seeds} fresh seed{'s' * (seeds > 1)}"
    folds = f" in each of {len(able.folds)} folds" if able.folds else ""
    more = (
        ", and up to 10 seeds where they tell more" if able.protocol == "full" and not able.folds and seeds > 1 else ""
    )
    if able.budget is not None:
        what = (
            f"for the options of {fusions + singles} combinations"
            if able.search_options
            else f"among {fusions} fusions"
        )
        search = f"a search {what} within the budget, then " if fusions else ""
        return f"{search}{confirm}: {count} run{'s' * (count > 1)} beside the search{more}"
    race = f"a race of {fusions} fusions on validation, then " if fusions > 1 else ""
    return f"{race}{confirm}{folds}: {count} run{'s' * (count > 1)}{more}"


def _error(one: DryRun, *, left: bool) -> str:
    """The error in one line, and whether its combination is left out; empty if there is none."""
    return f"{'left out: ' if left else ''}{one_line(one.error)}" if one.error else ""


def _chosen(one: DryRun) -> str:
    """What components chose for themselves, as the end of a line."""
    parts = (f"{part}.{name}={value}" for part, chosen in one.chosen.items() for name, value in chosen.items())
    return "".join(f", {part} chosen" for part in parts)
