"""The summary of records: one row per combination, over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mmkit.records.choice import Criterion, criterion, level
from mmkit.records.folds import joined, key_of
from mmkit.records.record import Cost, Record, Speed

Cell = str | int | float | None
"""A plain value of a table."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a metric over seeds.

    Args:
        mean: over seeds.
        std: standard deviation over seeds; None with one seed.
    """

    mean: float
    std: float | None


@dataclass(frozen=True, repr=False)
class Row:
    """One combination over its seeds.

    Args:
        encoders: by input.
        fusion: with its options, or `only:INPUT`; and the balance method, as in "concat + ogm".
        head: with its options.
        objectives: with their options.
        records: of the completed runs that its figures are of, one a seed; of folds they are joined. They are the
            confirmed ones; where there are none, those by which a fusion was chosen on validation.
        errors: of the runs that failed.
        yardstick: whether it is no combination, but what a user could do without mmkit, or a blend.
        blend: whether it is a blend of several models.
        trainings: the records of all completed runs: one a seed, or one a seed and fold.
        searched: of the completed runs by which a fusion was chosen on validation, one a seed; of folds, joined.
        stopped: of the trainings that a budget has stopped before their end, the longest first.
    """

    encoders: Mapping[str, str]
    fusion: str
    head: str
    objectives: tuple[str, ...]
    records: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    yardstick: bool = False
    trainings: list[Record] = field(default_factory=list)
    searched: list[Record] = field(default_factory=list)
    stopped: list[Record] = field(default_factory=list)
    blend: bool = False

    def __repr__(self) -> str:
        score = self.spread(self.metric)
        return f"<Row {self.fusion}: " + (f"{self.metric} {score.mean:.4g} on test>" if score else "no score>")

    @property
    def alone(self) -> bool:
        """Whether it is a single-input baseline."""
        return self.fusion.startswith("only:")

    @property
    def confirmed(self) -> bool:
        """Whether its figures are of fresh seeds, by which nothing was chosen; of a yardstick they are not."""
        return bool(self.records) and all(record.phase != "search" for record in self.records)

    @property
    def tested(self) -> bool:
        """Whether it was measured on test."""
        return any(record.metrics for record in self.records)

    @property
    def metric(self) -> str:
        """The metric that ranks combinations; empty if every seed failed."""
        return self.records[0].metric if self.records else ""

    @property
    def higher_is_better(self) -> bool:
        """Whether a greater value of `metric` is better."""
        return not self.records or self.records[0].higher_is_better

    def spread(self, metric: str, of: Literal["metrics", "validation"] = "metrics") -> Spread | None:
        """A metric over seeds, on test ("metrics") or on "validation"; None if it is not defined for every seed."""
        of_seeds = [getattr(record, of).get(metric) for record in self.records]
        values = [value for value in of_seeds if value is not None]
        if not values or len(values) < len(of_seeds):
            return None
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    @property
    def speed(self) -> Speed | None:
        """The speed, which does not depend on the seed; None if not measured."""
        return next((record.throughput for record in self.trainings if record.throughput), None)

    @property
    def cost(self) -> Cost | None:
        """The cost, which does not depend on the seed; the number of parameters only if costs were not measured."""
        costs = [record.cost for record in self.trainings if record.cost]
        measured = (cost for cost in costs if cost.trainable_parameters is not None)
        return next(measured, costs[0] if costs else None)

    def flat(self) -> dict[str, Cell]:
        """The row as plain values by column: names, mean and standard deviation of each metric, speed and cost."""
        row: dict[str, Cell] = {"fusion": self.fusion}
        row |= {f"encoder {name}": encoder for name, encoder in self.encoders.items()}
        row |= {"head": self.head, "objectives": ", ".join(self.objectives) or None, "seeds": len(self.records)}
        row["confirmed"] = self.confirmed
        of: Literal["metrics", "validation"]
        for of, title in (("validation", "validation"), ("metrics", "test")):
            for metric in getattr(self.records[0], of) if self.records else ():
                spread = self.spread(metric, of)
                row[f"{title} {metric}"] = spread.mean if spread else None
                row[f"{title} {metric} std"] = spread.std if spread else None
        if self.speed:
            row["inference samples/s"] = self.speed.inference_samples_per_s
            row["training samples/s"] = self.speed.train_samples_per_s
            row["latency p50 ms"] = self.speed.latency_ms.get("p50")
        if self.cost:
            row |= {"parameters": self.cost.parameters, "FLOPs a sample": self.cost.flops_per_sample}
            row["peak memory bytes"] = self.cost.peak_memory_bytes
        if self.rates:
            row["learning rate"] = self.rates[0]
        if self.yardstick:
            row["blend" if self.blend else "yardstick"] = True
        if self.stopped and not self.records:
            row["stopped after epochs"] = self.stopped[0].rung.epochs if self.stopped[0].rung else None
        return row | {"failed seeds": len(self.errors), "error": "; ".join(dict.fromkeys(self.errors)) or None}

    @property
    def rates(self) -> list[float]:
        """The learning rates of its trainings, each once, from the lowest; folds may have chosen several."""
        found = (record.run.get("training", {}).get("lr") for record in self.trainings)
        return sorted({rate for rate in found if rate is not None})

    @property
    def epochs(self) -> list[int]:
        """The numbers of epochs that were chosen for its trainings, each once; none where they were not."""
        return sorted({record.search.epochs for record in self.trainings if record.search})

    @property
    def loading(self) -> float | None:
        """The share of the time of training steps that was spent waiting for batches, averaged over seeds."""
        shares = [record.loading.share for record in self.trainings if record.loading and not record.beside]
        return statistics.fmean(shares) if shares else None


def rows(records: Sequence[Record]) -> list[Row]:
    """One row per combination: those that were confirmed, the best on validation first; then the fusions that were not.

    Those come by how long they stayed in the race, then by validation; combinations that failed with every seed, or
    that a budget has stopped, come last, and blends and yardsticks after all. Other records of searches have no row.
    """
    by_combination: dict[str, Row] = {}

    def row_of(record: Record) -> Row:
        return by_combination.setdefault(
            key_of(record),
            Row(
                record.encoders,
                record.fusion,
                record.head,
                tuple(record.objectives),
                yardstick=record.purpose in {"yardstick", "blend"},
                blend=record.purpose == "blend",
            ),
        )

    for record in sorted((one for one in records if one.stopped), key=_epochs, reverse=True):
        row_of(record).stopped.append(record)
    compared = [record for record in records if record.purpose != "search"]
    for record in compared:
        row = row_of(record)
        if record.status == "ok":
            row.trainings.append(record)
    for record in joined(compared):
        row = row_of(record)
        if record.status == "ok":
            (row.searched if record.phase == "search" else row.records).append(record)
        else:
            row.errors.append(record.error or "")
    found = list(by_combination.values())
    for row in found:
        if not row.records:  # of those the ones that read test, if there are any
            row.records.extend([record for record in row.searched if record.metrics] or row.searched)
    by = by_which(found)

    def place(row: Row) -> tuple[bool, bool, bool, int, float]:
        length = 0 if row.confirmed else len(row.records) or sum(map(_epochs, row.stopped[:1]))
        return not row.yardstick, bool(row.records), row.confirmed, length, by.score(row.records)

    return sorted(found, key=place, reverse=True)


def _epochs(record: Record) -> int:
    """How far a training came that was stopped."""
    return record.rung.epochs if record.rung else 0


def names(rows: Sequence[Row]) -> list[str]:
    """The name of each row: its fusion; if several rows have the same fusion, also what distinguishes them.

    ["concat, head linear", "concat, head mlp", "only:image"]
    """
    return [", ".join([row.fusion, *_differences(row, rows)]) for row in rows]


def _differences(row: Row, rows: Sequence[Row]) -> list[str]:
    same = [other for other in rows if other.fusion == row.fusion]
    varying = [name for name in row.encoders if len({other.encoders.get(name) for other in same}) > 1]
    parts = [f"{name} {row.encoders[name]}" for name in varying]
    return parts + ([f"head {row.head}"] if len({other.head for other in same}) > 1 else [])


def table(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """One line per row, its name first; all have the same columns, with None for a missing value."""
    lines = [{"combination": name, **row.flat()} for name, row in zip(names(rows), rows, strict=True)]
    columns = _merged([list(line) for line in lines])
    return [{column: line.get(column) for column in columns} for line in lines]


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """Every column once; a column that only some lines have comes after its neighbour there."""
    found: list[str] = []
    for order in orders:
        at = 0
        for column in order:
            if column not in found:
                found.insert(at, column)
            at = found.index(column) + 1
    return found


def by_which(rows: Sequence[Row]) -> Criterion:
    """The metric on validation by which rows are ordered and chosen; yardsticks have no say in it."""
    return criterion(record for row in rows if not row.yardstick for record in row.records)


def best(rows: Sequence[Row], *, alone: bool | None = None) -> Row | None:
    """The row that is best on validation, of the single inputs (`alone`), of the fusions, or of all; no yardstick.

    Rows that were confirmed go before others, whose scores on validation have chosen, and are too good by that.

    Of several that are level the first is returned.
    """
    return next(iter(tied(rows, alone=alone)), None)


def tied(rows: Sequence[Row], *, alone: bool | None = None) -> list[Row]:
    """The rows that are best on validation: several if they are level; none if no run was completed."""
    candidates = [row for row in rows if row.records and not row.yardstick and alone in {None, row.alone}]
    if not candidates:
        return []
    if any(row.confirmed for row in candidates):
        candidates = [row for row in candidates if row.confirmed]
    by = by_which(rows)
    highest = max(by.score(row.records) for row in candidates)
    return [row for row in candidates if level(by.score(row.records), highest)]
