"""What a user should know of the data before anything is trained: statements, never changes.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmkit.sources import leaks
from mmkit.sources.duplicates import without_values
from mmkit.sources.target import Target
from mmkit.sources.units import SPLITS

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One statement.

    Args:
        level: "warning" where the answer may be wrong because of it, "note" otherwise.
        text: what was found, in counts, and what to write to act on it.
        columns: those that it is about.
    """

    level: str
    text: str
    columns: tuple[str, ...] = ()


def find(
    columns: Mapping[str, pa.ChunkedArray],
    kinds: Mapping[str, str],
    target: Target,
    *,
    splits: np.ndarray | None = None,
    copies: np.ndarray | None = None,
    same: np.ndarray | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
    given: bool = False,
    seed: int = 0,
) -> list[Finding]:
    """Everything that tables alone can tell: leaks, copies, conflicts, rare classes, rows without inputs.

    Args:
        columns: the inputs [N] each.
        kinds: the kind of each.
        target: the truth.
        splits: [N] of each row.
        copies: [N], the first row of each set of copies (`duplicates`), which stay together.
        same: [N], the first row with the same inputs (`same_inputs`), which no model can tell apart.
        groups: [N] by name, numbers of groups.
        given: True where the splits are the user's.
        seed: of the rows that leaks are looked for in.
    """
    found = leaks.leaks(columns, kinds, target, seed=seed)
    findings = [Finding("warning", text, names) for text, names in found]
    findings += _conflicts(target, same)
    findings += _missing(columns, kinds, target)
    findings += _rare(target, splits)
    findings += _copies(copies, splits, given=given)
    for name, labels in (groups or {}).items():
        findings += _groups(name, labels, splits)
    return sorted(findings, key=lambda finding: finding.level != "warning")


def _conflicts(target: Target, copies: np.ndarray | None) -> list[Finding]:
    """Rows of the same inputs whose truth differs."""
    if copies is None or target.kind == "text":
        return []
    known = target.known
    sets, of_row, sizes = np.unique(copies[known], return_inverse=True, return_counts=True)
    if len(sets) == len(of_row):
        return []
    repeated = (sizes > 1)[of_row]
    truth = _truth_codes(target)[known][repeated]
    width = int(truth.max()) + 1
    pairs, counts = np.unique(of_row[repeated] * width + truth, return_counts=True)
    most = np.zeros(len(sets), np.int64)  # rows of each set that have its most frequent truth
    np.maximum.at(most, pairs // width, counts)
    most[sizes == 1] = 1
    differing = most < sizes
    if not differing.any():
        return []
    rows = int(sizes[differing].sum())
    text = f"{rows:,} rows in {int(differing.sum()):,} sets of the same inputs have different truth"
    if target.kind == "classes":
        best = most.sum() / sizes.sum()
        text += f"; an accuracy above {np.ceil(best * 1000) / 10:.1f} % is not possible by these inputs"
    return [Finding("warning", text)]


def _truth_codes(target: Target) -> np.ndarray:
    """A number for each different truth, [N] int64."""
    if target.kind == "classes":
        return np.asarray(target.values, np.int64)
    if target.kind == "scalar":
        return np.unique(target.values, axis=0, return_inverse=True)[1].reshape(-1)
    words = [repr(value) for value in target.values.to_pylist()]
    return np.unique(words, return_inverse=True)[1]


def _missing(columns: Mapping[str, pa.ChunkedArray], kinds: Mapping[str, str], target: Target) -> list[Finding]:
    """Rows without truth, and rows without any input."""
    found = []
    if target.missing:
        found.append(Finding("note", f"{target.missing:,} rows have no truth, and are left out"))
    used = [column for name, column in columns.items() if kinds.get(name, "ignore") != "ignore"]
    if used:
        empty = without_values(used)
        if empty.any():
            found.append(Finding("warning", f"{int(empty.sum()):,} rows have no value in any input"))
    return found


def _rare(target: Target, splits: np.ndarray | None) -> list[Finding]:
    """Classes that are not in all splits."""
    found = []
    if target.rare:
        what = "classes" if target.kind == "classes" else "labels"
        text = f"{len(target.rare):,} {what} with fewer than 3 rows: {_some(target.rare)}"
        found.append(Finding("note", f"{text}; they are only trained on, and never tested"))
    if splits is None:
        return found
    left_out = (splits < 0) & target.known
    if left_out.any():
        why = "no split was given, or train has none of their truth"
        found.append(Finding("warning", f"{int(left_out.sum()):,} rows with truth are in no split: {why}"))
    if target.kind == "classes":
        values = np.asarray(target.values)
        seen = {side: set(np.unique(values[splits == side]).tolist()) for side in range(len(SPLITS))}
        rare = {target.names.index(name) for name in target.rare}
        untested = [target.names[code] for code in sorted(seen[0] - seen[2] - rare)]
        if untested:
            found.append(Finding("note", f"test has no row of {len(untested):,} classes: {_some(untested)}"))
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"{name:.40}" for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _copies(copies: np.ndarray | None, splits: np.ndarray | None, *, given: bool) -> list[Finding]:
    """Rows that repeat others, and whether splits share them."""
    if copies is None:
        return []
    repeated = int((copies != np.arange(len(copies))).sum())
    if not repeated:
        return []
    rows = _shared(copies, splits)
    if rows:
        whose = "the given splits" if given else "splits"
        return [
            Finding(
                "warning", f"{whose} share copies: {rows:,} rows of validation and test repeat one of another split"
            )
        ]
    told = (
        "1 row repeats an earlier one, and stays"
        if repeated == 1
        else f"{repeated:,} rows repeat an earlier one, and stay"
    )
    return [Finding("note", f"{told} in its split")]


def _groups(name: str, labels: np.ndarray, splits: np.ndarray | None) -> list[Finding]:
    rows = _shared(labels, splits)
    if not rows:
        return []
    text = f"splits share values of {name}: {rows:,} rows of validation and test have one that another split has"
    return [Finding("warning", text, (name,))]


def _shared(labels: np.ndarray, splits: np.ndarray | None) -> int:
    """Rows of validation and test whose label is in an earlier split, too."""
    if splits is None:
        return 0
    known = splits >= 0
    _, of_row = np.unique(labels[known], return_inverse=True)
    sides = splits[known]
    first = np.full(int(of_row.max(initial=-1)) + 1, len(SPLITS))
    np.minimum.at(first, of_row, sides)
    return int((first[of_row] < sides).sum())
