"""From the body of a request to questions. What comes is data: bytes, texts, numbers; never a path, an address or code.

A body is JSON, {"samples": [{input: value, ...}, ...]}, with files in base64; or a form (multipart/form-data) of one
sample, with files as they are. A sample that cannot be read fails alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pydantic_core

from mmkit.errors import one_of
from mmkit.serving.answering import Question
from mmkit.serving.forms import NoFormError, Part, parts_of
from mmkit.serving.limits import Limits, RefusedError, shortened
from mmkit.serving.schema import Asked, Schema

DEEPEST = 32
"""Lists and mappings within one another, in a value."""
LARGEST = 10**18
"""Of a whole number: what is larger fits into no column of 64 bits."""


AT_ONCE = 256 * 2**10
"""Bytes that are read within milliseconds; 16 MiB of numbers take seconds."""
_T = TypeVar("_T")


async def aside(read: Callable[[], _T], size: int) -> _T:
    """What is read of so many bytes; of many in a thread, so that others are answered meanwhile."""
    return read() if size <= AT_ONCE else await asyncio.to_thread(read)


class UnreadableError(Exception):
    """The body as a whole cannot be read.

    Args:
        status: of HTTP.
        reason: why, in the sender's words.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = shortened(reason)
        super().__init__(self.reason)


def questions_of(
    body: bytes, headers: Mapping[str, str], schema: Schema, limits: Limits, *, explain: bool
) -> list[Question | RefusedError]:
    """The questions of a request, in order.

    Args:
        body: whole.
        headers: of the request, their names in lower case.
        schema: of the model that is asked.
        limits: of the service.
        explain: whether it is to be said what each input gave.

    Raises:
        UnreadableError: it is no JSON and no form, or holds no sample.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnreadableError(415, "a compressed body is not taken; send it as it is")
    if kind == "multipart/form-data":
        return [_of_form(body, headers["content-type"], schema, explain=explain)]
    if kind not in {"application/json", ""} and not kind.endswith("+json"):
        raise UnreadableError(415, f"a body is application/json or multipart/form-data; got {kind[:80]!r}")
    given = json_of(body)
    samples = given.get("samples") if isinstance(given, dict) else None
    if not isinstance(samples, list) or not samples:
        raise UnreadableError(422, 'a body is {"samples": [{input: value, ...}, ...]}, with at least one sample')
    if len(samples) > limits.room:
        raise UnreadableError(422, f"a request has at most {limits.room} samples; got {len(samples)}: send several")
    if others := given.keys() - {"samples"}:
        raise UnreadableError(422, f"beside samples there is nothing in a body; got {min(others)[:80]!r}")
    return [question_of(sample, schema, explain=explain) for sample in samples]


def json_of(body: bytes | str) -> Any:
    """The value that JSON stands for.

    Raises:
        UnreadableError: it is none, is nested too deeply, or holds NaN or infinity.
    """
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False, cache_strings=False)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(422, f"this is no JSON: {error}") from error


def question_of(sample: Any, schema: Schema, *, explain: bool) -> Question | RefusedError:
    """A sample of JSON."""
    if not isinstance(sample, dict):
        return RefusedError("", "a sample is a mapping of input to value")
    known = {one.name: one for one in schema.inputs}
    try:
        values = {
            name: _value(_known(name, known), value)
            for name, value in sample.items()
            if name not in known or value is not None
        }
    except RefusedError as refused:
        return refused
    return Question(values, explain)


def _known(name: str, known: Mapping[str, Asked]) -> Asked:
    """The input of that name.

    Raises:
        RefusedError: there is none.
    """
    if name not in known:
        for one in known.values():
            if any(column.name == name for column in one.columns):
                raise RefusedError(name, f"it is a column of an input, as in {json.dumps({one.name: {name: '...'}})}")
        raise RefusedError(name[:80], f"the model reads no input of this name; {one_of(known, name[:80])}")
    return known[name]


def _value(one: Asked, value: Any) -> Any:
    """What `decode` gets of a value of JSON.

    Raises:
        RefusedError: it does not come in the way in which such values travel.
    """
    if one.way == "bytes":
        if not isinstance(value, str):
            raise RefusedError(one.name, "a file comes in base64, as a string; or in a form, as it is")
        return _bytes(one, value)
    if one.way == "text":
        if not isinstance(value, str):
            raise RefusedError(one.name, "a text is a string")
        return value
    # A string would be the name of a file to many a modality; a cell of a row is none.
    if isinstance(value, str):
        raise RefusedError(one.name, "it is a value of JSON: a list, a mapping or a number; got a string")
    return _plain(one, value, 0)


def _bytes(one: Asked, text: str) -> bytes:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise RefusedError(one.name, "of data URIs those in base64 are taken")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(
            one.name, "it is not in base64; a file comes in base64, never as a path or an address"
        ) from error
    if not found:
        raise RefusedError(one.name, "the file is empty, of zero bytes; leave the input out where it is missing")
    return found


def _plain(one: Asked, value: Any, depth: int) -> Any:
    """A value of JSON, neither nested too deeply nor with numbers that no computation takes."""
    if depth > DEEPEST:
        raise RefusedError(one.name, f"lists and mappings stand {DEEPEST} deep at most")
    if isinstance(value, list):
        return [_plain(one, part, depth + 1) for part in value]
    if isinstance(value, dict):
        return {name: _plain(one, part, depth + 1) for name, part in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST:
        raise RefusedError(one.name, "a whole number has at most 18 digits")
    if isinstance(value, float) and not math.isfinite(value):  # 1e999
        raise RefusedError(one.name, "a number is finite")
    return value


def _of_form(body: bytes, kind: str, schema: Schema, *, explain: bool) -> Question | RefusedError:
    """The sample of a form.

    Raises:
        UnreadableError: it is no form.
    """
    known = {one.name: one for one in schema.inputs}
    try:
        parts = parts_of(body, kind, len(known))
    except NoFormError as error:
        raise UnreadableError(422, f"this is no form: {error}") from error
    if len({part.name for part in parts}) < len(parts):
        return RefusedError("", "a form has one value an input; send several samples as JSON")
    try:
        given = {part.name: _of_part(_known(part.name, known), part) for part in parts if part.content}
    except RefusedError as refused:
        return refused
    return Question({name: value for name, value in given.items() if value is not None}, explain)


def _of_part(one: Asked, part: Part) -> Any:
    """The value of a part of a form: a file as it is, a text, or JSON.

    Raises:
        RefusedError: it is not in UTF-8, or no JSON.
    """
    if one.way == "bytes":
        if part.file:
            return part.content
        raise RefusedError(one.name, "it comes as a file: a part with a filename, as curl -F NAME=@FILE sends it")
    try:
        text = part.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError(one.name, "it is not in UTF-8") from error
    if one.way == "text":
        return text
    try:
        value = json_of(text)
    except UnreadableError as error:
        raise RefusedError(one.name, error.reason) from error
    return None if value is None else _value(one, value)
