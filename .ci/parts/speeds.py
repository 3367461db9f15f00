"""How long fusions take: over their obvious forms, and over published implementations."""

from __future__ import annotations

import ast
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmkit.registry.catalog import BUILTIN, installed
from parts.markdown import ROOT, table

SPEED = ROOT / "benchmarks" / "records" / "fusions.json"
LIMITS = ROOT / "benchmarks" / "records" / "fusion_limits.json"
PUBLISHED = ROOT / "benchmarks" / "records" / "fusions_public.json"
SIZES = ((8, 128), (64, 128), (512, 128), (64, 512))
"""B and D of the fusions that are timed beside published ones."""
OBVIOUS = ROOT / "benchmarks" / "fusions" / "obvious"


def speeds() -> str:
    """What fusions take over their obvious forms, of the record: one line each, all built-in ones."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(SPEED.read_text("utf-8"))["rows"]:
        found.setdefault(row["fusion"], []).append(row)
    lines = []
    for entry in installed().available("fusion"):
        if entry.distribution != BUILTIN:
            continue
        rows = found.get(entry.name, [])
        held = sum(row["ratio"] <= row["goal"] for row in rows)
        medians = [_median(rows, batch, missing=missing) for missing in (False, True) for batch in (8, 64, 512)]
        why = _constant(OBVIOUS / f"{entry.name.replace('-', '_')}.py", "WHY") if held < len(rows) else ""
        lines.append((f"`{entry.name}`", f"{held} of {len(rows)}" if rows else "-", *medians, why))
    heads = ("fusion", "goal kept", *("B 8", "B 64", "B 512") * 2, "what the form leaves out")
    return table(heads, lines)


def _median(rows: Iterable[dict[str, Any]], batch: int, *, missing: bool) -> str:
    ratios = [row["ratio"] for row in rows if (row["batch"], row["missing"]) == (batch, missing)]
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _constant(file: Path, name: str) -> str:
    """A text that a file assigns to a name; empty where it assigns none."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return str(ast.literal_eval(node.value))
    return ""


def limits() -> str:
    """What fusions take over what the machine allows, of the record: one line for each width that was measured."""
    lines = []
    for row in json.loads(LIMITS.read_text("utf-8"))["rows"]:
        limit, took = (f"{row['seconds'][of] * 1e3:.2f}" for of in ("limit", "mmkit"))
        ratio = f"{row['ratio']:.2f}" + ("" if row["ratio"] <= row["goal"] else f", above {row['goal']}")
        shares = row["operations"].items() if row["ratio"] > row["goal"] else ()
        spent = ", ".join(f"{name.removeprefix('aten::')} {share:.0%}" for name, share in shares)
        lines.append((f"`{row['fusion']}`", str(row["width"]), took, limit, row["by"], ratio, spent))
    return table(("fusion", "D", "ms", "limit", "by", "ratio", "where the time goes"), lines)


def published() -> str:
    """What fusions take over published implementations, of the record: one line each."""
    found = json.loads(PUBLISHED.read_text("utf-8"))
    lines = []
    for name, origin in found["published"].items():
        where = f"[{origin['repository']}](https://github.com/{origin['repository']}), `{origin['commit'][:7]}`"
        ratios = {
            (row["batch"], row["width"], row["what"]): row["ratio"] for row in found["rows"] if row["fusion"] == name
        }
        cells = [
            f"{ratios[size, width, 'forward']:.2f}, {ratios[size, width, 'both ways']:.2f}" for size, width in SIZES
        ]
        lines.append((f"`{name}`", where, *cells))
    heads = ("fusion", "published", *(f"B {batch}, D {width}" for batch, width in SIZES))
    return table(heads, lines)
