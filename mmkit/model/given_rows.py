"""Samples that are given in Python to a model of a table: a value for each of its columns, as in training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mmkit.errors import UsageError, one_of
from mmkit.model.table_rows import Broken, Rows, layout_of, rows_of
from mmkit.model.trained import MultimodalModel
from mmkit.sources.layout import Layout
from mmkit.sources.memory import PREFIX, columns_of
from mmkit.sources.streaming import PIECE, Piece, Stream
from mmkit.system.settings import OnError


def given_rows(
    model: MultimodalModel, samples: Sequence[Mapping[str, Any]], on_error: OnError
) -> Iterator[tuple[int, Rows]]:
    """The samples as rows, in pieces, each with the number of its first sample.

    Args:
        model: trained on a table.
        samples: values by column; one that is None or left out is missing. Those of an input of several columns may
            stand in a mapping of its name, as requests to a service have them. The column to predict, and that which
            names rows, may be among them.
        on_error: what to do with a value that cannot be used.

    Raises:
        UsageError: the table of training had no such column.
        DataError: a value cannot be used, and `on_error` is "fail"; or, at the end, more than half of a column cannot.
    """
    layout = layout_of(model)
    whole = Layout.of(model.layout, model.inputs, model.inputs)
    others = [*(whole.target or {}).get("columns", ()), *([whole.id] if whole.id else [])]
    several = {one.name for one in whole.inputs if one.columns != (one.name,)}
    rows_given = [_in_one(sample, several) for sample in samples]
    for number, sample in enumerate(rows_given):
        for name in sample:
            if not whole.has(name) and name not in others:
                raise UsageError(f"sample {number} has an unknown column {name!r}; {one_of(whole.needed, name)}")
    rows_given = [_apart(sample, whole.needed) for sample in rows_given]
    names = dict.fromkeys(name for sample in rows_given for name in sample) or layout.needed[:1]
    columns = {name: [sample.get(name) for sample in rows_given] for name in names}
    table, broken = columns_of(columns), Broken()
    stream = Stream(PREFIX, {}, outside=True)  # nobody reads it again by its name, so it is not held
    for start in range(0, len(samples), PIECE):
        piece = Piece(start, {name: column[start : start + PIECE] for name, column in table.items()})
        rows = rows_of(model, layout, stream, piece, on_error)
        broken.add(rows.values, rows.unread)
        yield start, rows
    broken.check(stream.name)


def _in_one(sample: Mapping[str, Any], several: Collection[str]) -> dict[str, Any]:
    """A sample with the cells of inputs of several columns beside the others."""
    found: dict[str, Any] = {}
    for name, value in sample.items():
        if name in several and (value is None or isinstance(value, Mapping)):
            found |= value or {}
        else:
            found[name] = value
    return found


def _apart(sample: Mapping[str, Any], needed: Collection[str]) -> dict[str, Any]:
    """A sample with the fields of mappings in its cells as cells of their own, `NAME.field`, as a table has them."""
    found: dict[str, Any] = {}
    for name, value in sample.items():
        if isinstance(value, Mapping) and name not in needed:
            found |= _apart({f"{name}.{field}": cell for field, cell in value.items()}, needed)
        else:
            found[name] = value
    return found


def predicted(
    model: MultimodalModel, samples: Sequence[Mapping[str, Any]], batch_size: int, on_error: OnError
) -> list[Any]:
    """The answer to each sample; None where it was skipped.

    Args:
        model: trained on a table.
        samples: as in `given_rows`.
        batch_size: samples that the model takes at once.
        on_error: what to do with a value that cannot be used.

    Raises:
        UsageError: as `given_rows`.
        DataError: likewise.
    """
    found: list[Any] = [None] * len(samples)
    for start, rows in given_rows(model, samples, on_error):
        predictions = model.predictions(rows.read, batch_size)
        answers = [answer for batch in predictions for answer in model.transforms.truth.inverse(batch)]
        for place, answer in zip(rows.read.samples.ids, answers, strict=True):
            found[start + int(place)] = answer
    return found
