"""The table of a page: a cell has a text, and a number to sort by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmkit.report.page.measured import Measured, pareto
from mmkit.report.sheet import bytes_of, count_of, spread_of
from mmkit.report.sheets import BESIDE
from mmkit.report.summary import Row, by_which, tied
from mmkit.report.values import is_share, written
from mmkit.titles import title_of


@dataclass(frozen=True)
class Cell:
    """One figure.

    Args:
        text: as it is shown.
        value: by which rows are sorted; None where there is none.
        low: of its interval, or empty.
        high: likewise.
    """

    text: str
    value: float | None = None
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Column:
    """A column of figures.

    Args:
        key: its name in the page.
        title: above it.
        unit: below that.
        lower: whether less is better.
    """

    key: str
    title: str
    unit: str = ""
    lower: bool = False


@dataclass(frozen=True)
class Line:
    """A row.

    Args:
        one: what was measured.
        kind: of row.
        cells: one a column.
        details: encoders, head and objectives that differ between rows, as name and value.
        front: whether it is on the Pareto front.
        first: whether it is best on validation.
    """

    one: Measured
    kind: Literal["fusion", "single input", "yardstick", "blend"]
    cells: list[Cell]
    details: list[tuple[str, str]]
    front: bool
    first: bool


@dataclass(frozen=True)
class Table:
    """The table of all rows that have a completed run.

    Args:
        columns: of figures.
        lines: the best on validation first.
        order: by which metric on validation.
    """

    columns: list[Column]
    lines: list[Line]
    order: str


def table_of(found: Sequence[Measured]) -> Table:
    """The table; a column that would be empty is left out."""
    rows = [one.row for one in found]
    metric = found[0].row.metric
    by = by_which(rows).metric or metric
    lower = not found[0].row.higher_is_better
    on_validation = list(dict.fromkeys((metric, by)))
    beside = [name for name in BESIDE if name != metric and any(row.spread(name) for row in rows)][
        : 1 if by != metric else 2
    ]
    columns = [Column("test", f"{title_of(metric)} on test", _unit(metric), lower)]
    columns += [Column(f"test-{name}", title_of(name), f"test{_comma(name)}", _lower(name)) for name in beside]
    columns += [
        Column(f"validation-{name}", title_of(name), f"validation{_comma(name)}", lower if name == metric else True)
        for name in on_validation
    ]
    columns += [
        Column("time", "Time", "ms a sample", lower=True),
        Column("latency", "Latency", "ms, one sample", lower=True),
        Column("training", "Training", "samples/s"),
        Column("parameters", "Parameters", "", lower=True),
        Column("flops", "FLOPs", "a sample", lower=True),
        Column("memory", "Memory", "peak", lower=True),
        Column("rate", "Rate", "learning", lower=True),
        Column("seeds", "Seeds"),
    ]
    cells = [_cells(one, beside, on_validation) for one in found]
    used = [at for at in range(len(columns)) if any(line[at].value is not None for line in cells)]
    front, top = [one.number for one in pareto(_ours(found))], [id(row) for row in tied(rows)]
    every = {detail for one in _ours(found) for detail in details_of(one.row)}
    names = [name for name, _ in every]
    lines = [
        Line(
            one,
            _kind(one.row),
            [line[at] for at in used],
            [detail for detail in details_of(one.row) if names.count(detail[0]) > 1],
            one.number in front,
            id(one.row) in top,
        )
        for one, line in zip(found, cells, strict=True)
    ]
    return Table([columns[at] for at in used], lines, title_of(by))


def _ours(found: Sequence[Measured]) -> list[Measured]:
    return [one for one in found if not one.row.yardstick]


def _kind(row: Row) -> Literal["fusion", "single input", "yardstick", "blend"]:
    if row.blend:
        return "blend"
    if row.yardstick:
        return "yardstick"
    return "single input" if row.alone else "fusion"


def _unit(metric: str) -> str:
    return "%" if is_share(metric) else ""


def _comma(metric: str) -> str:
    return ", %" if is_share(metric) else ""


def _lower(metric: str) -> bool:
    return metric in {"log_loss", "mae", "rmse", "head_loss"}


def _cells(one: Measured, beside: Sequence[str], on_validation: Sequence[str]) -> list[Cell]:
    row, metric = one.row, one.row.metric
    low, high = [written(end, metric) for end in sorted(one.interval)] if one.interval else ("", "")
    cells = [Cell(spread_of(row.spread(metric), metric), one.score, low, high)]
    for name in beside:
        spread = row.spread(name)
        cells.append(Cell(spread_of(spread, name), spread.mean if spread else None))
    for name in on_validation:
        spread = row.spread(name, "validation")
        cells.append(Cell(spread_of(spread, name), spread.mean if spread else None))
    speed, cost = row.speed, row.cost
    latency = speed.latency_ms.get("p50") if speed else None
    training = speed.train_samples_per_s if speed else None
    cells += [
        Cell(_number(one.milliseconds), one.milliseconds),
        Cell(_number(latency), latency),
        Cell(count_of(training), training),
        Cell(count_of(cost.parameters if cost else None), cost.parameters if cost else None),
        Cell(count_of(cost.flops_per_sample if cost else None), cost.flops_per_sample if cost else None),
        Cell(bytes_of(cost.peak_memory_bytes if cost else None), cost.peak_memory_bytes if cost else None),
        Cell("/".join(f"{rate:g}" for rate in row.rates) or "-", row.rates[0] if row.rates else None),
    ]
    seeds = f"{len(row.records)} of {len(row.records) + len(row.errors)}" if row.errors else str(len(row.records))
    return [*cells, Cell("-" if row.yardstick else seeds, None if row.yardstick else len(row.records))]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def details_of(row: Row) -> list[tuple[str, str]]:
    """Encoders, head and objectives of a row, as name and value."""
    found = list(row.encoders.items())
    found += [("head", row.head)] if row.head else []
    return found + ([("objectives", ", ".join(row.objectives))] if row.objectives else [])
