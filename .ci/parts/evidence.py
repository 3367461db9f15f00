"""What fusions, and what may be beside them, give on the tasks that were measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from typing import Any

from mmkit.plugin import FAMILIES
from parts.markdown import ROOT, table

EVIDENCE = ROOT / "benchmarks" / "records" / "evidence"


def evidence() -> str:
    """What fusions give, and what is added by what may be beside them, of the records that there are."""
    tasks = {}
    for file in sorted(EVIDENCE.glob("*.json")):
        found = json.loads(file.read_text("utf-8"))
        tasks[found["task"].partition(":")[0].removeprefix("synthetic-")] = {**found, "file": file.name}
    parts = (
        ("Tasks", _tasks(tasks)),
        ("Families", _families(tasks)),
        ("Fusions", _fusions(tasks)),
        ("Fusions, where an input is missing", _missing(tasks, _plain(tasks))),
        ("Objectives", _beside(tasks, "objective")),
        ("Balance methods", _beside(tasks, "balance")),
        ("Training for missing inputs", _beside(tasks, "training")),
        ("With something beside, where an input is missing", _missing(tasks, _with_others(tasks))),
    )
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts)


def _tasks(tasks: Mapping[str, Any]) -> str:
    lines = []
    for name, one in tasks.items():
        counts = [f"{one['samples'][split]:,}" for split in ("train", "validation", "test")]
        encoders = ", ".join(f"`{encoder}`" for encoder in sorted(set(one["encoders"].values())))
        level = sum(row["level_with_the_best"] for row in one["rows"])
        record = f"[{name}](records/evidence/{one['file']})"
        lines.append((record, f"`{one['task']}`", encoders, *counts, f"{level} of {len(one['rows'])}"))
    return table(("record", "task", "encoders", "train", "validation", "test", "level with the best"), lines)


def _families(tasks: Mapping[str, Any]) -> str:
    lines = []
    for family in (*FAMILIES, ""):
        cells = []
        for one in tasks.values():
            rows = [row for row in one["rows"] if row["kind"] in {"fusion", "input"} and row["family"] == family]
            means = {row["fusion"]: round(100 * statistics.fmean(row["test"]), 1) for row in rows}
            first, *more = sorted(name for name, mean in means.items() if mean == max(means.values())) or [""]
            best = f"`{first}`" + (f" and {len(more)} more" if more else "")
            cells.append(f"{statistics.median(means.values()):.1f}; {means[first]:.1f} {best}" if first else "-")
        lines.append((f"of {family}" if family else "one input", *cells))
    return table(("family", *tasks), lines)


def _fusions(tasks: Mapping[str, Any]) -> str:
    lines = []
    for fusion, rows in _plain(tasks).items():
        cells = ["-" if row is None else _evident(row) for row in rows]
        lines.append((f"`{fusion}`", *cells))
    return table(("fusion", *tasks), lines)


def _plain(tasks: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The row of each fusion, and of each single input, in each task; None where it has none there."""
    by_task = [
        {row["fusion"]: row for row in one["rows"] if row["kind"] in {"fusion", "input"}} for one in tasks.values()
    ]
    known = {name: row for rows in by_task for name, row in rows.items()}
    order = (*FAMILIES, "")
    ordered = sorted(known, key=lambda name: (order.index(known[name]["family"]), name))
    return {name: [rows.get(name) for rows in by_task] for name in ordered}


def _evident(row: Mapping[str, Any]) -> str:
    """A tilde marks what cannot be told from the best, an arrow what surely lies above or below concat."""
    mean, spread = statistics.fmean(row["test"]), statistics.stdev(row["test"])
    level = " ~" if row["level_with_the_best"] else ""
    return f"{100 * mean:.1f} ± {100 * spread:.1f}{level}{_arrow(row['beyond'])}"


def _arrow(beyond: Mapping[str, Any]) -> str:
    if abs(beyond["difference"]) <= beyond["margin"]:
        return ""
    return " ↑" if beyond["difference"] > 0 else " ↓"


def _missing(tasks: Mapping[str, Any], rows_of: Mapping[str, list[Any]]) -> str:
    inputs = {name: sorted(one["encoders"]) for name, one in tasks.items()}
    lines = []
    for name, rows in rows_of.items():
        if any(row and row["missing"] for row in rows):
            cells = []
            for row, names in zip(rows, inputs.values(), strict=True):
                found = row["missing"] if row else {}
                cells.append(", ".join(f"{100 * found[name]:.1f}" for name in names) if found else "-")
            lines.append((f"`{name}`", *cells))
    return table(("", *(f"{task}: no {', no '.join(names)}" for task, names in inputs.items())), lines)


def _with_others(tasks: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The rows of fusions with something beside, behind those of the fusion alone."""
    kinds = ("fusion", "objective", "balance", "training")
    found: dict[tuple[str, int, str], list[Any]] = {}
    for place, one in enumerate(tasks.values()):
        bases = {row["fusion"] for row in one["rows"] if row["kind"] in kinds[1:]}
        for row in one["rows"]:
            if row["kind"] in kinds and row["fusion"] in bases:
                key = row["fusion"], kinds.index(row["kind"]), "" if row["kind"] == "fusion" else _other(row)
                found.setdefault(key, [None] * len(tasks))[place] = row
    return {f"{fusion} + {other}" if other else fusion: found[fusion, at, other] for fusion, at, other in sorted(found)}


def _other(row: Mapping[str, Any]) -> str:
    way = [f"{key}={value}" for key, value in row.get("training", {}).items()]
    return row["balance"] or ", ".join(row["objectives"] or way)


def _beside(tasks: Mapping[str, Any], kind: str) -> str:
    """What something of a kind adds to a fusion."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for task, one in tasks.items():
        for row in one["rows"]:
            if row["kind"] == kind:
                beyond = row["beyond"]
                shown = f"{100 * beyond['difference']:+.1f} ± {100 * beyond['margin']:.1f}{_arrow(beyond)}"
                found.setdefault((row["fusion"], _other(row)), {})[task] = shown
    lines = [
        (f"`{fusion} + {other}`", *(cells.get(task, "-") for task in tasks))
        for (fusion, other), cells in sorted(found.items())
    ]
    return table(("", *tasks), lines) if lines else "Not measured yet."
