"""What a user should know of the data before anything is trained: statements, never changes.

Axes: N rows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmkit.sources import leaks
from mmkit.sources.duplicates import without_values
from mmkit.sources.guess import TABLE
from mmkit.sources.numbers import numbers
from mmkit.sources.outliers import outliers
from mmkit.sources.splitting import cure
from mmkit.sources.target import Target
from mmkit.sources.types import usual
from mmkit.sources.units import LEAST, SPLITS
from mmkit.titles import counted

Same = Callable[[np.ndarray], np.ndarray]

_SHOWN = 5
_BETWEEN = ";,"  # signs that people write between labels, beside the | that makes them labels here


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
    groups: Mapping[str, np.ndarray] | None = None,
    same: Same | None = None,
    given: bool = False,
    seed: int = 0,
) -> list[Finding]:
    """Everything that tables alone can show: leaks, copies, conflicts, odd classes, numbers far off, too many columns.

    Args:
        columns: the inputs [N] each.
        kinds: the kind of each.
        target: the truth.
        splits: [N] of each row.
        copies: [N], the first row of each set of copies (`duplicates`).
        groups: [N] by name, numbers of groups.
        same: which of some copies are equal in every input (`equal_inputs`, of a mask [N]); None where all are.
        given: True where the splits are the user's.
        seed: of the rows that leaks are looked for in.
    """
    found = leaks.leaks(columns, kinds, target, seed=seed)
    findings = [Finding("warning", text, names) for text, names in found]
    findings += _conflicts(target, copies, same)
    findings += _missing(columns, kinds)
    findings += _rare(target, splits)
    findings += _far(target, splits)
    findings += _several_in_one(target)
    findings += _spelt(target)
    findings += _wide(columns, kinds, target, splits)
    findings += _copies(copies, splits, same, given=given)
    for name, labels in (groups or {}).items():
        findings += _groups(name, labels, splits)
    return sorted(findings, key=lambda finding: finding.level != "warning")


def _conflicts(target: Target, copies: np.ndarray | None, same: Same | None) -> list[Finding]:
    """Copies whose truth differs, in every input: that they share a text or a file bounds no accuracy."""
    if copies is None or target.kind == "text":
        return []
    codes = _truth_codes(target)
    rows, sets = _differing(copies, codes, target.known)
    if rows.size and same is not None:
        copies = _equal(copies, rows, same)
        rows, sets = _differing(copies, codes, target.known)
    found = []
    if rows.size:
        text = f"{rows.size:,} rows in {_sets(sets)} of copies have different truth"
        if target.kind == "classes":
            known = np.flatnonzero(target.known)
            width = int(codes.max()) + 1
            pairs, counts = np.unique(copies[known] * width + codes[known], return_counts=True)
            most = np.zeros(len(copies), np.int64)  # rows of each set that have its most frequent truth
            np.maximum.at(most, pairs // width, counts)
            best = most.sum() / len(known)
            text += f"; an accuracy above {np.ceil(best * 1000) / 10:.1f} % is not possible by these inputs"
        found.append(Finding("warning", text))
    return found


def _differing(copies: np.ndarray, codes: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
    """The rows of the sets of copies whose truth differs, and the number of these sets."""
    low, high = np.full(len(copies), np.iinfo(np.int64).max), np.full(len(copies), -1, np.int64)
    np.minimum.at(low, copies[known], codes[known])
    np.maximum.at(high, copies[known], codes[known])
    differ = (low < high)[copies] & known
    return np.flatnonzero(differ), len(np.unique(copies[differ]))


def _sets(number: int) -> str:
    return counted(number, "set")


def _truth_codes(target: Target) -> np.ndarray:
    """A number for each different truth, [N] int64."""
    if target.kind == "classes":
        return np.asarray(target.values, np.int64)
    if target.kind == "scalar":
        return np.unique(target.values, axis=0, return_inverse=True)[1].reshape(-1)
    words = [repr(value) for value in target.values.to_pylist()]
    return np.unique(words, return_inverse=True)[1]


def _missing(columns: Mapping[str, pa.ChunkedArray], kinds: Mapping[str, str]) -> list[Finding]:
    """Rows without any input."""
    found = []
    used = [column for name, column in columns.items() if kinds.get(name, "ignore") != "ignore"]
    if used:
        empty = without_values(used)
        if empty.any():
            number = int(empty.sum())
            found.append(
                Finding("warning", f"{_rows(number)} {'has' if number == 1 else 'have'} no value in any input")
            )
    return found


def _rare(target: Target, splits: np.ndarray | None) -> list[Finding]:
    """Classes that are not in all splits."""
    found = []
    if target.rare:
        what = ("class", "classes") if target.kind == "classes" else ("label",)
        text = f"{counted(len(target.rare), *what)} with fewer than 3 rows: {_some(target.rare)}"
        one = len(target.rare) == 1
        text += f"; {'it is' if one else 'they are'} only trained on, and never tested"
        rows = sum(count for count in target.counts if count < LEAST)
        few = target.kind == "classes" and 2 * rows > sum(target.counts)
        if few and splits is not None:
            held = ", ".join(f"{name} {int((splits == side).sum()):,}" for side, name in enumerate(SPLITS))
            text += f": {rows:,} of {counted(sum(target.counts), 'row')}, so rows are {held}; {cure(target)}"
        found.append(Finding("warning" if few else "note", text))
    if splits is None:
        return found
    left_out = (splits < 0) & target.known
    if number := int(left_out.sum()):
        why = "no split was given, or train has none of their truth"
        found.append(
            Finding("warning", f"{_rows(number)} with truth {'is' if number == 1 else 'are'} in no split: {why}")
        )
    if target.kind == "classes":
        values = np.asarray(target.values)
        seen = {side: set(np.unique(values[splits == side]).tolist()) for side in range(len(SPLITS))}
        rare = {target.names.index(name) for name in target.rare}
        untested = [target.names[code] for code in sorted(seen[0] - seen[2] - rare)]
        if untested:
            found.append(
                Finding("note", f"test has no row of {counted(len(untested), 'class', 'classes')}: {_some(untested)}")
            )
    return found


def _several_in_one(target: Target) -> list[Finding]:
    """Classes that look like several labels in a cell: there are fewer different parts than classes."""
    for sign in _BETWEEN if target.kind == "classes" else ():
        joined = [(name, count) for name, count in zip(target.names, target.counts, strict=True) if sign in name]
        if 2 * sum(count for _, count in joined) <= sum(target.counts):
            continue
        parts = {part.strip() for name in target.names for part in name.split(sign)} - {""}
        if len(parts) < len(target.names):
            text = (
                f"{counted(len(joined), 'class', 'classes')} of the target hold {sign!r}, as {joined[0][0]!r:.60}, and "
                f"{len(parts):,} different parts make all of them: if they are several labels in a cell, write | in "
                f"place of {sign} (or lists as JSON), and each is predicted by itself"
            )
            return [Finding("note", text)]
    return []


def _spelt(target: Target) -> list[Finding]:
    """Classes and labels whose names are one word in several spellings; single letters are what they are."""
    spellings: dict[str, list[str]] = {}
    for name in target.names if target.kind in {"classes", "labels"} else ():
        word = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if len(word) > 1:
            spellings.setdefault(word, []).append(name)
    several = [names for names in spellings.values() if len(names) > 1]
    if not several:
        return []
    what = ("class", "classes") if target.kind == "classes" else ("label",)
    shown = [" and ".join(f"{name!r:.40}" for name in names[:_SHOWN]) for names in several[:_SHOWN]]
    text = (
        f"{counted(sum(map(len, several)), *what)} of the target differ from another only in capitals or spaces: "
        f"{', '.join(shown)}{', ...' if len(several) > _SHOWN else ''}; each is predicted by itself, so write them as "
        "one where they are one"
    )
    return [Finding("warning", text)]


def _far(target: Target, splits: np.ndarray | None) -> list[Finding]:
    """Numbers of the target that lie far beyond all others, in whatever split they are."""
    found = []
    for place, name in enumerate(target.names if target.kind == "scalar" else ()):
        values = target.values[:, place]
        rows = outliers(values)
        if not rows.size:
            continue
        others = np.delete(values, rows)
        shown = [f"{values[row]:,.10g} in row {row}{_side(splits, row)}" for row in rows.tolist()]
        lie, them, are = ("lies", "it", "it is") if rows.size == 1 else ("lie", "them", "they are")
        text = (
            f"{name}: {counted(rows.size, 'value')} {lie} far beyond all others, which are {np.nanmin(others):,.10g} "
            f"to {np.nanmax(others):,.10g}: {', '.join(shown)} (all rows were looked at). MAE and RMSE, and with them "
            f"the choice of the epoch, may hang on {them} alone; correct {them}, or leave {them} out, if {are} a slip"
        )
        found.append(Finding("warning", text))
    return found


def _side(splits: np.ndarray | None, row: int) -> str:
    return "" if splits is None or splits[row] < 0 else f", {SPLITS[splits[row]]}"


def _wide(
    columns: Mapping[str, pa.ChunkedArray], kinds: Mapping[str, str], target: Target, splits: np.ndarray | None
) -> list[Finding]:
    """A table with more columns than rows to learn from, and those that say most of the target alone."""
    train = target.known if splits is None else splits == 0
    plain = [name for name, kind in kinds.items() if kind in TABLE]
    rows = int(train.sum())
    if len(plain) <= rows:
        return []
    told = (
        f"{counted(len(plain), 'column')} of a row and {_rows(rows)} to learn from: a network that reads all alike "
        "learns the rows by heart. The encoder table-lasso, which wide tables get, learns to read few of them; still "
        "better is a table of the columns that matter, or more rows"
    )
    numeric = {name: columns[name] for name in plain if kinds[name] == "number"}
    if best := screened(numeric, target, train):
        told += f"; alone, on the training rows, {', '.join(best)} say most of the target"
    return [Finding("warning", told, tuple(best))]


def screened(
    columns: Mapping[str, pa.ChunkedArray], target: Target, train: np.ndarray, most: int = _SHOWN
) -> list[str]:
    """The columns of numbers that vary most with the target over training rows, the first one most; at most so many.

    By the share of a column's variance that lies between classes, or its squared correlation with the first number.
    """
    if target.kind not in {"classes", "scalar"}:
        return []
    scores: dict[str, float] = {}
    for name, column in columns.items():
        values = numbers(usual(column))
        used = train & np.isfinite(values)
        x = values[used] - values[used].mean() if used.any() else values[:0]
        if (total := float((x**2).sum())) == 0:
            continue
        if target.kind == "classes":
            codes = np.asarray(target.values)[used]
            counts = np.bincount(codes)
            sums = np.bincount(codes, weights=x)
            scores[name] = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum()) / total
        else:
            y = target.values[used, 0] - target.values[used, 0].mean()
            scores[name] = float((x * y).sum()) ** 2 / (total * (float((y**2).sum()) or 1))
    return sorted(scores, key=lambda name: -scores[name])[:most]


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"{name:.40}" for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _equal(copies: np.ndarray, rows: np.ndarray, same: Same) -> np.ndarray:
    """The first row that is equal in every input, of these rows; of others, their own number. [N] int64."""
    chosen = np.zeros(len(copies), bool)
    chosen[rows] = True
    found = np.arange(len(copies))
    found[rows] = rows[same(chosen)]
    return found


def _copies(copies: np.ndarray | None, splits: np.ndarray | None, same: Same | None, *, given: bool) -> list[Finding]:
    """Rows that repeat others, wholly or in a text or a file, and whether splits share them."""
    if copies is None:
        return []
    repeated = int((copies != np.arange(len(copies))).sum())
    if not repeated:
        return []
    sizes = np.bincount(copies, minlength=len(copies))
    several = np.flatnonzero(sizes[copies] > 1)
    whole = repeated
    if same is not None:
        whole = int((_equal(copies, several, same) != np.arange(len(copies))).sum())
    rows = _shared(copies, splits)
    if rows:
        whose = "the given splits" if given else "splits"
        part = "" if whole == repeated else ", or share a text or a file with it"
        text = (
            f"{whose} share copies: {_rows(rows)} of validation and test {_ends(rows, 'repeat')} one of another split"
        )
        return [Finding("warning", text + part)]
    shared = repeated - whole
    told = [f"{_rows(whole)} {_ends(whole, 'repeat')} an earlier one"] if whole else []
    told += [f"{_rows(shared)} {_ends(shared, 'share')} a text or a file with an earlier one"] if shared else []
    stay = "and stays in its split" if repeated == 1 else "and stay in its split"
    return [Finding("note", f"{', '.join(told)}, {stay}")]


def _rows(number: int) -> str:
    return counted(number, "row")


def _ends(number: int, verb: str) -> str:
    return verb + "s" * (number == 1)


def _groups(name: str, labels: np.ndarray, splits: np.ndarray | None) -> list[Finding]:
    rows = _shared(labels, splits)
    if not rows:
        return []
    has = "has" if rows == 1 else "have"
    text = f"splits share values of {name}: {_rows(rows)} of validation and test {has} one that another split has"
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
