"""The table of a suite's samples: which split each is in, what groups it belongs to, and a checksum of its content."""

from __future__ import annotations

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
    contents = [one for _, _, one in parts]
    columns: dict[str, Any] = {
        "row": pa.array(np.concatenate([np.arange(len(one.ids)) for one in contents])),
        "id": pa.array([id_as_text(id_) for one in contents for id_ in one.ids], pa.string()),
        "split": pa.array([name for _, name, one in parts for _ in one.ids], pa.string()).dictionary_encode(),
    }
    if len(folds) > 1:
        columns[FOLD] = pa.array([number for number, _, one in parts for _ in one.ids], pa.int32())
    if len(folds) > 1 and order is not None:
        places = {id_: place for place, id_ in enumerate(order)}
        columns[PLACE] = pa.array([places[id_] for one in contents for id_ in one.ids], pa.int64())
    for name in dict.fromkeys(name for one in contents for name in one.groups):
        labels = [label for one in contents for label in _labels(one, name)]
        columns[GROUP if name == GROUP else f"{GROUP} {name}"] = pa.array(labels, pa.string())
    columns[CONTENT] = pa.array(np.concatenate([one.rows for one in contents]))
    with replacing(path) as (fresh,):
        parquet.write_table(pa.table(columns).replace_schema_metadata({_NOTE: note}), fresh)


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


def _labels(content: SplitContent, factor: str) -> list[str | None]:
    labels = content.groups.get(factor, [None] * len(content.ids))
    return [None if label is None else id_as_text(label) for label in labels]
