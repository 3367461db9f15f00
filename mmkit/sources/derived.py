"""Names of what a column gives to the rows of a table: of a date `NAME.days`, of a list `NAME.0`, of tags `NAME=tag`.

No two columns give the same name: where a derived one is taken, the column's derive from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def derived(name: str, fitted: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The numbers and the categories that a column gives, by name.

    Args:
        name: of the column.
        fitted: how it is read, as `tabular.fit` found.
    """
    kind, name = fitted["kind"], fitted.get("as", name)
    if kind == "number":
        return [name], []
    if kind == "category":
        return [], [name]
    if kind == "numbers":
        return [f"{name}.{place}" for place in range(fitted["size"])], []
    if kind == "tags":
        return [f"{name}={tag}" for tag in fitted["tags"]], []
    return [f"{name}.days"], [f"{name}.{part}" for part in fitted["parts"]]


def apart(fitted: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How columns are read, so that none gives a name that another gives.

    A column that gives itself keeps its name. One whose names are taken derives them from `NAME_2`, which stands in
    `as`.

    Args:
        fitted: how each column of a row is read, by name, as `tabular.fit` found.
    """
    plain = {name for name, one in fitted.items() if one["kind"] in {"number", "category"}}
    taken, found = set(plain), {}
    for name, given in fitted.items():
        one, number = given, 2
        while name not in plain and taken & _all(name, one):
            one, number = {**given, "as": f"{name}_{number}"}, number + 1
        taken |= _all(name, one)
        found[name] = one
    return found


def _all(name: str, fitted: Mapping[str, Any]) -> set[str]:
    numbers, categories = derived(name, fitted)
    return {*numbers, *categories}
