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
"""The column of the factor that samples are grouped by."""
CONTENT = "content"
FOLD = "fold"
OF_EACH = ("row", "id", "split", FOLD, CONTENT)
"""The columns of every table; the others are factors that samples are grouped by."""
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


def write_splits(folder: Path, folds: Sequence[Mapping[Split, SplitContent]]) -> None:
    """Write DIR/splits.parquet: row, id, split, a column a group factor, content; ids as text.

    With several folds a sample has a row in each, and the column `fold` says in which. A table that is there of the
    same data stays.

    Args:
        folder: of the suite.
        folds: the content of each split; of each fold, where there are several.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 (60 ms, and listing plugins needs none)
    from pyarrow import parquet  # noqa: PLC0415

    labels = [
        {name: [one.columns, None if one.groups is None else _labels(one, slice(None))] for name, one in fold.items()}
        for fold in folds
    ]
    note = fingerprint(labels).encode()
    path = folder / FILE
    try:
        if (parquet.read_schema(path).metadata or {}).get(_NOTE) == note:
            return
    except (OSError, pa.ArrowInvalid):
        pass  # missing or damaged: written anew
    parts = [(number, name, one) for number, fold in enumerate(folds, start=1) for name, one in fold.items()]
    names = pa.array(list(dict.fromkeys(name for _, name, _ in parts)), pa.string())
    grouped = any(one.groups is not None for _, _, one in parts)

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
        if grouped:
            columns[GROUP] = pa.array(_labels(one, these), pa.string())
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


def id_as_text(id_: Any) -> str:
    """An id as tables have it; a lone surrogate, which a file name may hold, as its escape."""
    return utf8(str(id_)).decode()


def _labels(content: SplitContent, these: slice) -> list[str | None]:
    """The labels of some samples."""
    if content.groups is None:
        return [None] * len(range(len(content.ids))[these])
    return [None if label is None else id_as_text(label) for label in content.groups[these]]
