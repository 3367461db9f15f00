"""How a component and the value of an option are written as text: "NAME:key=value,...", values in TOML.

What is written here is read back as the same value, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmkit.errors import UsageError


class Text(str):
    """What a user typed as a value: read as TOML where that fits the annotation, else as the bare string."""

    __slots__ = ()


def parse_component(text: str) -> tuple[str, dict[str, Text]]:
    """The name and the options of "NAME:key=value,...".

    Only the first ':' and each first '=' split; commas inside brackets and quotes do not.

    >>> parse_component("attention:heads=8,dropout=0.1")
    ('attention', {'heads': '8', 'dropout': '0.1'})

    Raises:
        UsageError: the name is empty, an option has no '=', or one is given twice.
    """
    name, colon, rest = text.partition(":")
    if not name.strip() or (colon and not rest.strip()):
        raise UsageError(f"{text!r} is not NAME or NAME:key=value,...")
    options: dict[str, Text] = {}
    for part in split_commas(rest):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"{text!r}: {part.strip()!r} is not key=value")
        if key in options:
            raise UsageError(f"{text!r}: option {key} is given twice")
        options[key] = Text(value.strip())
    return name.strip(), options


def split_commas(text: str) -> Iterator[str]:
    """The parts of `text` between the commas that stand outside brackets and quotes; none of an empty text."""
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
            quote = sign  # in the middle of a bare word it is an apostrophe
        elif sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == "," and depth <= 0:
            yield text[start:place]
            start = place + 1
    if text.strip():
        yield text[start:]


def parse_value(text: str) -> object:
    """The TOML value that `text` is, None for `none`, else the text itself.

    >>> parse_value("0.5"), parse_value("[1, 2]"), parse_value("none"), parse_value("lstm")
    (0.5, [1, 2], None, 'lstm')
    """
    if text == "none":
        return None
    import tomllib  # noqa: PLC0415 (listing plugins reads no value, and this costs a tenth of it)

    if "\n" in text:  # would be more than one value
        return str(text)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return str(text)


def write_value(value: object) -> str:
    """`value` as text that `parse_value` reads back: TOML, bare where a string needs no quotes, `none`."""
    if isinstance(value, str) and value and not set(value) & _NOT_BARE and value.isprintable():
        return value if parse_value(value) == value else _toml(value)
    return _toml(value)


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
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
