"""The table of values that could not be used: DIR/unread.parquet, for all runs of a suite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmkit.system.files import replacing, utf8

FILE = "unread.parquet"


class Unread(NamedTuple):
    """A value that could not be read or transformed.

    Args:
        row: place of its sample in the split, from 0.
        id: of its sample, as text.
        column: "truth", or "input NAME".
        split: that the sample is in.
        reason: why.
    """

    row: int
    id: str
    column: str
    split: str
    reason: str

    @property
    def line(self) -> str:
        """One line for people."""
        return f"sample {self.id}, {self.column}: {self.reason}"


def read_unread(folder: Path) -> list[Unread]:
    """The values that the table names; none where there is no table, or none that can be read."""
    import pyarrow as pa  # noqa: PLC0415 (60 ms, and most suites have none)
    from pyarrow import parquet  # noqa: PLC0415

    try:
        columns = parquet.read_table(folder / FILE).select(Unread._fields).to_pydict()
    except (OSError, KeyError, pa.ArrowInvalid):
        return []
    return [Unread(*row) for row in zip(*columns.values(), strict=True)]


def add_unread(folder: Path, values: Iterable[Unread]) -> None:
    """Add values to the table; each stands in it once.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    known = dict.fromkeys(read_unread(folder))
    merged = dict.fromkeys([*known, *map(_plain, values)])
    if merged.keys() == known.keys():
        return
    columns = {name: [getattr(one, name) for one in merged] for name in Unread._fields}
    with replacing(folder / FILE) as (fresh,):
        parquet.write_table(pa.table(columns), fresh)


def _plain(value: Unread) -> Unread:
    """The same in UTF-8; a lone surrogate, which a file name may hold, as its escape."""
    row, *texts = value
    return Unread(row, *(utf8(text).decode() for text in texts))
