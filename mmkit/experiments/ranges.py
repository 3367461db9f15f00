"""What a search for options may choose from, read off the signatures of components.

A range is a short list of values around the default, since a search has time for tens of trainings, not thousands, and
since such values read well in a label. What the user gave is fixed.
"""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from mmkit.errors import UsageError
from mmkit.model.combination import Combination
from mmkit.plugin import Component
from mmkit.registry.options import Choice, Option, options_of, parts_of, validated

RATE = "train.lr"
SHARES = tuple(round(0.05 * step, 2) for step in range(11))
"""The values of a share, such as dropout: none to a half."""
LIMIT = 4096
"""A whole number above is no size: it limits something."""


class Range(NamedTuple):
    """The values of one option.

    Args:
        values: that there are; of ordered ones the least first.
        default: that the component has.
        ordered: whether values beside each other are alike.
    """

    values: tuple[Any, ...]
    default: Any
    ordered: bool = False


def range_of(option: Option) -> Range | None:
    """The range of an option of a component; None where it is left alone.

    Whole numbers are halved and doubled, as sizes are; shares (0 up to 1) go from none to a half; other positive
    numbers with a bound are quartered to quadrupled. `Literal` and bool take all of their values. The rest is left
    alone: text, files, components, numbers without a bound, and what is None by default.

    >>> from typing import Annotated
    >>> from annotated_types import Gt
    >>> range_of(Option("width", Annotated[int, Gt(0)], 64)).values
    (32, 64, 128)
    """
    annotation: Any = option.annotation
    default: Any = option.default
    parts = list(parts_of(annotation))
    if default is None or any(isinstance(part, Component) for part in parts):
        return None
    plain = _without_none(annotation)
    if plain is bool:
        return Range((False, True), default)
    if typing.get_origin(plain) is Literal:
        return Range(typing.get_args(plain), default) if len(typing.get_args(plain)) > 1 else None
    low, high = _bound(parts, "ge", "gt"), _bound(parts, "le", "lt")
    kind = typing.get_args(plain)[0] if hasattr(plain, "__metadata__") else plain
    wanted: Sequence[Any]
    if low is None:
        return None
    if kind is int and 0 < default <= LIMIT:
        wanted = [(default + 1) // 2, default, 2 * default]
    elif kind is float and (low, high) == (0, 1):
        wanted = [*SHARES, default]
    elif kind is float and low >= 0 and default > 0:
        wanted = [float(f"{default * factor:.3g}") for factor in (0.25, 0.5, 1, 2, 4)]
    else:
        return None
    values = tuple(sorted({value for value in wanted if _taken(option, value)}))
    return Range(values, default, ordered=True) if len(values) > 1 and default in values else None


def ranges_of(combination: Combination, rates: Sequence[float]) -> dict[str, Range]:
    """The ranges of a combination, by "fusion.key" and "head.key", and of its learning rate if there are several.

    Args:
        combination: whose encoders, objectives and balance stay as they are.
        rates: the lowest first.
    """
    found: dict[str, Range] = {}
    for owner, choice in _owners(combination).items():
        for name, option in options_of(choice.component).items():
            if name not in choice.given and (one := range_of(option)) is not None:
                found[f"{owner}.{name}"] = one
    if len(rates) > 1:
        found[RATE] = Range(tuple(rates), rates[len(rates) // 2], ordered=True)
    return found


def with_options(combination: Combination, values: Mapping[str, object]) -> Combination:
    """A combination with other options, by the names of `ranges_of`."""
    changed = {}
    for owner, choice in _owners(combination).items():
        own = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{owner}.")}
        changed[owner] = replace(choice, options={**choice.options, **own})
    return replace(combination, fusion=changed.get("fusion"), head=changed["head"])


def _owners(combination: Combination) -> dict[str, Choice]:
    fusion = {"fusion": combination.fusion} if combination.fusion else {}
    return {**fusion, "head": combination.head}


def _without_none(annotation: Any) -> Any:
    """X of `X | None`."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _bound(parts: Sequence[Any], *names: str) -> float | None:
    """The bound that an annotation gives by one of several names."""
    found = itertools.chain.from_iterable((getattr(part, name, None) for name in names) for part in parts)
    return next((float(one) for one in found if isinstance(one, int | float)), None)


def _taken(option: Option, value: object) -> bool:
    """Whether an option takes a value."""
    try:
        validated("", {option.name: value}, {option.name: option})
    except UsageError:
        return False
    return True
