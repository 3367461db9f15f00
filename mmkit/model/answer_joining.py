"""The parts of a file of answers, joined: what all of them say together, and the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mmkit.errors import DataError
from mmkit.model.answer_formats import write, writing
from mmkit.model.answer_jobs import NOTE
from mmkit.model.table_rows import Broken, Unread
from mmkit.sources.formats import extension
from mmkit.system.files import replacing

GROUP = 16
"""Parts that become one row group of Parquet, which is 65,536 rows."""


@dataclass
class Summary:
    """What was answered.

    Args:
        out: the file.
        rows: of the table.
        skipped: rows without an answer.
        missing: rows in which an input is missing, by input.
        absent: rows in which a column that the model reads was not there, by column.
        unread: how many values could not be used.
        first_unread: the first of them.
        unread_in: the file that has all of them; None where there are none.
    """

    out: Path
    rows: int = 0
    skipped: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    first_unread: list[Unread] = field(default_factory=list)
    unread_in: Path | None = None


def join(parts: Sequence[Path], summary: Summary) -> None:
    """Write the file of answers, and that of the values that could not be used.

    Raises:
        UsageError: it cannot be written.
        DataError: a column has values that no file can hold together.
    """
    schema = _schema(parts)
    _unread_file(summary.out, parts, summary)
    with writing(summary.out), replacing(summary.out) as (fresh,):
        write(fresh, extension(summary.out), schema, _groups(parts, schema))


def _notes(parts: Sequence[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of rows of each part, and what it says of them."""
    for path in parts:
        with pa.parquet.ParquetFile(path) as file:
            yield file.metadata.num_rows, json.loads((file.schema_arrow.metadata or {})[NOTE])


def summary_of(out: Path, parts: Sequence[Path], where: str) -> Summary:
    """What all parts say together.

    Raises:
        DataError: more than half of a column or of an input cannot be used.
    """
    found, broken = Summary(out), Broken()
    for rows, note in _notes(parts):
        found.rows += rows
        found.skipped += note["skipped"]
        for name, count in note["missing"].items():
            found.missing[name] = found.missing.get(name, 0) + count
        for name in note["absent"]:
            found.absent[name] = found.absent.get(name, 0) + rows
        found.unread += len(note["unread"])
        unread = [Unread(*one) for one in note["unread"]]
        found.first_unread += unread[: 20 - len(found.first_unread)]
        broken.add(note["values"], unread)
    broken.check(where)
    return found


def _unread_file(out: Path, parts: Sequence[Path], summary: Summary) -> None:
    """Write the values that could not be used, or remove what an earlier job has left of that name."""
    path = out.with_name(f"{out.name}.unread.parquet")
    if not summary.unread:
        path.unlink(missing_ok=True)
        return
    schema = pa.schema([("row", pa.int64()), ("column", pa.string()), ("reason", pa.string())])
    with writing(path), replacing(path) as (fresh,), pa.parquet.ParquetWriter(fresh, schema) as writer:
        for _, note in _notes(parts):
            rows = [dict(zip(schema.names, one, strict=True)) for one in note["unread"]]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    summary.unread_in = path


def _schema(parts: Sequence[Path]) -> pa.Schema:
    """The columns of all parts, each of a type that holds them all.

    Raises:
        DataError: there is none.
    """
    schemas = [pa.parquet.read_schema(path).remove_metadata() for path in parts]
    unique = list({str(one): one for one in schemas}.values())
    try:
        return pa.unify_schemas(unique, promote_options="permissive")
    except pa.ArrowException:  # of JSON lines, whose types may change: they become strings
        kinds: dict[str, dict[str, pa.DataType]] = {}
        for one in (one for schema in unique for one in schema):
            kinds.setdefault(one.name, {})[str(one.type)] = one.type
        for name, several in kinds.items():
            if len(several) > 1 and any(map(pa.types.is_nested, several.values())):
                raise DataError(f"column {name} holds {', '.join(several)}; leave it out of --include") from None
        return pa.schema([(n, next(iter(k.values())) if len(k) == 1 else pa.string()) for n, k in kinds.items()])


def _groups(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """The parts in order, some of them at a time."""
    for start in range(0, len(parts), GROUP):
        tables = [_as(pa.parquet.read_table(path), schema) for path in parts[start : start + GROUP]]
        yield pa.concat_tables(tables).combine_chunks()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(one.name).cast(one.type) if one.name in table.column_names else pa.nulls(len(table), one.type)
        for one in schema
    ]
    return pa.table(columns, schema=schema)
