"""A sheet of a spreadsheet as a table: numbers, dates, bools and strings as its cells hold them.

A workbook with several sheets that have rows is asked for one of them, `sales.xlsx#March`.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pyarrow as pa

from mmkit.errors import DataError, UnavailableError

SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
"""Extensions of workbooks."""
_NAMED = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, SHEETS))}))#(.+)", re.IGNORECASE | re.DOTALL)
_NAMELESS = "__UNNAMED__"


def sheet_in(data: str) -> tuple[Path, str] | None:
    """The workbook and the sheet that a name asks for, `sales.xlsx#March`; None where it names no sheet."""
    if (found := _NAMED.fullmatch(data)) is None:
        return None
    path, sheet = Path(found[1]), found[2]
    try:
        return (path, sheet) if path.exists() and not Path(data).exists() else None
    except OSError:  # a name that no file can have
        return None


def read_sheet(path: Path, sheet: str = "") -> pa.Table:
    """The table of a sheet, whose first line names its columns.

    A column with cells of several types holds strings; a cell with an error, as of a division by zero, is missing.

    Args:
        path: of the workbook.
        sheet: its name; empty is the only one that has rows.

    Raises:
        UnavailableError: fastexcel is not installed.
        DataError: it is no workbook, there is no such sheet, or several have rows and none was named.
    """
    try:
        import fastexcel  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UnavailableError(
            f'{path} is a spreadsheet, which fastexcel reads: pip install "mmkit-core[excel]"; or save its sheet as CSV'
        ) from error
    logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it warns of each column without a value
    try:
        book = fastexcel.read_excel(path)
        if sheet and sheet not in book.sheet_names:
            raise DataError(f"{path} has no sheet {sheet!r}; it has {', '.join(map(repr, book.sheet_names))}")
        # All cells are looked at for the type of a column: those of another type would be missing without a word.
        read = {
            name: book.load_sheet(name, schema_sample_rows=None, skip_whitespace_tail_rows=True).to_arrow()
            for name in ([sheet] if sheet else book.sheet_names)
        }
    except fastexcel.FastExcelError as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as {path.suffix[1:].lower()}: {said}") from error
    full = [name for name, table in read.items() if table.num_rows]
    if len(full) > 1:
        raise DataError(
            f"{path} has several sheets with rows, {', '.join(map(repr, full))}; name one, as in '{path}#{full[0]}'"
        )
    table = read[full[0] if full else next(iter(read))]
    names = [
        f"column_{place}" if name.startswith(_NAMELESS) else name.strip()
        for place, name in enumerate(table.schema.names, 1)
    ]
    return pa.table(table.columns, names)
