"""What a model asks for and what it answers, read off the model: for requests, for the page, and as OpenAPI.

Axes: C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator

from mmkit.explain.output import KINDS, names_of
from mmkit.model.table_rows import layout_of
from mmkit.model.trained import MultimodalModel
from mmkit.plugin import ModalitySpec
from mmkit.registry.catalog import Catalog
from mmkit.serving.rows import is_row
from mmkit.sources.layout import Layout
from mmkit.transforms.table import TableTransform

Way = Literal["bytes", "text", "json", "columns"]

MOST_CHOICES = 200
"""Categories of a column that are proposed."""
MOST_SHOWN = 400
"""Characters of an example."""


@dataclass(frozen=True)
class Column:
    """A column of a table's row.

    Args:
        name: of the column.
        kind: "number", "category", "date", "numbers", "tags" or "text".
        choices: categories that training knew, where there are few.
        decimal: the sign of fractions in numbers that come as strings, "point" or "comma".
    """

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    decimal: str = "point"

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"name": self.name, "kind": self.kind, "choices": list(self.choices), "decimal": self.decimal}


@dataclass(frozen=True)
class Asked:
    """An input that a model reads.

    Args:
        name: of the input.
        modality: of it.
        summary: of the modality.
        way: how a value comes: as its modality says, or cell by cell, "columns".
        extensions: ends of the names of its files.
        columns: of a row; empty where they are not known.
        row: whether cells are read as those of the table of training were, by `rows.values_of`.
        example: a value as it may come, where that can be shown.
    """

    name: str
    modality: str
    summary: str
    way: Way
    extensions: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    row: bool = False
    example: Any = None

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "name": self.name,
            "modality": self.modality,
            "summary": self.summary,
            "travels": self.way,
            "extensions": list(self.extensions),
            "columns": [column.document() for column in self.columns],
            "example": self.example,
        }

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        about = f"{self.modality}: {self.summary}"
        if self.way == "bytes":
            return {"type": ["string", "null"], "contentEncoding": "base64", "description": f"{about}; in base64"}
        if self.way == "text":
            return {"type": ["string", "null"], "description": about}
        if self.way == "columns":
            cells = {column.name: {"description": column.kind} for column in self.columns}
            return {"type": ["object", "null"], "properties": cells, "description": about}
        return {"description": about, **({} if self.example is None else {"examples": [self.example]})}


@dataclass(frozen=True)
class Schema:
    """What a model asks for and what it answers.

    Args:
        label: what the model is made of.
        inputs: that it reads, in order.
        target: the kind of target.
        names: of the classes, labels or numbers; empty of another kind.
        layout: how inputs are made of columns.
    """

    label: str
    inputs: tuple[Asked, ...]
    target: str
    names: tuple[str, ...]
    layout: Layout

    @staticmethod
    def of(model: MultimodalModel, catalog: Catalog) -> Schema:
        """The schema of a model."""
        layout = layout_of(model)
        names = tuple(names_of(model)) if model.target in KINDS else ()
        inputs = tuple(_asked(model, name, layout, catalog) for name in model.module.names)
        return Schema(model.combination.label, inputs, model.target, names, layout)

    @property
    def explains(self) -> bool:
        """Whether it can be said what an input gave: a probability or a number is there to compare."""
        return self.target in KINDS

    def document(self) -> dict[str, Any]:
        """As plain JSON, for the page and for programs."""
        return {
            "label": self.label,
            "inputs": [one.document() for one in self.inputs],
            "target": {"kind": self.target, "names": list(self.names)},
            "explains": self.explains,
        }

    def request(self) -> dict[str, Any]:
        """The body of a request, as OpenAPI has it."""
        sample = {
            "type": "object",
            "properties": {one.name: one.schema() for one in self.inputs},
            "additionalProperties": False,
            "minProperties": 1,
            "description": "one value an input; an input that is left out, or null, is missing",
        }
        samples = {"type": "array", "items": sample, "minItems": 1}
        whole = {"type": "object", "properties": {"samples": samples}, "required": ["samples"]}
        parts = {one.name: _part(one) for one in self.inputs}
        form = {"type": "object", "properties": parts, "additionalProperties": False, "description": "one sample"}
        return {
            "required": True,
            "content": {"application/json": {"schema": whole}, "multipart/form-data": {"schema": form}},
        }

    def answer(self) -> dict[str, Any]:
        """An answer, as JSON Schema."""
        number, names = {"type": "number"}, self.names
        shares = {"type": "object", "properties": dict.fromkeys(names, number)}
        answers: dict[str, dict[str, Any]] = {
            "classes": {"label": {"type": "string", "enum": list(names)}, "probabilities": shares},
            "labels": {"labels": {"type": "array", "items": {"type": "string"}}, "probabilities": shares},
            "scalar": {"value": number} if len(names) == 1 else {"values": {"type": "array", "items": number}},
            "text": {"text": {"type": "string"}},
        }
        return {"type": "object", "properties": answers.get(self.target, {})}


def _part(one: Asked) -> dict[str, Any]:
    """A part of a form, as JSON Schema."""
    if one.way == "bytes":
        return {"type": "string", "format": "binary", "description": f"a file: {one.summary}"}
    told = one.summary if one.way == "text" else f"{one.summary}; as JSON"
    return {"type": "string", "description": told}


def _asked(model: MultimodalModel, name: str, layout: Layout, catalog: Catalog) -> Asked:
    kind = model.inputs[name]
    spec = catalog.find("modality", kind).spec
    spec = spec if isinstance(spec, ModalitySpec) else ModalitySpec(kind, "", "")
    made = next((one for one in layout.inputs if one.name == name), None)
    row = made is not None and is_row(made, layout)
    columns: tuple[Column, ...] = ()
    if made is not None and row:
        columns = tuple(_column(column, layout.columns.get(column, {"kind": "text"})) for column in made.columns)
    transform = model.transforms.inputs[name]
    if isinstance(transform, TableTransform):
        columns = _columns(transform, columns)
    way: Way = "columns" if columns else spec.travels
    example = _example(model, name) if way == "json" else None
    return Asked(name, kind, spec.summary, way, spec.extensions, columns, row, example)


def _column(name: str, fitted: Mapping[str, Any]) -> Column:
    """A column as the table of training has it."""
    comma = (fitted.get("form") or {}).get("style") == "comma"
    return Column(name, str(fitted["kind"]).partition(":")[0], decimal="comma" if comma else "point")


def _columns(transform: TableTransform, known: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of a row: those of the table of training, else those that the transform has learned."""
    choices = {name: tuple(values) for name, values in transform.values.items() if len(values) <= MOST_CHOICES}
    found = known or [
        Column(name, "number" if name in transform.scales else "category")
        for name in sorted({*transform.scales, *transform.values})
    ]
    return tuple(replace(one, choices=choices.get(one.name, ())) for one in found)


def _example(model: MultimodalModel, name: str) -> Any:
    """A value in memory as JSON has it, where it is short enough to be shown."""
    value = listed(model.modalities[name].example(Generator().manual_seed(0)))
    return _cut(value) if isinstance(value, list | Mapping | int | float) else None


def _cut(value: Any) -> Any:
    """The first of long lists, with few digits: an example is to be seen, not to be sent."""
    if isinstance(value, list):
        return [_cut(one) for one in value[:3]]
    if isinstance(value, Mapping):
        return {name: _cut(one) for name, one in list(value.items())[:20]}
    return round(value, 2) if isinstance(value, float) else value


def listed(value: Any) -> Any:
    """A value as JSON has it: tensors and arrays are nested lists, whatever is no JSON is its text.

    >>> listed({"a": torch.tensor([1, 2]), 3: (None, "x")})
    {'a': [1, 2], '3': [None, 'x']}
    """
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return listed(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): listed(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [listed(one) for one in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
