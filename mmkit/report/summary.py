"""Records to rows: one a combination, over its seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mmkit.records.record import Cost, Record, Speed

Cell = str | int | float | None
"""A plain value of a table."""


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Args:
        mean: over seeds.
        std: standard deviation over seeds; None of one seed.
    """

    mean: float
    std: float | None


@dataclass(frozen=True, repr=False)
class Row:
    """A combination.

    Args:
        encoders: by input.
        fusion: with its options, or `only:INPUT`.
        head: with its options.
        objectives: likewise.
        records: of the seeds that ended well.
        errors: of the others.
    """

    encoders: Mapping[str, str]
    fusion: str
    head: str
    objectives: tuple[str, ...]
    records: list[Record] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        score = self.spread(self.metric)
        return f"<Row {self.fusion}: " + (f"{self.metric} {score.mean:.4g} on test>" if score else "no score>")

    @property
    def alone(self) -> bool:
        """True of a single-input baseline."""
        return self.fusion.startswith("only:")

    @property
    def metric(self) -> str:
        """The one that ranks; empty where every seed failed."""
        return self.records[0].metric if self.records else ""

    @property
    def higher_is_better(self) -> bool:
        """Of that metric."""
        return not self.records or self.records[0].higher_is_better

    def spread(self, metric: str, of: Literal["metrics", "validation"] = "metrics") -> Spread | None:
        """A metric on test ("metrics") or on "validation"; None where it is not defined for every seed."""
        found = [getattr(record, of).get(metric) for record in self.records]
        values = [value for value in found if value is not None]
        if not values or len(values) < len(found):
            return None
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    @property
    def speed(self) -> Speed | None:
        """Which all seeds share; None where it was not measured."""
        return next((record.throughput for record in self.records if record.throughput), None)

    @property
    def cost(self) -> Cost | None:
        """Which all seeds share: what was measured, else the parameters alone."""
        costs = [record.cost for record in self.records if record.cost]
        measured = (cost for cost in costs if cost.trainable_parameters is not None)
        return next(measured, costs[0] if costs else None)

    def flat(self) -> dict[str, Cell]:
        """The row as plain values by column: names, mean and standard deviation of each metric, speed and cost."""
        found: dict[str, Cell] = {"fusion": self.fusion}
        found |= {f"encoder {name}": encoder for name, encoder in self.encoders.items()}
        found |= {"head": self.head, "objectives": ", ".join(self.objectives) or None, "seeds": len(self.records)}
        of: Literal["metrics", "validation"]
        for of, title in (("validation", "validation"), ("metrics", "test")):
            for metric in getattr(self.records[0], of) if self.records else ():
                spread = self.spread(metric, of)
                found[f"{title} {metric}"] = spread.mean if spread else None
                found[f"{title} {metric} std"] = spread.std if spread else None
        if self.speed:
            found["inference samples/s"] = self.speed.inference_samples_per_s
            found["training samples/s"] = self.speed.train_samples_per_s
            found["latency p50 ms"] = self.speed.latency_ms.get("p50")
        if self.cost:
            found |= {"parameters": self.cost.parameters, "FLOPs a sample": self.cost.flops_per_sample}
            found["peak memory bytes"] = self.cost.peak_memory_bytes
        return found | {"failed seeds": len(self.errors), "error": "; ".join(dict.fromkeys(self.errors)) or None}

    @property
    def loading(self) -> float | None:
        """Share of the time of training steps that went into waiting for batches, a mean over seeds."""
        shares = [record.loading.share for record in self.records if record.loading]
        return statistics.fmean(shares) if shares else None

    @property
    def rank(self) -> float:
        """What orders rows, on validation alone; higher is better."""
        spread = self.spread(self.metric, "validation")
        if spread is None:
            return float("-inf")
        return spread.mean if self.higher_is_better else -spread.mean


def rows(records: Sequence[Record]) -> list[Row]:
    """The combinations, best on validation first; those of which every seed failed last."""
    found: dict[str, Row] = {}
    for record in records:
        key = json.dumps([record.encoders, record.fusion, record.head, record.objectives], sort_keys=True)
        if key not in found:
            found[key] = Row(record.encoders, record.fusion, record.head, tuple(record.objectives))
        row = found[key]
        if record.status == "ok":
            row.records.append(record)
        else:
            row.errors.append(record.error or "")
    return sorted(found.values(), key=lambda row: row.rank, reverse=True)


def names(found: Sequence[Row]) -> list[str]:
    """What each row is called: its fusion, and where others have the same one, what tells it from them.

    ["concat, head linear", "concat, head mlp", "only:image"]
    """
    return [", ".join([row.fusion, *_differences(row, found)]) for row in found]


def _differences(row: Row, found: Sequence[Row]) -> list[str]:
    same = [other for other in found if other.fusion == row.fusion]
    varying = [name for name in row.encoders if len({other.encoders.get(name) for other in same}) > 1]
    parts = [f"{name} {row.encoders[name]}" for name in varying]
    return parts + ([f"head {row.head}"] if len({other.head for other in same}) > 1 else [])


def table(found: Sequence[Row]) -> list[dict[str, Cell]]:
    """A line a row, its name first; all have the same columns, with None where a row has no value."""
    lines = [{"combination": name, **row.flat()} for name, row in zip(names(found), found, strict=True)]
    columns = _merged([list(line) for line in lines])
    return [{column: line.get(column) for column in columns} for line in lines]


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """Every column once; one that only some lines have stands after its neighbour there."""
    found: list[str] = []
    for order in orders:
        at = 0
        for column in order:
            if column not in found:
                found.insert(at, column)
            at = found.index(column) + 1
    return found


def best(found: Sequence[Row], *, alone: bool) -> Row | None:
    """The best on validation, of the fusions or of the single inputs."""
    chosen = [row for row in found if row.alone is alone and row.records]
    return max(chosen, key=lambda row: row.rank, default=None)
