"""Samples that are given in Python to a model of a table: a value for each of its columns, as in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        samples: values by column; one that is None or left out is missing. The column to predict, and that which names
            rows, may be among them.
        on_error: what to do with a value that cannot be used.

    Raises:
        UsageError: the table of training had no such column.
        DataError: a value cannot be used, and `on_error` is "fail"; or, at the end, more than half of a column cannot.
    """
    layout = layout_of(model)
    whole = Layout.of(model.layout, model.inputs, model.inputs)
    others = [*(whole.target or {}).get("columns", ()), *([whole.id] if whole.id else [])]
    for number, sample in enumerate(samples):
        for name in sample:
            if not whole.has(name) and name not in others:
                raise UsageError(f"sample {number} has an unknown column {name!r}; {one_of(whole.needed, name)}")
    names = dict.fromkeys(name for sample in samples for name in sample) or layout.needed[:1]
    columns = {name: [sample.get(name) for sample in samples] for name in names}
    table, broken = columns_of(columns), Broken()
    stream = Stream(PREFIX, {}, outside=True)  # nobody reads it again by its name, so it is not held
    for start in range(0, len(samples), PIECE):
        piece = Piece(start, {name: column[start : start + PIECE] for name, column in table.items()})
        rows = rows_of(model, layout, stream, piece, on_error)
        broken.add(rows.values, rows.unread)
        yield start, rows
    broken.check(stream.name)


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
