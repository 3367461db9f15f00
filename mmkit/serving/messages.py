"""The messages of a stream: read as JSON, and what they give once."""

from __future__ import annotations

from typing import Any

from mmkit.serving.answering import Question, reading
from mmkit.serving.limits import RefusedError
from mmkit.serving.parsing import UnreadableError, json_of
from mmkit.serving.rows import values_of
from mmkit.serving.service import Loaded


def parsed(text: str | bytes) -> Any:
    """The value of a message.

    Raises:
        RefusedError: it is no JSON.
    """
    try:
        return json_of(text)
    except UnreadableError as error:
        raise RefusedError("", error.reason) from error


def only(given: Any, key: str) -> Any:
    """What stands under the only key of a message.

    Raises:
        RefusedError: it is another message.
    """
    if not isinstance(given, dict) or [*given] != [key]:
        raise RefusedError("", f'this message is {{"{key}": {{...}}}}')
    return given[key]


def read_once(loaded: Loaded, question: Question) -> dict[str, Any]:
    """The values of inputs that do not change, in memory, or as their cells.

    Raises:
        RefusedError: one cannot be read.
    """
    made = {one.name: one for one in loaded.schema.layout.inputs}
    rows = {one.name for one in loaded.schema.inputs if one.row}
    found = {}
    for name, raw in question.values.items():
        if name in rows:
            (value,) = values_of(made[name], loaded.schema.layout, [raw])
            if isinstance(value, RefusedError):
                raise value
            found[name] = raw
            continue
        with reading(name, loaded.model.inputs[name]):
            found[name] = loaded.model.modalities[name].decode(raw)
    return {name: value for name, value in found.items() if value is not None}
