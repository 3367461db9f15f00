"""Records to rows: one a combination, over its seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Args:
        mean: over seeds.
        std: standard deviation over seeds; None of one seed.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
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
    records: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """True of a single-input baseline."""
        return self.fusion.startswith("only:")

    @property
    def metric(self) -> str:
        """The one that ranks; empty where every seed failed."""
        return self.records[0]["metric"] if self.records else ""

    @property
    def higher_is_better(self) -> bool:
        """Of that metric."""
        return not self.records or self.records[0]["higher_is_better"]

    def spread(self, metric: str, of: str = "metrics") -> Spread | None:
        """A metric on test ("metrics") or on "validation"; None where it is not defined for every seed."""
        values = [record[of].get(metric) for record in self.records]
        if not values or any(value is None for value in values):
            return None
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def figure(self, part: str, name: str) -> Any:
        """A figure of speed or cost, which all seeds share; None where it was not measured."""
        for record in self.records:
            found = (record.get(part) or {}).get(name)
            if found is not None:
                return found
        return None

    @property
    def loading(self) -> float | None:
        """Share of the time of training steps that went into waiting for batches, a mean over seeds."""
        shares = [record["loading"]["share"] for record in self.records if record.get("loading")]
        return statistics.fmean(shares) if shares else None

    @property
    def rank(self) -> float:
        """What orders rows, on validation alone; higher is better."""
        spread = self.spread(self.metric, "validation")
        if spread is None:
            return float("-inf")
        return spread.mean if self.higher_is_better else -spread.mean


def rows(records: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The combinations, best on validation first; those of which every seed failed last."""
    found: dict[str, Row] = {}
    for record in records:
        names = {name: record[name] for name in ("encoders", "fusion", "head", "objectives")}
        key = json.dumps(names, sort_keys=True)
        if key not in found:
            found[key] = Row(record["encoders"], record["fusion"], record["head"], tuple(record["objectives"]))
        row = found[key]
        if record["status"] == "ok":
            row.records.append(record)
        else:
            row.errors.append(record["error"])
    return sorted(found.values(), key=lambda row: row.rank, reverse=True)


def best(found: Sequence[Row], *, alone: bool) -> Row | None:
    """The best on validation, of the fusions or of the single inputs."""
    chosen = [row for row in found if row.alone is alone and row.records]
    return max(chosen, key=lambda row: row.rank, default=None)
