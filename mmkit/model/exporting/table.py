"""The first rows of a table as the values that an exported model is checked with."""

from __future__ import annotations

from mmkit.errors import DataError
from mmkit.model.exporting.values import COUNT, Values, enough
from mmkit.model.table_rows import layout_of, rows_of
from mmkit.model.trained import MultimodalModel
from mmkit.sources.streaming import Piece, Stream


def of_table(model: MultimodalModel, stream: Stream) -> Values:
    """The values of the first rows of a table.

    Raises:
        DataError: it has no row, or a value cannot be read; or an input is missing in all of them.
    """
    layout = layout_of(model)
    for piece in stream.pieces():
        layout.check(piece.columns, stream.name)
        few = Piece(piece.start, {name: column[:COUNT] for name, column in piece.columns.items()})
        samples = rows_of(model, layout, stream, few, "fail").read.samples
        if len(samples):
            return enough({name: list(samples.inputs[name]) for name in model.module.names})
    raise DataError(f"{stream.name} has no row; give a table with a few")
