"""The formats of files of answers: Parquet, CSV, JSON lines, Arrow."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from mmkit.errors import UsageError
from mmkit.sources.types import is_bytes, is_text
from mmkit.system.files import utf8

PARQUET, CSV, LINES, ARROW = (".parquet", ".pq"), (".csv", ".tsv"), (".jsonl", ".ndjson"), (".arrow", ".feather")
EXTENSIONS = (*PARQUET, *CSV, *LINES, *ARROW)
"""Of the files that answers are written to."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line that a file cannot be written.

    Raises:
        UsageError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; the same command goes on") from error
    except pa.ArrowException as error:
        raise UsageError(f"cannot write {path}: {' '.join(str(error).split())}; --include fewer columns") from error


def write(path: Path, kind: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables, one after the other, as one file.

    Args:
        path: of the file.
        kind: its extension.
        schema: of every table.
        tables: each becomes a row group, where the format has those.

    Raises:
        UsageError: the format cannot hold a column.
        OSError: the file cannot be written.
    """
    if kind in PARQUET:
        with pa.parquet.ParquetWriter(path, schema) as writer:
            for table in tables:
                writer.write_table(table)
    elif kind in ARROW:
        with pa.ipc.new_file(str(path), schema) as file:
            for table in tables:
                file.write_table(table)
    elif kind in CSV:
        plain = _plain_schema(schema)
        options = pa.csv.WriteOptions(delimiter="\t" if kind == ".tsv" else ",")
        with pa.csv.CSVWriter(str(path), plain, write_options=options) as sheet:
            for table in tables:
                sheet.write_table(_plain(table, plain))
    else:
        with path.open("wb") as lines:
            for table in tables:
                lines.writelines(_lines(table))


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as a file of CSV has them: lists and objects are strings."""
    plain = [pa.field(one.name, pa.string() if pa.types.is_nested(one.type) else one.type) for one in schema]
    return pa.schema(plain)


def _plain(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        pa.array(list(map(_in_a_cell, column.to_pylist())), pa.string()) if pa.types.is_nested(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, schema=schema)


def _in_a_cell(value: Any) -> str | None:
    """A list of strings with | between them, as it is read back; anything else nested as JSON."""
    if value is None:
        return None
    joined = isinstance(value, list) and all(isinstance(one, str) and "|" not in one for one in value)
    return "|".join(value) if joined else json.dumps(_finite(value), ensure_ascii=False, default=str)


def _lines(table: pa.Table) -> Iterator[bytes]:
    names: Sequence[str] = table.column_names
    rows = zip(*(_json_values(column) for column in table.columns), strict=True)
    for row in rows:
        cells: Mapping[str, Any] = dict(zip(names, row, strict=True))
        yield utf8(json.dumps(cells, ensure_ascii=False, allow_nan=False, default=str)) + b"\n"


def _json_values(column: pa.ChunkedArray) -> list[Any]:
    """Values that JSON has, null for numbers that are not finite; those of 32 bits as the shortest that reads back."""
    if is_bytes(column.type):
        raise UsageError("JSON lines take no bytes; --include no column of them, or write Parquet")
    values = column.to_pylist()
    if pa.types.is_float32(column.type):
        values = [None if value is None else float(str(np.float32(value))) for value in values]
    plain = pa.types.is_integer(column.type) or is_text(column.type)
    return values if plain else list(map(_finite, values))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return list(map(_finite, value)) if isinstance(value, list | tuple) else value
