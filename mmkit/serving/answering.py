"""From the questions of a batch to their answers, each for itself: what cannot be read spoils no other.

Axes: B rows of a batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmkit.contract import Batch, Samples
from mmkit.data.decoded import EAGER, bytes_in_memory
from mmkit.errors import DataError
from mmkit.explain.output import output_of
from mmkit.model.trained import MultimodalModel
from mmkit.serving.limits import RefusedError
from mmkit.serving.rows import values_of
from mmkit.serving.schema import Schema, listed

_log = logging.getLogger("mmkit.serving")


@dataclass(frozen=True)
class Question:
    """A sample of a request.

    Args:
        values: raw, by input, in the way that each travels; an input that is missing is not there.
        explain: whether it is to be said what each input gave.
    """

    values: Mapping[str, Any]
    explain: bool = False

    @property
    def rows(self) -> int:
        """Rows of a batch that it takes: itself, and itself without each of its inputs."""
        return 1 + len(self.values) if self.explain else 1


@dataclass
class _Rows:
    """Samples in memory: of each question itself, then itself without each of its inputs.

    Args:
        values: [B] by input.
        owner: [B] the place of its question, and the input that is left out, "" where none is.
        size: bytes of the values.
    """

    values: list[Mapping[str, Any]] = field(default_factory=list)
    owner: list[tuple[int, str]] = field(default_factory=list)
    size: int = 0


class Answers:
    """Answers the questions of a batch by a model; called in one thread.

    Args:
        model: trained.
        schema: of it.
    """

    def __init__(self, model: MultimodalModel, schema: Schema) -> None:
        self.model = model
        self.schema = schema

    def __call__(self, questions: Sequence[Question]) -> list[dict[str, Any] | Exception]:
        """An answer, or why there is none, for each question."""
        found: list[dict[str, Any] | Exception | None] = [None] * len(questions)
        decoded = self._decoded(questions)
        rows = _Rows()
        for place, question in enumerate(questions):
            try:
                self._add(rows, place, question, decoded)
            except RefusedError as refused:
                found[place] = refused
            if rows.size > EAGER:  # few large values at a time
                self._predict(rows, found)
                rows = _Rows()
        self._predict(rows, found)
        return [RefusedError("", "there is no answer") if one is None else one for one in found]

    def _decoded(self, questions: Sequence[Question]) -> dict[str, list[Any]]:
        """Of inputs that are read cell by cell, the values of all questions."""
        made = {one.name: one for one in self.schema.layout.inputs}
        return {
            one.name: values_of(made[one.name], self.schema.layout, [q.values.get(one.name) for q in questions])
            for one in self.schema.inputs
            if one.row
        }

    def _add(self, rows: _Rows, place: int, question: Question, decoded: Mapping[str, Sequence[Any]]) -> None:
        """Add the rows of a question.

        Raises:
            RefusedError: a value cannot be read, or none is there.
        """
        values = {
            name: value
            for name, raw in question.values.items()
            if (value := self._value(name, decoded[name][place] if name in decoded else raw)) is not None
        }
        if not values:
            names = ", ".join(one.name for one in self.schema.inputs)
            raise RefusedError("", f"every input is missing; give at least one of {names}")
        for left_out in ("", *(values if question.explain else ())):
            rows.values.append({name: value for name, value in values.items() if name != left_out})
            rows.owner.append((place, left_out))
        rows.size += sum(map(bytes_in_memory, values.values()))

    def _value(self, name: str, raw: Any) -> Any:
        """The value in memory of a raw one.

        Raises:
            RefusedError: it cannot be read.
        """
        if isinstance(raw, RefusedError):
            raise raw
        with reading(name, self.model.inputs[name]):
            return None if raw is None else self.model.modalities[name].decode(raw)

    def _predict(self, rows: _Rows, found: list[dict[str, Any] | Exception | None]) -> None:
        if not rows.values:
            return
        names = [one.name for one in self.schema.inputs]
        columns = {name: [values.get(name) for values in rows.values] for name in names}
        samples = Samples([str(row) for row in range(len(rows.values))], columns, [None] * len(rows.values))
        read = self.model.transformed(samples, on_error="skip", whole=False)
        for bad in read.bad:
            place, left_out = rows.owner[int(bad.sample)]
            if not left_out and found[place] is None:
                found[place] = RefusedError(bad.column.removeprefix("input "), bad.reason)
        kept = [int(one) for one in read.samples.ids]
        answers: list[Any] = []
        numbers: list[Batch] = []
        for prediction in self.model.predictions(read, max(len(kept), 1)):
            answers += self.model.transforms.truth.inverse(prediction)
            numbers.append(prediction)
        if not answers:
            return
        without = self._without(rows, kept, numbers[0]) if any(rows.owner[row][1] for row in kept) else {}
        for at, row in enumerate(kept):
            place, left_out = rows.owner[row]
            if not left_out and found[place] is None:
                found[place] = _whole(answers[at], without.get(place))

    def _without(self, rows: _Rows, kept: Sequence[int], prediction: Batch) -> dict[int, dict[str, Any]]:
        """What each question's output is, and what it is without each of its inputs, by its place."""
        found: dict[int, dict[str, Any]] = {}
        explained = {place for place, left_out in rows.owner if left_out}
        for at, row in enumerate(kept):
            place, left_out = rows.owner[row]
            if place not in explained:
                continue
            own = {leaf: tensor[[at]] for leaf, tensor in prediction.items()}
            if not left_out:
                output = output_of(self.model, own, None)
                found[place] = {"output": output, "value": float(output.of(own)) + output.offset, "without": {}}
            elif place in found:  # its question, whose row stands before
                output = found[place]["output"]
                found[place]["without"][left_out] = float(output.of(own)) + output.offset
        return found


@contextmanager
def reading(name: str, modality: str) -> Iterator[None]:
    """What a modality raises on a value of an input, as a refusal.

    Raises:
        RefusedError: it has raised anything.
    """
    try:
        yield
    except RefusedError:
        raise
    except DataError as error:
        raise RefusedError(name, str(error)) from error
    except Exception as error:  # a modality may raise anything on what it was not written for
        _log.warning("the modality %s failed on a value: %s", modality, type(error).__name__)
        raise RefusedError(name, f"it cannot be read ({type(error).__name__})") from error


def _whole(answer: Any, explained: Mapping[str, Any] | None) -> dict[str, Any] | Exception:
    """The answer as plain JSON, with what each input gave."""
    document = listed(answer)
    document = document if isinstance(document, dict) else {"answer": document}
    if explained is not None:
        value, without = explained["value"], explained["without"]
        document["explanation"] = {
            "output": explained["output"].name,
            "value": value,
            "without": without,
            "contributions": {name: value - left for name, left in without.items()},
        }
    if not _finite(document):
        return RefusedError(
            "", "the answer is no finite number: a value lies far outside of what the model was trained on"
        )
    return document


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
