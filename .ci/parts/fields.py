"""The fields of a record."""

from __future__ import annotations

import re
import typing
from typing import Any

import docstring_parser

from mmkit.records import breakdown, controls, record
from mmkit.registry.options import describe
from mmkit.training.privacy_accounting import PrivacySpent
from parts.markdown import first_sentence, table

RECORD_PARTS = (
    record.Fold,
    record.SampleCounts,
    record.RateSearch,
    record.Tried,
    record.Phase,
    record.Calibrated,
    record.Reliability,
    record.ReliabilityBin,
    record.Refit,
    PrivacySpent,
    record.Loading,
    record.Speed,
    record.Twin,
    record.Cost,
    breakdown.Breakdown,
    breakdown.Part,
    breakdown.Closure,
    breakdown.Saving,
    breakdown.Sweep,
    breakdown.BatchSize,
    breakdown.Mode,
    controls.Controls,
    controls.Subset,
    controls.Noise,
    controls.Contribution,
)


def fields() -> str:
    """The fields of a record, and of the parts that it consists of, off their docstrings."""
    parts = [_fields(record.Record)]
    for part in RECORD_PARTS:
        parts += [f"### {part.__name__}", first_sentence(part.__doc__ or ""), _fields(part)]
    return "\n\n".join(parts)


def _fields(of: type) -> str:
    parsed = docstring_parser.parse(of.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
    helps = {one.arg_name: " ".join((one.description or "").split()) for one in parsed.params}
    hints = typing.get_type_hints(of)
    if helps.keys() != hints.keys():
        raise ValueError(f"{of.__name__} documents {sorted(helps)}, and its fields are {sorted(hints)}")
    return table(("field", "type", "meaning"), ((f"`{name}`", _type(hints[name]), helps[name]) for name in hints))


def _type(annotation: Any) -> str:
    """A type, with a link where it is a part of the record with a table of its own."""
    names = "|".join(part.__name__ for part in RECORD_PARTS)
    return re.sub(rf"\b({names})\b", lambda found: f"[{found[1]}](#{found[1].lower()})", describe(annotation))
