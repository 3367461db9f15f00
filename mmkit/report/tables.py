"""Tables of scores and costs, for a terminal, a notebook, or untruncated for a pipe."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mmkit.report.summary import Row, Spread
from mmkit.report.verdict import verdict, written

BESIDE = ("accuracy", "f1_macro", "recall_macro", "rmse", "mae", "r2", "rouge_l", "head_loss", "bleu", "exact_match")
"""Metrics that are shown beside the one that ranks, if the task has them, in order of preference."""
TITLES = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "recall_macro": "macro recall",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "exact_match": "exact match",
    "head_loss": "head's loss",
}


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the scores and the costs of combinations, failures, and the verdict."""
    varying = _varying(rows)
    completed = [row for row in rows if row.records]
    if completed:
        console.print(_scores(completed, varying, console))
        if any(row.speed for row in completed):
            console.print()
            console.print(_costs(completed, varying, console))
    for row in rows:
        for error, seeds in Counter(row.errors).items():
            several = f" ({seeds} seeds)" if seeds > 1 else ""
            console.print(f"failed: {' '.join(_names(row, varying))}{several}: {error}", style="red", markup=False)
    comparison = verdict(rows)
    if comparison:
        console.print()
        console.print(comparison.sentence(), markup=False, highlight=False)


def as_html(draw: Callable[[Console], None], width: int = 120) -> str:
    """What `draw` prints on a console, as HTML for a notebook."""
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    draw(console)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:normal">{code}</pre>')


def show_confusion(rows: Sequence[Row], console: Console) -> None:
    """Print the confusion matrix on test of the best combination on validation, summed over its seeds."""
    row = next((row for row in rows if row.records and row.records[0].confusion), None)
    console.print()
    if row is None:
        console.print("No confusion matrix: numbers, texts, and more than 100 classes have none.", markup=False)
        return
    names = row.records[0].names
    seeds = f"{len(row.records)} seed{'s' * (len(row.records) > 1)}"
    title = f"Confusion matrix of {row.fusion} on test, summed over {seeds}"
    matrices = [record.confusion or [] for record in row.records]
    if isinstance(matrices[0][0][0], list):  # labels have a matrix each
        title += ", one row per label"
        columns, size = ["true negatives", "false positives", "false negatives", "true positives"], 4
        lines = [[[*label[0], *label[1]] for label in matrix] for matrix in matrices]
    else:
        title += ": rows are true classes, columns are predicted classes"
        columns, size, lines = names, len(names), matrices
    table = _table(None, console)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for number, name in enumerate(names):
        table.add_row(name, *(str(sum(line[number][at] for line in lines)) for at in range(size)))
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _scores(rows: Sequence[Row], varying: Sequence[str], console: Console) -> Table:
    metric = rows[0].metric
    others = [name for name in BESIDE if name != metric and rows[0].spread(name)][:2]
    table = _table("Scores: mean ± standard deviation over seeds, best on validation first", console)
    for name in varying:
        table.add_column(name, no_wrap=not console.is_terminal, overflow="fold")
    table.add_column(f"validation\n{TITLES.get(metric, metric)}", justify="right", no_wrap=True)
    for name in (metric, *others):
        table.add_column(f"test\n{TITLES.get(name, name)}", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for row in rows:
        seeds = str(len(row.records)) + (f" of {len(row.records) + len(row.errors)}" if row.errors else "")
        table.add_row(
            *_names(row, varying),
            _spread(row.spread(metric, "validation"), metric),
            *[_spread(row.spread(name), name) for name in (metric, *others)],
            seeds,
        )
    return table


def _costs(rows: Sequence[Row], varying: Sequence[str], console: Console) -> Table:
    table = _table("Cost: speed from interleaved rounds, latency at batch 1, loading in training", console)
    for name in varying:
        table.add_column(name, no_wrap=not console.is_terminal, overflow="fold")
    speeds = ("inference\nsamples/s", "training\nsamples/s", "latency\np50 ms", "loading\nshare")
    for title in (*speeds, "parameters", "FLOPs\na sample", "peak\nmemory"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        speed, cost = row.speed, row.cost
        latency = speed.latency_ms.get("p50") if speed else None
        table.add_row(
            *_names(row, varying),
            _count(speed.inference_samples_per_s if speed else None),
            _count(speed.train_samples_per_s if speed else None),
            "-" if latency is None else f"{latency:.2f}",
            "-" if row.loading is None else f"{100 * row.loading:.1f} %",
            _count(cost.parameters if cost else None),
            _count(cost.flops_per_sample if cost else None),
            _bytes(cost.peak_memory_bytes if cost else None),
        )
    return table


def _table(title: str | None, console: Console) -> Table:
    if console.is_terminal:
        return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    return Table(title=title, title_justify="left", box=None, padding=(0, 2), pad_edge=False)


def _varying(rows: Sequence[Row]) -> list[str]:
    """The columns that identify a row: the fusion, and encoders and head if they vary."""
    fused = [row for row in rows if not row.alone] or rows
    names = ["fusion"]
    names += [
        f"encoder of {name}"
        for name in sorted({name for row in rows for name in row.encoders})
        if len({row.encoders[name] for row in rows if name in row.encoders}) > 1
    ]
    return names + (["head"] if len({row.head for row in fused}) > 1 else [])


def _names(row: Row, varying: Sequence[str]) -> list[str]:
    def one(axis: str) -> str:
        if axis == "fusion":
            return row.fusion
        return row.head if axis == "head" else row.encoders.get(axis.removeprefix("encoder of "), "-")

    return [one(axis) for axis in varying]


def _spread(spread: Spread | None, metric: str) -> str:
    if spread is None:
        return "-"
    mean = written(spread.mean, metric)
    return mean if spread.std is None else f"{mean} ± {written(spread.std, metric)}"


def _count(value: float | None) -> str:
    if value is None:
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"
