"""The report of a suite as one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from mmkit.records.record import Record
from mmkit.records.verdicts import Terms
from mmkit.report.information import structure
from mmkit.report.summary import Row, by_which, rows, tied
from mmkit.report.verdict import level_with_the_best, verdict


def document(records: Sequence[Record], folder: str, terms: Terms | None = None) -> dict[str, Any]:
    """The ranking, the verdict, what inputs tell, and the records.

    Args:
        records: of a suite.
        folder: of it.
        terms: of the verdict.
    """
    ranking = rows(records)
    level = [id(row) for row in tied(ranking)]
    comparison = verdict(ranking, terms)
    told = structure(ranking, terms)
    not_worse = [id(row) for row in level_with_the_best(ranking, terms)]
    return {
        "schema": 1,
        "folder": folder,
        "chosen_by": by_which(ranking).metric,
        "verdict": comparison.document() if comparison else None,
        "information": told.document() if told else None,
        "ranking": [
            {
                **_row(row),
                "best_on_validation": id(row) in level,
                "level_with_the_best_on_test": id(row) in not_worse if not_worse else None,
            }
            for row in ranking
        ],
        "records": [record.document() for record in records],
    }


def _row(row: Row) -> dict[str, Any]:
    def spreads(of: Literal["metrics", "validation"]) -> dict[str, Any]:
        by_name = {name: row.spread(name, of) for name in (getattr(row.records[0], of) if row.records else ())}
        return {name: asdict(spread) if spread else None for name, spread in by_name.items()}

    return {
        "yardstick": row.yardstick and not row.blend,
        "blend": row.blend,
        "stopped": [asdict(record.rung) for record in row.stopped if record.rung] if not row.records else [],
        "encoders": dict(row.encoders),
        "fusion": row.fusion,
        "head": row.head,
        "objectives": list(row.objectives),
        "learning_rates": row.rates,
        "seeds": [record.seed for record in row.records],
        "confirmed": row.confirmed,
        "errors": row.errors,
        "validation": spreads("validation"),
        "metrics": spreads("metrics"),
        "throughput": asdict(row.speed) if row.speed else None,
        "cost": asdict(row.cost) if row.cost else None,
        "loading_share": row.loading,
    }
