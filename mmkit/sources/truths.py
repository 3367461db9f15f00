"""The truth of a labelled table, read as that of training was: for measuring a saved model on new rows.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError
from mmkit.sources import tabular
from mmkit.sources.memory import Column
from mmkit.sources.numbers import ABSENT
from mmkit.sources.target import Target
from mmkit.sources.targets import as_json
from mmkit.sources.types import is_list, is_text, usual
from mmkit.transforms.truth import TWINS, category_name


def truth_layout(names: Sequence[str], target: Target, columns: Mapping[str, Column]) -> dict[str, Any]:
    """How the truth is made of columns, as plain JSON.

    Args:
        names: of the target's columns.
        target: as it was read.
        columns: of the source.
    """
    numbers = {}
    for name in names if target.kind == "scalar" else ():
        column = columns[name]
        if not isinstance(column, list) and not is_list(column.type):
            numbers[name] = tabular.fit(name, "number", column, np.arange(0))
    joined = False
    if target.kind == "labels" and not isinstance(column := columns[names[0]], list) and is_text(usual(column).type):
        joined = not as_json(usual(column))
    return {"columns": list(names), "kind": target.kind, "numbers": numbers, "joined": joined}


def plain_truth(names: Sequence[str], kind: str, decimal: str | None = None) -> dict[str, Any]:
    """How truth is read that no table of training has said anything of: numbers as they are, labels as lists or `a|b`.

    Args:
        names: of the target's columns.
        kind: of the target.
        decimal: the sign of fractions, "point" or "comma"; None is a point.
    """
    number = tabular.with_decimal(tabular.PLAIN_NUMBER, decimal or "point")
    numbers = dict.fromkeys(names, number) if kind == "scalar" else {}
    return {"columns": list(names), "kind": kind, "numbers": numbers, "joined": True}


def truths(
    layout: Mapping[str, Any], known: Sequence[str], columns: Mapping[str, Column]
) -> tuple[list[Any], dict[int, str]]:
    """The raw truth of each row, None where it is missing, and why that of others cannot be taken.

    Args:
        layout: what `truth_layout` gave.
        known: the classes, labels or numbers of the model, in order.
        columns: of the table; those of the target are among them.

    Returns:
        [N] raw truth; and reasons by row, of rows whose truth is None though something is there.
    """
    kind, names = layout["kind"], layout["columns"]
    if kind == "scalar":
        return _numbers(layout, len(known), columns)
    column = columns[names[0]]
    cells = list(column) if isinstance(column, list) else usual(column).to_pylist()
    names_known = set(known)
    found: list[Any] = []
    wrong: dict[int, str] = {}
    for row, cell in enumerate(cells):
        truth = None
        try:
            truth = _of_cell(kind, cell, names_known, joined=layout["joined"])
        except DataError as error:
            wrong[row] = str(error)
        found.append(truth)
    return found, wrong


def _of_cell(kind: str, cell: Any, known: set[str], *, joined: bool) -> Any:
    if cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip()):  # noqa: PLR0124 (NaN)
        return None
    if kind == "text":
        return str(cell)
    if kind == "classes":
        return _category("class", cell, known)
    if isinstance(cell, str):
        lists = tabular.lists_in(pa.chunked_array([[cell]]))[0].as_py() if not joined else cell.split("|")
        if lists is None:
            raise DataError(f"{cell!r} is no list of labels")
        cell = lists
    if not isinstance(cell, Sequence):
        raise DataError(f"{cell!r} is no list of labels")
    return [_category("label", one, known) for one in cell if one is not None and str(one).strip()]


def _category(what: str, cell: Any, known: set[str]) -> str | None:
    """The class or label of the model that a cell names; None where it is a sign for "missing" among numbers.

    Raises:
        DataError: the model knows none of that name.
    """
    name = category_name(cell if isinstance(cell, str | int | float | bool) else str(cell))
    for given in (name, TWINS.get(name, name), name.removesuffix(".0")):
        if given in known:
            return given
    if what == "class" and name.lower() in ABSENT and any(one.removeprefix("-").isdecimal() for one in known):
        return None
    raise DataError(f"{what} {name!r} is none that the model knows")


def _numbers(layout: Mapping[str, Any], size: int, columns: Mapping[str, Column]) -> tuple[list[Any], dict[int, str]]:
    """The numbers of each row, from a column each or from one of lists."""
    parts: list[np.ndarray[Any, np.dtype[Any]]] = []
    wrong: dict[int, str] = {}
    for name in layout["columns"]:
        fitted = layout["numbers"].get(name, {"kind": "numbers", "size": size})
        cells = tabular.read(name, fitted, columns[name])
        parts += cells.numbers.values()
        for row in np.flatnonzero(cells.wrong).tolist():
            wrong.setdefault(row, f"column {name}: not {cells.expected}")
    values = np.stack(parts, 1)  # [N C]
    finite = np.isfinite(values).all(1).tolist()
    whole = [row if good else None for row, good in zip(values.tolist(), finite, strict=True)]
    return [row if row is None or len(row) > 1 else row[0] for row in whole], wrong
