"""Which suites of two sides are of the same data, proven by the fingerprints in their records."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmkit.errors import UsageError
from mmkit.records.content import changed_columns, is_known
from mmkit.records.plans import newest, of_last_plan
from mmkit.records.reading import Read
from mmkit.records.record import Record
from mmkit.titles import counted

Data = dict[int, dict[Any, dict[str, str]]]
"""By number of fold (0 where there is one split), split and column: a fingerprint."""


NAMED = 4
"""Columns and splits that a sentence names."""


@dataclass(frozen=True)
class Side:
    """What one side has of some data.

    Args:
        read: the suite that was written last, whose folder tells the groups of samples.
        records: of the runs that are compared.
        data: their fingerprints.
        left_out: number of runs of other plans, or trained otherwise than the last ones of their combination.
    """

    read: Read
    records: list[Record]
    data: Data
    left_out: int = 0


def paired(a: Sequence[Read], b: Sequence[Read], names: tuple[str, str]) -> tuple[list[tuple[Side, Side]], list[str]]:
    """The suites of both sides that are of the same data, and a line for each that has none on the other side.

    There is a line, too, where a side holds runs that are left out, since they belong to an earlier plan.

    Args:
        a: suites of one side.
        b: suites of the other.
        names: of the sides, for errors.

    Raises:
        UsageError: no two suites are of the same data, or one is of data that cannot be known.
    """
    sides = [_by_data(reads, name) for reads, name in zip((a, b), names, strict=True)]
    for side, name in zip(sides, names, strict=True):
        if not side:
            raise UsageError(f"{name} holds no run that is compared with others; expected the folder of mmkit bench")
    pairs = [(sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]
    if not pairs:
        raise UsageError(_why(list(sides[0].values()), list(sides[1].values()), names))
    left = [
        f"Only in {letter}: suite {one.read.folder} of the task {one.records[0].task}, on other data."
        for letter, side, other in (("A", sides[0], sides[1]), ("B", sides[1], sides[0]))
        for key, one in side.items()
        if key not in other
    ]
    for letter, of in (("A", [a for a, _ in pairs]), ("B", [b for _, b in pairs])):
        if out := sum(one.left_out for one in of):
            left.append(
                f"{counted(out, 'run')} of other plans {'is' if out == 1 else 'are'} in {letter}, and left out."
            )
    return pairs, left


def _by_data(reads: Sequence[Read], name: str) -> dict[str, Side]:
    """The suites of a side by their data, each by its last plan; of those of the same data the last runs count."""
    found: dict[str, list[Side]] = {}
    for read in reads:
        records = [record for record in read.records if record.purpose == "comparison" and record.data]
        if not records:
            continue
        data: Data = {}
        for record in records:
            number = record.fold.number if record.fold else 0
            if data.setdefault(number, record.data) != record.data:
                raise UsageError(
                    f"{read.folder} in {name} holds runs on different data; such runs are not compared: bench into "
                    "folders of their own"
                )
        unknown = [
            c for of in data.values() for split in of.values() for c, hash_ in split.items() if not is_known(hash_)
        ]
        if unknown:
            raise UsageError(
                f"{read.folder} in {name}: {unknown[0]} has no fingerprint, so nothing proves that both sides are of "
                "the same data; give it as values that have content"
            )
        key = json.dumps([records[0].metric, data], sort_keys=True)
        found.setdefault(key, []).append(Side(read, records, data))
    return {key: _joined(sides) for key, sides in found.items()}


def _joined(sides: Sequence[Side]) -> Side:
    """The suites of one side that are of the same data, as one."""
    in_order = sorted(sides, key=lambda one: one.read.written)
    records = newest([record for one in in_order for record in of_last_plan(one.records)])
    return replace(in_order[-1], records=records, left_out=sum(len(one.records) for one in sides) - len(records))


def _why(a: Sequence[Side], b: Sequence[Side], names: tuple[str, str]) -> str:
    """Why no two suites are of the same data."""
    if len(a) > 1 or len(b) > 1:
        return f"no suite of {names[0]} is of the same data as one of {names[1]}"
    then, now = a[0], b[0]
    if then.data.keys() != now.data.keys():
        folds = [side.records[0].fold for side in (then, now)]
        shapes = ["one split" if fold is None else f"{fold.of} folds" for fold in folds]
        return f"{names[0]} has {shapes[0]} and {names[1]} {shapes[1]}; only runs on the same samples are compared"
    if then.data == now.data:
        metrics = [side.records[0].metric for side in (then, now)]
        return (
            f"{names[0]} is ranked by {metrics[0]} and {names[1]} by {metrics[1]}; only runs of one task are compared"
        )
    targets = [_target(side.records[0]) for side in (then, now)]
    if all(targets) and targets[0] != targets[1]:
        return (
            f"the targets of {names[0]} and {names[1]} differ: {' and '.join(targets)}; only runs that predict the "
            "same are compared"
        )
    places: dict[str, list[str]] = {}
    for number in then.data:
        for split, columns in changed_columns(then.data[number], now.data[number]).items():
            places.setdefault(_several(columns), []).append(split + (f" in fold {number}" if number else ""))
    every = sum(map(len, then.data.values()))
    told = [f"{columns} of {'all splits' if len(of) == every > 1 else _several(of)}" for columns, of in places.items()]
    return (
        f"{names[0]} and {names[1]} are of different data: {'; '.join(told[:3])}{' and more' if told[3:] else ''} "
        "differ; only runs on the same data are compared"
    )


def _several(names: Sequence[str]) -> str:
    """Some names in words, the first of many."""
    shown = list(names) if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return " and ".join([one for one in (", ".join(shown[:-1]), shown[-1]) if one])


def _target(record: Record) -> str:
    """The columns of a user's own data that are predicted; empty of other tasks."""
    found = re.match(r'own-data:(?:.*?,)?target=("(?:[^"\\]|\\.)*"|[^,]*)', record.task)
    return found[1] if found else ""
