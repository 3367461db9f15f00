"""The ways in which a component's options may be set, where they can be counted: one changed at a time."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from mmkit.registry.options import Choice, options_of


def variants(choice: Choice) -> Iterator[dict[str, object]]:
    """Every other value of each option that is a choice, a switch, or may be none; not all combinations of them.

    >>> class Shift:
    ...     def __init__(self, *, by: Literal["row", "column"] = "row", wrap: bool = False, size: int = 3): ...
    >>> list(variants(Choice("encoder", "shift", None, (Shift,), {"by": "row", "wrap": False, "size": 3})))
    [{'by': 'column'}, {'wrap': True}]
    """
    for name, option in options_of(*choice.factories).items():
        for value in countable(option.annotation):
            if value != choice.options[name] or type(value) is not type(choice.options[name]):
                yield {name: value}


def countable(annotation: Any) -> list[object]:
    """The values of a choice or a switch, and None where it is one; of anything else none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return countable(arguments[0])
    if origin is Literal:
        return list(arguments)
    if origin in {typing.Union, types.UnionType}:
        return [value for part in arguments for value in countable(part)]
    if annotation is bool:
        return [False, True]
    return [None] if annotation in {None, type(None)} else []
