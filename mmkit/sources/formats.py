"""One file of a table, read into Arrow: CSV, TSV, JSON lines, Parquet, Arrow, a spreadsheet.

Types are not left to a reader: of CSV every cell is a string, and an empty one is missing. What a column is, is found
afterwards, when all of it is known.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import itertools
import json
import re
import shlex
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet

from mmkit.errors import DataError
from mmkit.sources.sheets import SHEETS, read_sheet
from mmkit.system.files import utf8

DELIMITED = {".csv": "", ".tsv": "\t", ".tab": "\t"}
LINES = (".jsonl", ".ndjson", ".json")
ARROW = (".arrow", ".feather", ".ipc")
EXTENSIONS = (*DELIMITED, *LINES, ".parquet", ".pq", *ARROW, *SHEETS)
"""Of files that are tables; those of text may be compressed, as `.csv.gz`."""
PACKED = (".gz", ".bz2", ".zst")

CELL = 64 * 2**20
"""The most bytes of a cell; a row of CSV or a line of JSON that is longer is refused, too."""
DEPTH = 64
"""Lists and objects within each other that a value may have."""
_CONTROLS = 0xA0  # bytes from 0x80 to here are letters of windows-1252, and none of latin1
_BLOCKS = (4 * 2**20, 2 * CELL)
"""Bytes that are parsed at once: a row has to fit, so the second is tried where the first does not do."""
_OTHER_DELIMITERS = ";\t|"
_SAID = re.compile(r'"?sep=([^"\r\n])"?[;,\t|]*\s*', re.IGNORECASE)
"""A first line that names the delimiter, as spreadsheets write and read it."""
_ROWS = 65_536  # of Parquet that are read at once


def extension(path: Path) -> str:
    """The extension that says of what kind a file is, in lower case: `.csv` of `A.CSV.gz`."""
    suffixes = [one.lower() for one in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in PACKED:
        return suffixes[-2]
    return suffixes[-1] if suffixes else ""


def read_file(path: Path) -> pa.Table:
    """The table of a file.

    Raises:
        DataError: it is not there, no plain file, of no known kind, or cannot be read.
    """
    return pa.concat_tables(parts_of(path))


def parts_of(path: Path, over: int = 0) -> Iterator[pa.Table]:
    """The table of a file in parts of one schema, of which CSV and Parquet need no more than one in memory.

    Args:
        path: of the file.
        over: rows at the beginning that are left out; of Parquet whole row groups of them are not read.

    Raises:
        DataError: as `read_file`, at the part that cannot be read.
    """
    kind = extension(path)
    if kind not in EXTENSIONS:
        raise DataError(no_table(path, ", ".join(EXTENSIONS)))
    plain_file(path)
    with told(path):
        if kind in DELIMITED:
            yield from map(checked, without_rows(_delimited(path, DELIMITED[kind]), over))
        elif kind in LINES:
            yield checked(flat(_json(path), path)).slice(over)
        elif kind in ARROW:
            yield flat(arrow_file(path), path).slice(over)
        elif kind in SHEETS:
            yield checked(read_sheet(path)).slice(over)
        else:
            yield from (checked(flat(part, path)) for part in _parquet(path, over))


def without_rows(tables: Iterable[pa.Table], over: int) -> Iterator[pa.Table]:
    """Tables without so many rows at the beginning; one that loses all of them is empty."""
    for table in tables:
        yield table.slice(over)
        over = max(0, over - len(table))


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in one line what Arrow says of a file that cannot be read.

    Raises:
        DataError: it cannot.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path)) from error
    except (pa.ArrowException, OSError, csv.Error, EOFError, RecursionError) as error:
        said = " ".join(str(error).split())
        if "UTF8" in said:
            raise DataError(_not_utf8(path)) from error
        raise DataError(f"{path} cannot be read as {extension(path)[1:]}: {said[:300]}") from error


def no_table(path: Path, expected: str) -> str:
    """What is said of a file of another kind."""
    if path.suffix.lower() == ".numbers":
        return f"{path} is a spreadsheet, which is not read; save its sheet as CSV"
    return f"{path} is no table that can be read; expected {expected}"


def _not_utf8(path: Path) -> str:
    """Where a file of text is not UTF-8, and how it is converted."""
    where, code = "", "latin1"
    delimited = extension(path) in DELIMITED
    with contextlib.suppress(OSError, pa.ArrowException, UnicodeDecodeError), pa.input_stream(str(path)) as stream:
        number, head = 0, ""
        for number, line in enumerate(io.BufferedReader(stream), 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                code = "windows-1252" if line[error.start] < _CONTROLS else "latin1"
                where = f": line {number}{_cell(head, line, code) if delimited else ''}"
                break
            head = head or text
    if path.suffix.lower() in PACKED:
        return f"{path} is not UTF-8{where}; convert it"
    fresh = path.with_suffix(f".utf8{path.suffix}")
    command = shlex.join(["iconv", "-f", code, "-t", "utf-8", str(path)])
    return f"{path} is not UTF-8{where}; if it is {code}, convert it: {command} > {shlex.quote(str(fresh))}"


def _cell(head: str, line: bytes, code: str) -> str:
    """The column of the first cell of a line that is not UTF-8, and what it holds in another code."""
    delimiter, names, cells = _delimiter(head) if head else ",", [], []
    with contextlib.suppress(csv.Error):  # a carriage return within a line
        names = next(csv.reader([head], delimiter=delimiter), [])
        cells = next(csv.reader([line.decode("latin1")], delimiter=delimiter), [])
    for name, cell in zip(names, cells, strict=False) if len(names) == len(cells) else ():
        given = cell.encode("latin1")
        if not _is_utf8(given):
            return f", column {name}, has {given.decode(code, 'replace')!r:.60}"
    return ""


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parquet(path: Path, over: int) -> Iterator[pa.Table]:
    with pa.parquet.ParquetFile(path, memory_map=True) as file:
        schema = file.schema_arrow
        if any(pa.types.is_dictionary(field.type) for field in schema):  # those of parts would differ
            yield file.read().slice(over)
            return
        yield schema.empty_table()
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        first = 0
        while first < len(groups) and over >= groups[first]:
            over -= groups[first]
            first += 1
        batches = file.iter_batches(_ROWS, row_groups=range(first, len(groups)))
        yield from without_rows((pa.Table.from_batches([batch]) for batch in batches), over)


def plain_file(path: Path) -> None:
    """Check that a path is that of a plain file, without opening it.

    Raises:
        DataError: it is not there, or something that is not read: a device, a pipe, a socket.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"there is no file {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is no plain file; a device, a pipe or a socket is not opened")


def unique(names: Iterable[str], where: object) -> None:
    """Check that no two columns have one name.

    Raises:
        DataError: two have.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{where} has more than one column {twice[0]!r}; give each a name of its own")


def arrow_file(path: Path) -> pa.Table:
    """The table of an Arrow file or stream, which is mapped into memory, and checked, but not copied."""
    source = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        table = pa.ipc.open_stream(source).read_all()
    return checked(table)


def checked(table: pa.Table) -> pa.Table:
    """The table, if every value of it can be read: of a damaged one Arrow would read beyond its end, and strings need
    not be UTF-8.

    Raises:
        pa.ArrowInvalid: a value cannot be read.
        UnicodeDecodeError: the name of a column is not UTF-8.
    """  # noqa: D205 - one sentence
    table.column_names  # noqa: B018 (decoding them is the check)
    table.validate(full=True)
    return table


def _delimited(path: Path, delimiter: str) -> Iterator[pa.Table]:
    encoding = _encoding(path)
    with io.TextIOWrapper(pa.input_stream(str(path)), encoding, newline="") as text:
        head = list(itertools.islice(iter(lambda: text.readline(CELL), ""), 20))
    if not head or not "".join(head).strip():
        raise DataError(f"{path} is empty; a table has a line with the names of its columns")
    said = _SAID.fullmatch(head[0])
    delimiter = said[1] if said else delimiter or _delimiter(head[0])
    given = next(csv.reader(head[1:] if said else head, delimiter=delimiter), [])
    if not given:
        raise DataError(f"{path} has no names of columns after its first line, {head[0].strip()}")
    unique((name for name in given if name), path)
    done = 0
    for block in _BLOCKS:
        try:
            with pa.csv.open_csv(
                pa.input_stream(str(path)),
                pa.csv.ReadOptions(
                    block_size=block, encoding=encoding.removesuffix("-sig"), skip_rows=1 if said else 0
                ),
                pa.csv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=len(given) != 1,  # of one column, an empty line is a row without a value
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(given, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=True,
                ),
            ) as reader:
                names = [name.strip() or f"column_{place}" for place, name in enumerate(reader.schema.names, 1)]
                unique(names, path)
                if not done:
                    yield reader.schema.empty_table().rename_columns(names)
                before = done
                for batch in reader:
                    fresh = batch.slice(before)  # what came before is known
                    before = max(0, before - len(batch))
                    if len(fresh):
                        yield pa.Table.from_batches([fresh]).rename_columns(names)
                        done += len(fresh)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error) or block == _BLOCKS[-1]:
                raise
        else:
            return


def _encoding(path: Path) -> str:
    with pa.input_stream(str(path)) as stream:
        head = stream.read(4)
    return "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


def _delimiter(line: str) -> str:
    """The sign that parts the names of the first line; a comma, unless another is more frequent."""
    outside = "".join(line.split('"')[::2])
    return max(("," + _OTHER_DELIMITERS), key=outside.count)


def _json(path: Path) -> pa.Table:
    """JSON lines, or one array of objects. A column whose type changes holds strings."""
    with pa.input_stream(str(path)) as stream:
        head = stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise DataError(f"{path} is empty; expected one JSON object a line")
    if head[:1] == b"{":
        for block in _BLOCKS:
            try:
                table = pa.json.read_json(
                    pa.input_stream(str(path)),
                    pa.json.ReadOptions(block_size=block),
                    pa.json.ParseOptions(newlines_in_values=False),
                )
                return _dates_as_written(table, path, block)
            except pa.ArrowInvalid:
                pass  # a type that changes, or a line that is longer: read line by line
    return table_of_rows(_rows(path), path)


def _dates_as_written(table: pa.Table, path: Path, block: int) -> pa.Table:
    """The table with strings where Arrow made times of them, so that the same cells are the same in CSV."""
    schema = pa.schema([pa.field(one.name, _without_times(one.type)) for one in table.schema])
    if schema.types == table.schema.types:
        return table
    return pa.json.read_json(
        pa.input_stream(str(path)),
        pa.json.ReadOptions(block_size=block),
        pa.json.ParseOptions(newlines_in_values=False, explicit_schema=schema, unexpected_field_behavior="infer"),
    ).select(table.column_names)


def _without_times(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(one.name, _without_times(one.type)) for one in kind])
    return pa.list_(_without_times(kind.value_type)) if pa.types.is_list(kind) else kind


def _rows(path: Path) -> list[dict[str, Any]]:
    with io.TextIOWrapper(pa.input_stream(str(path)), "utf-8-sig") as text:
        first = text.readline(CELL)
        while first and not first.strip():
            first = text.readline(CELL)
        try:
            if first.lstrip().startswith("["):
                rows = json.loads(first + text.read())
            else:
                rows = [json.loads(line) for line in itertools.chain([first], text) if line.strip()]
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}; expected one JSON object a line") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"row {number} of {path} is a {type(row).__name__}; expected an object of column and value")
    return rows


def table_of_rows(rows: Sequence[Mapping[str, Any]], where: object) -> pa.Table:
    """The table of rows that are mappings; a column that Arrow refuses, as its types change, holds strings."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    unique(names, where)
    columns = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(cells, from_pandas=True)  # NaN is a missing cell
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            columns[name] = pa.array([None if cell is None else written(cell) for cell in cells])
    return pa.table(columns)


def written(cell: Any) -> str:
    """A value as a string: as it is, or as JSON."""
    text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    return utf8(text).decode()  # half a surrogate pair has no place in Arrow


def flat(table: pa.Table, where: object = "the table") -> pa.Table:
    """The table with the fields of objects as columns of their own, `place.city`; what holds bytes stays whole.

    Strings, bytes and lists that are views, as polars has them, become plain ones, which all of Arrow can work with.

    Args:
        table: with columns of objects.
        where: how messages call it.

    Raises:
        DataError: a field would have the name of another column, or values are nested too deeply.
    """
    if any(field.type != _without_views(field.type) for field in table.schema):
        table = table.cast(pa.schema([pa.field(one.name, _without_views(one.type)) for one in table.schema]))
    while any(map(_parted, table.schema)):
        names: list[str] = []
        columns: list[pa.ChunkedArray] = []
        for field, column in zip(table.schema, table.columns, strict=True):
            parts = pa.table({"": column})
            parts = parts.flatten() if _parted(field) else parts
            names += [f"{field.name}{name}" for name in parts.column_names]
            columns += parts.columns
        unique(names, where)
        table = pa.table(columns, names)
    return table


def _without_views(kind: pa.DataType, depth: int = 0) -> pa.DataType:
    if depth > DEPTH:  # Arrow's time for a type grows far faster than its depth
        raise DataError(f"a column holds values nested more than {DEPTH} deep; write them as strings, or leave it out")
    inner = functools.partial(_without_views, depth=depth + 1)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(one.name, inner(one.type)) for one in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(inner(kind.value_type))
    if pa.types.is_large_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(inner(kind.value_type))
    return kind


def _parted(field: pa.Field) -> bool:
    return (
        pa.types.is_struct(field.type)
        and field.type.num_fields > 0
        and not {"bytes", "path"} <= {one.name for one in field.type}
    )
