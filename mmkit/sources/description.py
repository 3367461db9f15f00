"""What was found in a user's data: what each column is and why, the inputs, the target, the splits, the findings.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from rich.cells import cell_len

from mmkit.errors import UsageError
from mmkit.sources.columns import Array, Lazy, Store
from mmkit.sources.derived import apart
from mmkit.sources.findings import Finding
from mmkit.sources.guess import Guess
from mmkit.sources.inputs import Input, store_of
from mmkit.sources.memory import of_arrow
from mmkit.sources.reading import Source
from mmkit.sources.tabular import fit
from mmkit.sources.target import Target
from mmkit.sources.truths import truth_layout
from mmkit.sources.units import SPLITS
from mmkit.sources.wrapping import cut, padded, wrapped
from mmkit.system.hashing import fingerprint
from mmkit.titles import counted

SCHEMA = 1
NARROW = 24
"""Width of a column's name that is shown."""
MOST = 12
"""Classes whose counts are shown."""
ALIKE = 40
"""Columns in a row, alike but for their names, beyond which only the first and the last are shown."""
SMALL = 1000
"""Rows with truth below which folds are offered: a quarter of fewer says little."""
FOLDABLE = 10
"""Rows with truth that five folds need at least."""


@dataclass(frozen=True)
class Request:
    """What a user says of the data; all but `data` may be left out, or has a default.

    Args:
        data: a path, or the name of a table in memory.
        target: the column that is to be predicted; several of numbers are one target. As it is asked for, the text of
            the user, with commas between names; in a description the columns.
        target_kind: "classes", "labels", "scalar" or "text", where the values leave it open.
        columns: kinds of columns, by name, as "name", "kind" pairs.
        group: columns whose equal values must not be torn apart; the first decides.
        time: the column by which train is earlier than test.
        id: the column with a name of each row.
        split_seed: of the splits.
        splits: shares such as "60/15/25"; the column that holds train, validation and test; or the files of splits, as
            "validation=b.csv,test=c.csv".
        files: where relative names of files begin; None is the folder of the table.
        outside: True where files may lie outside of that folder.
        folds: in how many folds every row is tested once; None is one split.
        fold: which of them, from 1; 0 is all.
        deep: True where every value is read, and files are known by their content.
    """

    data: str
    target: tuple[str, ...] = ()
    target_kind: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    group: tuple[str, ...] = ()
    time: str | None = None
    id: str | None = None
    split_seed: int = 0
    splits: str = "60/15/25"
    files: str | None = None
    outside: bool = False
    folds: int | None = None
    fold: int = 0
    deep: bool = False


@dataclass(frozen=True, eq=False)
class Description:
    """What was found.

    Args:
        request: what was asked.
        source: as it was read.
        guesses: of each column that may be an input.
        roles: of the other columns: "target", "group", ...
        inputs: that models read.
        target: the truth; None where no target was named.
        sides: [N] the split of each row, as `splitting.SPLITS` numbers them, -1 none; None without a target.
        ids: [N] names of rows; None are their numbers.
        groups: [N] labels of each group's column, by its name.
        how: how the splits were made, in words.
        findings: what the user should know.
        problems: columns whose kind the user must say, and how.
        advice: lines that a user may want to read before the first training.
        folds: [K N] the split of each row in each fold; None where there are none. `sides` are those of one of them.
    """

    request: Request
    source: Source
    guesses: Mapping[str, Guess]
    roles: Mapping[str, str]
    inputs: Sequence[Input]
    target: Target | None = None
    sides: Array | None = None
    ids: Sequence[str] | None = None
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    how: str = ""
    findings: Sequence[Finding] = ()
    problems: Sequence[str] = ()
    folds: Array | None = None
    advice: Sequence[str] = ()
    _stores: dict[str, Store] = field(default_factory=dict, init=False)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column that is used."""
        return {name: one.kind for name, one in self.guesses.items() if one.kind != "ignore"}

    def of_fold(self, number: int) -> Description:
        """The description of one fold, by its number from 1.

        Raises:
            UsageError: there is no such fold.
        """
        if self.folds is None or not 1 <= number <= len(self.folds):
            raise UsageError(f"there is no fold {number} of {0 if self.folds is None else len(self.folds)}")
        return replace(self, request=replace(self.request, fold=number), sides=self.folds[number - 1])

    @property
    def names(self) -> Sequence[str]:
        """The id of each row, in the order of the source."""
        return [str(row) for row in range(self.source.rows)] if self.ids is None else self.ids

    def rows(self, side: int) -> Array:
        """The rows of a split, by its number, in an order that no column decides."""
        if self.sides is None:
            return np.arange(self.source.rows)
        rows = np.flatnonzero(self.sides == side)
        return np.random.default_rng(self.request.split_seed).permutation(rows)

    def column(self, one: Input, side: int) -> Lazy:
        """The values of an input in a split, read when they are asked for."""
        return Lazy(self._store(one), self.rows(side))

    def _store(self, one: Input) -> Store:
        if one.name not in self._stores:
            self._stores[one.name] = store_of(
                one,
                self._fitted,
                self.source.columns,
                files=self.source.folder,
                outside=self.request.outside,
                deep=self.request.deep,
            )
        return self._stores[one.name]

    @cached_property
    def _fitted(self) -> dict[str, dict[str, Any]]:
        """How each column of the table's row is read, by name."""
        fitted = {
            name: fit(name, self.kinds[name], self.source.columns[name], self.rows(0), self.guesses[name].absent)
            for one in self.inputs
            if one.modality == "table"
            for name in one.columns
        }
        return apart(fitted)

    def layout(self) -> dict[str, Any]:
        """How inputs and truth are made of columns, as plain JSON: what a saved model keeps, and `Layout` reads."""
        target = self.target
        return {
            "inputs": [{"name": i.name, "modality": i.modality, "columns": list(i.columns)} for i in self.inputs],
            "columns": {
                **{name: {"kind": kind} for name, kind in self.kinds.items()},
                **self._fitted,
            },
            "target": target and truth_layout(self.request.target, target, self.source.columns),
            "id": self.request.id,
        }

    @cached_property
    def identity(self) -> str:
        """A hash of all that the description gives to training: inputs, truth and splits; not of where they were."""
        state = blake2b(digest_size=16)
        if self.target is not None and self.sides is not None:
            values = self.target.values
            state.update(self.sides.tobytes())
            if isinstance(values, np.ndarray):
                state.update(np.ascontiguousarray(values).tobytes())
            else:
                state.update(
                    of_arrow(values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])).encode()
                )
        return fingerprint(
            {
                "inputs": {one.name: [one.modality, self._store(one).fingerprint] for one in self.inputs},
                "target": [self.target.kind, *self.target.names, self.target.metric] if self.target else [],
                "rows": state.hexdigest(),
            }
        )

    def count(self, name: str) -> int:
        """How many rows a split has."""
        return 0 if self.sides is None else int((self.sides == SPLITS.index(name)).sum())

    def document(self) -> dict[str, Any]:
        """As plain JSON values: the file `data.json` of a suite."""
        target = self.target
        return {
            "schema": SCHEMA,
            "source": {"data": self.request.data, "rows": self.source.rows, "columns": len(self.source.columns)},
            "fingerprint": self.identity,
            "columns": [
                {"name": name, "missing": missing, "is": kind, "because": why}
                for name, missing, kind, why in self.told()
            ],
            "inputs": [{"name": i.name, "modality": i.modality, "columns": list(i.columns)} for i in self.inputs],
            "target": target
            and {
                "columns": list(self.request.target),
                "kind": target.kind,
                "names": list(target.names),
                "counts": list(target.counts),
                "missing": target.missing,
                "metric": target.metric,
                "because": target.reason,
            },
            "splits": self._splits() if target else None,
            "findings": [{"level": f.level, "text": f.text, "columns": list(f.columns)} for f in self.findings],
            "problems": list(self.problems),
        }

    @property
    def _few(self) -> bool:
        """Whether the rows are so few that folds say more than one split, and nothing orders or splits them."""
        known = 0 if self.target is None else int(self.target.known.sum())
        free = self.request.time is None and self.request.splits not in self.source.columns
        return free and FOLDABLE <= known < SMALL

    def _splits(self) -> dict[str, Any]:
        """How rows are split, and how many; of folds those of each."""
        if self.folds is None:
            return {"how": self.how, **{name: self.count(name) for name in SPLITS}}
        sizes = [{name: int((sides == side).sum()) for side, name in enumerate(SPLITS)} for sides in self.folds]
        return {"how": self.how, "folds": sizes}

    def told(self) -> list[tuple[str, int | None, str, str]]:
        """Name, missing values, kind and reason of each column, in the order of the source."""
        told: list[tuple[str, int | None, str, str]] = []
        for name in self.source.columns:
            if name in self.guesses:
                one = self.guesses[name]
                kind = "ignored" if one.kind == "ignore" else one.kind
                told.append((name, one.missing, kind, one.reason))
            else:
                role = self.roles[name]
                told.append((name, None, role, f"as you said{'' if role == 'target' else '; no input'}"))
        return told

    def text(self, width: int = 80) -> str:
        """The description as lines of at most `width` characters."""
        return "\n".join(self._lines(width))

    def summary(self) -> list[str]:
        """How the data is used: target, splits, findings, and what the user must say; a line each."""
        return [
            *self._of_target(),
            *(f"{one.level}: {one.text}" for one in self.findings),
            *(f"to decide: {problem}" for problem in self.problems),
        ]

    def __repr__(self) -> str:
        return self.text()

    def _lines(self, width: int) -> Iterator[str]:
        counts = f"{counted(self.source.rows, 'row')}, {counted(len(self.source.columns), 'column')}"
        yield from wrapped(f"{self.source.name}: {counts}", width)
        rows = [("column", "missing", "is", "because")]
        for name, missing, kind, why in self.told():
            share = "" if missing is None else f"{100 * missing / self.source.rows:.1f} %"
            rows.append((_cut(name), share, kind, why))
        yield from _table(_folded(rows), width)
        inputs = ", ".join(
            one.name if one.name == one.modality else f"{one.name} ({one.modality})" for one in self.inputs
        )
        for line in (f"inputs: {inputs or 'none'}", *self.summary(), *self.advice):
            indent = line[: len(line) - len(line.lstrip())]
            yield from wrapped(line, width, f"{indent}  ")

    def _of_target(self) -> Iterator[str]:
        target = self.target
        if target is None:
            return
        what = f"{target.kind} ({len(target.names)})" if target.names else target.kind
        yield f"target {', '.join(self.request.target)}: {what}, {target.reason}"
        counts = sorted(zip(target.counts, target.names, strict=False), key=lambda pair: (-pair[0], pair[1]))
        if counts:
            more = f", and {len(counts) - MOST} more" if len(counts) > MOST else ""
            yield "  " + ", ".join(f"{name} {count:,}" for count, name in counts[:MOST]) + more
        if target.missing:
            yield f"  {counted(target.missing, 'row')} without truth {'is' if target.missing == 1 else 'are'} left out"
        if self.folds is None:
            sizes = ", ".join(f"{name} {self.count(name):,}" for name in SPLITS)
            yield f"splits: {sizes} ({self.how})"
            if self._few:
                yield f"  fewer than {SMALL:,} rows: mmkit bench --folds 5 tests each of them once"
            return
        sizes = ", ".join(
            f"{name} {_range([int((sides == side).sum()) for sides in self.folds])}" for side, name in enumerate(SPLITS)
        )
        yield f"{len(self.folds)} folds, each with {sizes} ({self.how})"
        tested = int((self.folds == 2).any(0).sum())
        left = int(target.known.sum()) - tested
        never = f"; {counted(left, 'row')} of rare classes only train{'s' * (left == 1)}" if left else ""
        yield f"  {counted(tested, 'row')} {'is' if tested == 1 else 'are'} tested once{never}"


def _folded(rows: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Rows of a table, where many columns in a row that are alike but for their names become three: first, count, last.

    >>> _folded([(f"c{n}", "0.0 %", "number", "numbers") for n in range(2000)])[1]
    ('1,998 more', '0.0 %', 'number', 'numbers')
    """
    found: list[tuple[str, str, str, str]] = []
    for told, group in groupby(rows, key=lambda row: row[1:]):
        same = list(group)
        if len(same) > ALIKE:
            same = [same[0], (f"{len(same) - 2:,} more", *told), same[-1]]
        found += same
    return found


def _table(rows: Sequence[tuple[str, str, str, str]], width: int) -> Iterator[str]:
    """Rows of four columns, the last of them folded."""
    first, second, third = (max(cell_len(row[place]) for row in rows) for place in range(3))
    left = first + second + third + 6
    for name, missing, kind, why in rows:
        folded = wrapped(why, max(width - left, 20)) or [""]
        yield f"{padded(name, first)}  {missing:>{second}}  {kind:<{third}}  {folded[0]}".rstrip()
        yield from (" " * left + more for more in folded[1:])


def _cut(name: str) -> str:
    plain = name if name.isprintable() else repr(name)
    return cut(plain, NARROW)


def _range(sizes: Sequence[int]) -> str:
    return f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
