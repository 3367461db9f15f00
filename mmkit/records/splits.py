"""The table of a suite's samples: which split each is in, what groups it belongs to, and a checksum of its content."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmkit.contract import Split
from mmkit.data.content import SplitContent
from mmkit.system.files import replacing, utf8
from mmkit.system.hashing import fingerprint

FILE = "splits.parquet"
GROUP = "group"
"""The column of the factor that samples are grouped by; of several it begins so, and their names follow."""
PLACE = "place"
"""The column of the place of a sample among all, where there are folds."""
CONTENT = "content"
FOLD = "fold"
AT_ONCE = 65_536
"""Samples that are written together."""
_NOTE = b"mmkit.data"


class Row(NamedTuple):
    """A sample as the table has it.

    Args:
        row: its place in its split, from 0.
        content: a checksum of its inputs and its truth.
    """

    row: int
    content: int


def write_splits(
    folder: Path, folds: Sequence[Mapping[Split, SplitContent]], order: Sequence[Any] | None = None
) -> None:
    """Write DIR/splits.parquet: row, id, split, a column a group factor, content; ids as text.

    With several folds a sample has a row in each, the column `fold` says in which, and `place` its place among all. A
    table that is there of the same data stays.

    Args:
        folder: of the suite.
        folds: the content of each split; of each fold, where there are several.
        order: the ids of all samples, where there are folds: the order of the scores of a fold.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 (60 ms, and listing plugins needs none)
    from pyarrow import parquet  # noqa: PLC0415

    known = [
        {name: [one.columns, {of: _labels(one, of) for of in one.groups}] for name, one in fold.items()}
        for fold in folds
    ]
    note = fingerprint(known).encode()
    path = folder / FILE
    try:
        if (parquet.read_schema(path).metadata or {}).get(_NOTE) == note:
            return
    except (OSError, pa.ArrowInvalid):
        pass  # missing or damaged: written anew
    parts = [(number, name, one) for number, fold in enumerate(folds, start=1) for name, one in fold.items()]
    names = pa.array(list(dict.fromkeys(name for _, name, _ in parts)), pa.string())
    factors = list(dict.fromkeys(factor for _, _, one in parts for factor in one.groups))
    places = {id_: place for place, id_ in enumerate(order)} if len(folds) > 1 and order is not None else None

    def table_of(number: int, name: Split, one: SplitContent, start: int) -> Any:
        """Some samples of a split, as `AT_ONCE` bounds what is in memory."""
        rows = np.arange(start, min(start + AT_ONCE, len(one.ids)))
        these = slice(start, start + AT_ONCE)
        split = np.full(len(rows), names.to_pylist().index(name), np.int32)
        columns: dict[str, Any] = {
            "row": pa.array(rows),
            "id": pa.array([id_as_text(id_) for id_ in one.ids[these]], pa.string()),
            "split": pa.DictionaryArray.from_arrays(split, names),
        }
        if len(folds) > 1:
            columns[FOLD] = pa.array(np.full(len(rows), number, np.int32))
        if places is not None:
            columns[PLACE] = pa.array([places[id_] for id_ in one.ids[these]], pa.int64())
        for factor in factors:
            column = GROUP if factor == GROUP else f"{GROUP} {factor}"
            columns[column] = pa.array(_labels(one, factor, these), pa.string())
        columns[CONTENT] = pa.array(one.rows[these])
        return pa.table(columns).replace_schema_metadata({_NOTE: note})

    tables = (table_of(*part, start) for part in parts for start in range(0, len(part[2].ids), AT_ONCE))
    first = next(tables)  # no split is empty
    with replacing(path) as (fresh,), parquet.ParquetWriter(fresh, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def read_splits(folder: Path, fold: int = 0) -> dict[str, dict[str, Row]]:
    """The samples by split and id, as text; empty where the table is missing or cannot be read.

    Args:
        folder: of the suite.
        fold: of which fold; 0 where there is one split.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        table = parquet.read_table(folder / FILE, filters=[(FOLD, "=", fold)] if fold else None)
        columns = [table.column(name).to_pylist() for name in ("split", "id", "row", CONTENT)]
    except (OSError, KeyError, pa.ArrowInvalid):
        return {}
    found: dict[str, dict[str, Row]] = {}
    for split, id_, row, content in zip(*columns, strict=True):
        found.setdefault(split, {})[id_] = Row(row, content)
    return found


def read_groups(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The groups of the test samples by factor, [N] labels in the order of a run's scores; empty where there are none.

    A sample without a label is a group of its own.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        names = parquet.read_schema(folder / FILE).names
        factors = {name.removeprefix(GROUP).strip() or GROUP: name for name in names if name.partition(" ")[0] == GROUP}
        if not factors:
            return {}
        place = PLACE if PLACE in names else "row"
        table = parquet.read_table(folder / FILE, columns=[place, *factors.values()], filters=[("split", "=", "test")])
    except (OSError, KeyError, pa.ArrowInvalid):
        return {}
    order = np.argsort(table.column(place).to_numpy(), kind="stable")
    found = {}
    for factor, name in factors.items():
        labels = np.array(table.column(name).to_pylist(), object)[order]
        alone = np.array([label is None for label in labels])
        _, numbers = np.unique(np.where(alone, "", labels).astype(str), return_inverse=True)
        numbers[alone] = len(labels) + np.flatnonzero(alone)
        found[factor] = numbers
    return found


def id_as_text(id_: Any) -> str:
    """An id as tables have it; a lone surrogate, which a file name may hold, as its escape."""
    return utf8(str(id_)).decode()


def _labels(content: SplitContent, factor: str, these: slice = slice(None)) -> list[str | None]:
    """The labels of some samples by a factor."""
    if factor not in content.groups:
        return [None] * len(range(len(content.ids))[these])
    return [None if label is None else id_as_text(label) for label in content.groups[factor][these]]
