"""Records as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmkit.report.summary import Row, rows
from mmkit.report.verdict import verdict


def document(records: Sequence[Mapping[str, Any]], folder: str) -> dict[str, Any]:
    """The ranking, the verdict, and the records themselves."""
    found = rows(records)
    said = verdict(found)
    return {
        "schema": 1,
        "folder": folder,
        "verdict": said.document() if said else None,
        "ranking": [_row(row) for row in found],
        "records": list(records),
    }


def _row(row: Row) -> dict[str, Any]:
    def spreads(of: str) -> dict[str, Any]:
        found = {name: row.spread(name, of) for name in (row.records[0][of] if row.records else ())}
        return {name: asdict(spread) if spread else None for name, spread in found.items()}

    return {
        "encoders": dict(row.encoders),
        "fusion": row.fusion,
        "head": row.head,
        "objectives": list(row.objectives),
        "seeds": [record["seed"] for record in row.records],
        "errors": row.errors,
        "validation": spreads("validation"),
        "metrics": spreads("metrics"),
        "throughput": row.records[0]["throughput"] if row.records else None,
        "cost": row.records[0]["cost"] if row.records else None,
        "loading_share": row.loading,
    }
