"""An answer explained: from a sample, or from the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmkit.contract import Samples
from mmkit.errors import DataError, UsageError, one_of
from mmkit.explain.details import details_of
from mmkit.explain.explanation import Explanation
from mmkit.explain.gradients import needs_captum
from mmkit.explain.inside import METHODS, inside
from mmkit.explain.output import check_kind, check_name, named
from mmkit.explain.parts import Contribution
from mmkit.explain.sample import Sample
from mmkit.explain.shapley import shapley
from mmkit.model.given_rows import given_rows
from mmkit.model.table_rows import layout_of, rows_of
from mmkit.model.trained import MultimodalModel, Read
from mmkit.sources.layout import Layout
from mmkit.sources.streaming import Piece, Stream
from mmkit.system.settings import OnError
from mmkit.system.state import own_state
from mmkit.titles import counted


@own_state()
def explain(
    model: MultimodalModel, sample: Mapping[str, Any], *, output: str | int | None = None, parts: bool = True
) -> Explanation:
    """What each input gave to one answer, and which parts of it.

    Args:
        model: trained.
        sample: raw values by input, or cells by column, as `MultimodalModel.explain` takes them.
        output: the class, label or number that is explained; None takes the likeliest, or the first number.
        parts: whether inputs are looked into, too.

    Raises:
        UsageError: the model has no such input, column or output, or none that can be explained.
        DataError: a value cannot be read or transformed.
        UnavailableError: inputs are to be looked into, and captum is not installed.
    """
    if not isinstance(sample, Mapping):
        raise UsageError(f"explain takes one sample, a mapping of names to values; got a {type(sample).__name__}")
    name = named(output)
    _check(model, name, parts=parts)
    read = _read(model, sample)
    return _explained(model, _values(model, read.samples, 0), "the sample", name, parts=parts)


def _read(model: MultimodalModel, sample: Mapping[str, Any]) -> Read:
    if model.layout is not None:
        ((_, rows),) = given_rows(model, [sample], "fail")
        return rows.read
    for given in sample:
        if given not in model.inputs:
            raise UsageError(f"the sample has an unknown input {given!r}; {one_of(model.inputs, given)}")
    columns = {one: [sample.get(one)] for one in model.inputs}
    return model.decoded(Samples(["0"], columns, [None]))


def explain_rows(
    model: MultimodalModel,
    stream: Stream,
    rows: Sequence[int],
    *,
    output: str | None = None,
    parts: bool = True,
    on_error: OnError = "fail",
    decimal: str | None = None,
) -> Iterator[Explanation]:
    """Explanations of rows of a table, in the order of the table.

    Args:
        model: trained.
        stream: the table.
        rows: their numbers, from 0, as `mmkit predict` writes them.
        output: as in `explain`.
        parts: likewise.
        on_error: what to do with a value that cannot be read: "fail", or "missing" to take it as missing.
        decimal: the sign of fractions in strings of the table, "point" or "comma"; None is that of training.

    Raises:
        UsageError: there is no such row, the model has no such output, or none that can be explained.
        DataError: the table cannot be read or has no column that the model reads; or a value cannot be used.
        UnavailableError: inputs are to be looked into, and captum is not installed.
    """
    _check(model, output, parts=parts)
    if on_error == "skip":
        raise UsageError("explain shows the rows that are asked for: --on-error is fail or missing; got skip")
    layout = layout_of(model, decimal)
    wanted, seen = sorted(set(rows)), 0
    if wanted and wanted[0] < 0:
        raise UsageError(f"rows are counted from 0; got {wanted[0]}")
    for piece in stream.pieces():
        if piece.start == 0:
            layout.check(piece.columns, stream.name)
        seen = piece.start + piece.rows
        while wanted and wanted[0] < seen:
            row = wanted.pop(0)
            yield _row(model, layout, stream, piece, row, output, parts=parts, on_error=on_error)
        if not wanted:
            return
    raise UsageError(f"{stream.name} has {counted(seen, 'row')}, 0 to {seen - 1}; there is no row {wanted[0]}")


@own_state()
def _row(
    model: MultimodalModel,
    layout: Layout,
    stream: Stream,
    piece: Piece,
    row: int,
    output: str | None,
    *,
    parts: bool,
    on_error: OnError,
) -> Explanation:
    at = row - piece.start
    alone = Piece(row, {name: column[at : at + 1] for name, column in piece.columns.items()})
    rows = rows_of(model, layout, stream, alone, on_error)
    unread = {one.column: one.reason for one in rows.unread}
    values = _values(model, rows.read.samples, 0)
    return _explained(model, values, f"row {row} of {stream.name}", output, row, unread, parts=parts)


def _check(model: MultimodalModel, output: str | None, *, parts: bool) -> None:
    check_kind(model)
    check_name(model, output)
    if model.network.fuses_within:
        fusion = model.combination.label
        raise UsageError(
            f"fusion {fusion} of this model acts between the parts of encoders, so that no input is encoded for itself "
            "and none can be left out of its features; an explanation needs a fusion behind them, as with at=last"
        )
    if parts:
        needs_captum()


def _values(model: MultimodalModel, samples: Samples, place: int) -> dict[str, Any]:
    return {name: samples.inputs[name][place] for name in model.network.names}


def _explained(
    model: MultimodalModel,
    values: Mapping[str, Any],
    title: str,
    output: str | None,
    row: int | None = None,
    unread: Mapping[str, str] | None = None,
    *,
    parts: bool,
) -> Explanation:
    sample = Sample.of(model, values, output)
    given = sample.given
    if not given:
        raise DataError(f"{title}: every input is missing, so there is nothing to explain")
    shares = shapley(len(given), sample.worth)
    errors: Sequence[float | None] = shares.errors or [None] * len(given)
    found = [
        Contribution(name, model.inputs[name], value, error)
        for name, value, error in zip(given, shares.values, errors, strict=True)
    ]
    found.sort(key=lambda one: -abs(one.value or 0))
    found += [Contribution(name, model.inputs[name], None, None) for name in sample.values if name not in given]
    known = [name for name in given if model.inputs[name] in METHODS] if parts else []
    looked = {one.name: part for one in found if one.name in known and (part := inside(sample, one.name)) is not None}
    prediction = {leaf: tensor.detach().float().cpu() for leaf, tensor in sample.prediction.items()}
    return Explanation(
        title=title,
        answer=model.transforms.truth.inverse(prediction)[0],
        output=sample.output,
        value=shares.everything + sample.output.offset,
        nothing=shares.nothing + sample.output.offset,
        contributions=tuple(found),
        subsets=shares.subsets,
        permutations=shares.permutations,
        inside=looked,
        unknown=tuple(name for name in given if name not in known) if parts else (),
        details=details_of(sample),
        precision=model.precision,
        row=row,
        unread=unread or {},
    )
