"""What was found in a user's data: what each column is and why, the inputs, the target, the splits, the findings.

Nothing is trained, and nothing is fitted on anything but the training split. The same rows give the same description
and the same splits, whatever the source was.

Axes: N rows.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError, UsageError, one_of
from mmkit.plugin import ModalitySpec
from mmkit.sources.columns import Array, Lazy, Store
from mmkit.sources.duplicates import duplicates
from mmkit.sources.findings import Finding, find, find_files
from mmkit.sources.forms import dates
from mmkit.sources.guessing import TABLE, Guess, guesses
from mmkit.sources.inputs import Input, inputs_of, store_of, strings
from mmkit.sources.memory import of_arrow
from mmkit.sources.objects import guess_objects
from mmkit.sources.reading import Column, Source, read, stamp
from mmkit.sources.splitting import SPLITS, given_splits, groups_of, shares_of, split
from mmkit.sources.targets import Target, read_target
from mmkit.system.hashing import fingerprint

SCHEMA = 1
_SHARES = re.compile(r"\s*[\d.]+\s*/.*")
_KEPT = 4

_described: OrderedDict[object, Description] = OrderedDict()


@dataclass(frozen=True)
class Request:
    """What a user says of the data; all but `data` may be left out, or has a default.

    Args:
        data: a path, or the name of a table in memory.
        target: the column that is to be predicted; several of numbers are one target.
        target_kind: "classes", "labels", "scalar" or "text", where the values leave it open.
        columns: kinds of columns, by name, as "name", "kind" pairs.
        group: columns whose equal values must not be torn apart; the first decides.
        time: the column by which train is earlier than test.
        id: the column with a name of each row.
        split_seed: of the splits.
        splits: shares such as "60/15/25", or the column that holds train, validation and test.
        files: where relative names of files begin; None is the folder of the table.
        outside: True where files may lie outside of that folder.
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
        groups: [N] labels of the first group's column; None where there is none.
        how: how the splits were made, in words.
        findings: what the user should know.
        problems: columns whose kind the user must say, and how.
    """

    request: Request
    source: Source
    guesses: Mapping[str, Guess]
    roles: Mapping[str, str]
    inputs: Sequence[Input]
    target: Target | None = None
    sides: Array | None = None
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    how: str = ""
    findings: Sequence[Finding] = ()
    problems: Sequence[str] = ()
    _stores: dict[str, Store] = field(default_factory=dict, init=False)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column that is used."""
        return {name: one.kind for name, one in self.guesses.items() if one.kind != "ignore"}

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
                self.kinds,
                self.source.columns,
                self.rows(0),
                files=self.source.folder,
                outside=self.request.outside,
            )
        return self._stores[one.name]

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
            "splits": {"how": self.how, **{name: self.count(name) for name in SPLITS}} if target else None,
            "findings": [{"level": f.level, "text": f.text, "columns": list(f.columns)} for f in self.findings],
            "problems": list(self.problems),
        }

    def told(self) -> list[tuple[str, int | None, str, str]]:
        """Name, missing values, kind and reason of each column, in the order of the source."""
        told: list[tuple[str, int | None, str, str]] = []
        for name in self.source.columns:
            if name in self.guesses:
                one = self.guesses[name]
                kind = "ignored" if one.kind == "ignore" else one.kind
                told.append((name, one.missing, kind, f"{one.reason}{_absent(one)}"))
            else:
                told.append((name, None, self.roles[name], "as you said"))
        return told


def _absent(one: Guess) -> str:
    return f"; {', '.join(map(repr, one.absent))} count as missing" if one.absent else ""


def describe(request: Request, modalities: Iterable[ModalitySpec]) -> Description:
    """Read the data and find out what it is. The latest descriptions are kept as long as their files do not change.

    Args:
        request: what the user says.
        modalities: those that are installed.

    Raises:
        UsageError: a column or a kind that there is not, or a target that can be read in two ways.
        DataError: data that cannot be read, or has no row, no truth or no input.
    """
    specs = tuple(modalities)
    key = (request, stamp(request.data), tuple(spec.name for spec in specs))
    if key not in _described:
        _described[key] = _describe(request, specs)
        while len(_described) > _KEPT:
            _described.popitem(last=False)
    _described.move_to_end(key)
    return _described[key]


def _describe(request: Request, specs: Sequence[ModalitySpec]) -> Description:
    media = {spec.name: spec.extensions for spec in specs if spec.extensions}
    source = read(request.data, media, files=request.files, outside=request.outside)
    roles = _roles(request, source)
    given = dict(request.columns)
    free = {name: column for name, column in source.columns.items() if roles.get(name, "time") == "time"}
    if request.time and request.time not in given:
        free.pop(request.time)
    for name in given:
        if name in source.columns and name not in free:
            raise UsageError(f"column {name} is the {roles[name]}, and no input; leave out --column {name}=...")
    found = _guessed(free, given, specs, source, outside=request.outside)
    problems = [one.problem for one in found.values() if one.problem]
    kinds = {name: one.kind for name, one in found.items() if one.kind != "ignore"}
    inputs = inputs_of(kinds, source.columns)
    plain = Description(request, source, found, roles, inputs, problems=problems)
    if not request.target:
        return plain
    if not inputs and not problems:
        reasons = "; ".join(f"{name}: {one.reason}" for name, one in found.items())
        raise DataError(f"{source.name} has no column left that is an input{f' ({reasons})' if reasons else ''}")
    return _split(plain, kinds, specs)


def _roles(request: Request, source: Source) -> dict[str, str]:
    """What columns are that are no inputs."""
    roles: dict[str, str] = {}
    named = [("target", request.target), ("group", request.group), ("time", [request.time]), ("id", [request.id])]
    if not _SHARES.fullmatch(request.splits):
        named.append(("splits", [request.splits]))
    for role, names in named:
        for name in names:
            if name is None:
                continue
            if name not in source.columns:
                raise UsageError(f"--{role}: {source.name} has no column {name}; {one_of(source.columns, name)}")
            if isinstance(source.columns[name], list):
                raise UsageError(f"--{role}: column {name} holds objects of Python; give strings or numbers")
            if roles.get(name, role) == "target" and role != "target":
                raise UsageError(f"--{role}: column {name} is the target")
            roles.setdefault(name, role)
    return roles


def _guessed(
    free: Mapping[str, Column],
    given: Mapping[str, str],
    specs: Sequence[ModalitySpec],
    source: Source,
    *,
    outside: bool,
) -> dict[str, Guess]:
    arrow = {name: column for name, column in free.items() if not isinstance(column, list)}
    of_arrow_columns = guesses(
        arrow,
        {name: kind for name, kind in given.items() if not isinstance(free.get(name), list)},
        modalities=specs,
        files=source.folder,
        outside=outside,
    )
    found = {}
    for name, column in free.items():
        if not isinstance(column, list):
            found[name] = of_arrow_columns[name]
            continue
        guessed = guess_objects(name, column)
        if name in given:
            possible = [spec.name for spec in specs if spec.name != "table"] + ["ignore"]
            if given[name] not in possible:
                raise UsageError(f"--column {name}={given[name]}: it holds objects; {one_of(possible, given[name])}")
            guessed = Guess(given[name], "as you said", guessed.missing)
        found[name] = guessed
    return found


def _split(plain: Description, kinds: Mapping[str, str], specs: Sequence[ModalitySpec]) -> Description:
    """The description with target, splits and findings."""
    request, source, columns = plain.request, plain.source, plain.source.columns
    target = read_target({name: columns[name] for name in request.target}, request.target_kind)
    ids = _ids(request, source)
    arrow = {name: columns[name] for name in kinds if not isinstance(columns[name], list)}
    kinds_of_arrow = {name: kinds[name] for name in arrow}
    media = [spec.name for spec in specs if spec.extensions and spec.name not in TABLE]
    copies = duplicates(arrow, kinds_of_arrow, files=source.folder, outside=request.outside, modalities=media)
    groups = {name: groups_of(columns[name]) for name in request.group}
    by_share = bool(_SHARES.fullmatch(request.splits))
    given = None if by_share else given_splits(columns[request.splits])
    sides = split(
        target.strata,
        units=groups[request.group[0]] if request.group else copies,
        names=columns[request.group[0]] if request.group else columns[request.id] if request.id else None,
        times=None if request.time is None else _times(columns[request.time]),
        given=given,
        seed=request.split_seed,
        **({"shares": shares_of(request.splits)} if by_share else {}),
    )
    if target.rare and by_share and target.kind == "classes":
        rare = [target.names.index(name) for name in target.rare]
        sides = np.where(np.isin(target.values, rare), 0, sides).astype(sides.dtype)
    findings = find(
        arrow,
        kinds_of_arrow,
        target,
        splits=sides,
        copies=copies,
        groups=groups,
        given=not by_share,
        seed=request.split_seed,
    )
    for name, kind in kinds_of_arrow.items():
        if kind in media and (pa.types.is_string(arrow[name].type) or pa.types.is_large_string(arrow[name].type)):
            findings += find_files(name, arrow[name], source.folder, outside=request.outside)
    return Description(
        request,
        source,
        plain.guesses,
        plain.roles,
        plain.inputs,
        target,
        sides,
        ids,
        _words(columns[request.group[0]]) if request.group else None,
        _how(request, copies, by_share=by_share),
        findings,
        plain.problems,
    )


def _how(request: Request, copies: Array, *, by_share: bool) -> str:
    if not by_share:
        return f"as column {request.splits} says"
    how = ["by time" if request.time else "stratified"]
    if request.group:
        how.append(f"by {request.group[0]}")
    how.append(f"seed {request.split_seed}")
    if not request.group and (repeated := int((copies != np.arange(len(copies))).sum())):
        how.append(f"{repeated:,} cop{'ies' if repeated > 1 else 'y'} kept together with what they repeat")
    return ", ".join(how)


def _times(column: pa.ChunkedArray) -> Array:
    if pa.types.is_floating(column.type):
        return column.to_numpy().astype(np.float64)
    if pa.types.is_integer(column.type) and column.null_count == 0:
        return column.to_numpy()
    return dates(column)


def _words(column: pa.ChunkedArray) -> list[str]:
    return [f"row {row}" if value is None else value for row, value in enumerate(strings(column).to_pylist())]


def _ids(request: Request, source: Source) -> list[str] | None:
    if request.id is None:
        return None
    ids = strings(source.columns[request.id]).to_pylist()
    if None in ids:
        raise DataError(f"--id: row {ids.index(None)} has no value in column {request.id}; name every row")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise DataError(f"--id: {twice} stands in column {request.id} more than once; an id names one row")
    return ids
