"""What was found of one answer, as values, and as a document that is written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.explain.output import Output
from mmkit.explain.parts import Contribution, Curve, Detail, Inside, Parts, Picture, TextParts

SCHEMA = 1


@dataclass(frozen=True, repr=False)
class Found:
    """One answer, explained.

    Args:
        title: how the sample is called.
        answer: of the model, in the user's words.
        output: the number that is explained; of `value` and `nothing`, `Output.offset` is part.
        value: it, for this sample.
        nothing: it, where every input is missing.
        contributions: of each input, the greatest first; they sum to `value - nothing`.
        subsets: of the inputs that were looked at.
        permutations: that were drawn; 0 where contributions are exact.
        inside: the attributions within inputs, by input.
        unknown: inputs that are there, and whose modality is not looked into.
        details: what the fusion says of itself.
        precision: in which the model was trained; explanations are computed in float32.
        row: its number in a table; None where there is none.
        unread: why a value could not be used and counts as missing, by its column or input.
    """

    title: str
    answer: Mapping[str, Any]
    output: Output
    value: float
    nothing: float
    contributions: tuple[Contribution, ...]
    subsets: int
    permutations: int
    inside: Mapping[str, Inside] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
    precision: str = "float32"
    row: int | None = None
    unread: Mapping[str, str] = field(default_factory=dict)

    def by_presence(self, name: str) -> float | None:
        """What an input gives by being there at all: its contribution less all that its parts give.

        None of occlusion, whose parts need not sum to anything. What the integral misses (`Inside.gap`) is in it.

        Args:
            name: of the input, one of `inside`.
        """
        one = self.inside[name]
        whole = next(found.value for found in self.contributions if found.name == name)
        return None if one.gained is None or whole is None else whole - sum(one.values)

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values; `mmkit/explain/README.md` says what each means."""
        return {
            "schema": SCHEMA,
            "row": self.row,
            "answer": dict(self.answer),
            "output": {
                "kind": self.output.kind,
                "name": self.output.name,
                "asked": self.output.asked,
                "value": self.value,
                "nothing": self.nothing,
            },
            "contributions": [
                {"input": one.name, "modality": one.modality, "value": one.value, "error": one.error}
                for one in self.contributions
            ],
            "subsets": self.subsets,
            "permutations": self.permutations,
            "inside": {name: _inside(one, self.by_presence(name)) for name, one in self.inside.items()},
            "details": [
                {"kind": one.kind, "input": one.name, "value": one.value, "tokens": one.tokens} for one in self.details
            ],
            "precision": self.precision,
            "unread": dict(self.unread),
        }


def _inside(one: Inside, by_presence: float | None) -> dict[str, Any]:
    return {
        "method": one.method,
        "against": one.against,
        "reason": one.reason or None,
        "gained": one.gained,
        "gap": one.gap,
        "by_presence": by_presence,
        "steps": one.steps,
        **_parts(one.parts),
    }


def _parts(parts: Parts) -> dict[str, Any]:
    if isinstance(parts, TextParts):
        spans = [
            {"start": start, "end": end, "text": parts.text[start:end], "value": value}
            for (start, end), value in zip(parts.spans, parts.values, strict=True)
        ]
        return {"kind": "text", "tokens": spans}
    if isinstance(parts, Picture):
        height, width = parts.pixels.shape[1:]
        return {"kind": "picture", "height": height, "width": width, "grid": parts.grid.tolist()}
    if isinstance(parts, Curve):
        return {"kind": "curve", "unit": parts.unit, "edges": parts.edges, "values": parts.values}
    columns = zip(parts.names, parts.cells, parts.values, strict=True)
    return {"kind": "columns", "columns": [{"column": n, "cell": cell, "value": value} for n, cell, value in columns]}
