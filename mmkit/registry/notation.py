"""The notation of components and option values as text: "NAME:key=value,...", values in TOML.

A value that is written here is read back as the same value.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from mmkit.errors import UsageError


class Text(str):
    """The text of a value that a user typed: read as TOML if that fits the annotation, else taken as a string."""

    __slots__ = ()


def parse_component(text: str) -> tuple[str, dict[str, Text]]:
    """Parse "NAME:key=value,..." into the name and the options.

    Only the first ':' and the first '=' of each part split; commas inside brackets and quotes do not.

    >>> parse_component("attention:heads=8,dropout=0.1")
    ('attention', {'heads': '8', 'dropout': '0.1'})

    Raises:
        UsageError: the name is empty, an option has no '=', or one is given twice.
    """
    name, colon, rest = text.partition(":")
    if not name.strip() or (colon and not rest.strip()):
        raise UsageError(f"a component is NAME or NAME:key=value,...; got {text!r}")
    options: dict[str, Text] = {}
    for part in split_commas(rest):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"{part.strip()!r} in {text!r} is not key=value; separate options by commas")
        if key in options:
            raise UsageError(f"option {key} is given twice in {text!r}; give it once")
        options[key] = Text(value.strip())
    return name.strip(), options


def split_commas(text: str) -> Iterator[str]:
    """Split a text at the commas outside brackets and quotes. An empty text has no parts."""
    start, depth, quote, escaped = 0, 0, "", False
    for place, sign in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif sign == "\\" and quote == '"':
                escaped = True
            elif sign == quote:
                quote = ""
        elif sign in "\"'" and (depth > 0 or text[start:place].rstrip().endswith("=")):
            quote = sign  # elsewhere it is an apostrophe
        elif sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == "," and depth <= 0:
            yield text[start:place]
            start = place + 1
    if text.strip():
        yield text[start:]


def split_components(text: str, names: Container[str]) -> list[str]:
    """Split a text of several components at the commas before which one ends.

    A component with options ends where what follows is no option but one of the names; a bare one at each comma.

    >>> split_components("bag,conv:width=8,layers=2,bag:width=4", {"bag", "conv"})
    ['bag', 'conv:width=8,layers=2', 'bag:width=4']

    Args:
        text: of components.
        names: of components that there are.
    """
    found: list[str] = []
    for part in (one.strip() for one in split_commas(text)):
        begins = part.partition(":")[0].strip() in names
        if found and ":" in found[-1] and not begins:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def parse_value(text: str) -> object:
    """The value of a text: read as TOML, None for `none`, the text itself if it is not TOML.

    >>> parse_value("0.5"), parse_value("[1, 2]"), parse_value("none"), parse_value("lstm")
    (0.5, [1, 2], None, 'lstm')
    """
    if text == "none":
        return None
    import tomllib  # noqa: PLC0415 (a tenth of the time that listing plugins takes, which reads no value)

    if "\n" in text:  # TOML might read more than one value
        return str(text)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return str(text)


def write_value(value: object) -> str:
    """A value as text that `parse_value` reads back: TOML, `none`, or a bare string if it needs no quotes."""
    if isinstance(value, str) and value and not set(value) & _NOT_BARE and value.isprintable():
        return value if parse_value(value) == value else _toml(value)
    return _toml(value)


def as_json(value: object) -> Any:
    """A value as plain JSON values: a set in the order of its texts, and what JSON has not as text.

    >>> as_json({"parts": frozenset({"b", "a"}), "sizes": (1, 2)})
    {'parts': ['a', 'b'], 'sizes': [1, 2]}
    """
    import json  # noqa: PLC0415 (as above)

    def other(one: object) -> object:
        return sorted(one, key=write_value) if isinstance(one, set | frozenset) else str(one)

    return json.loads(json.dumps(value, default=other))


_NOT_BARE = set(" \t,=:\"'[]{}()#")


def _toml(value: object) -> str:
    import json  # noqa: PLC0415 (as above)

    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        items = list(map(_toml, value))
        # The order of a set is that of hashes of this process.
        return "[" + ", ".join(sorted(items) if isinstance(value, set | frozenset) else items) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
