"""What a user may want to know before the first training: what is read of the inputs, how long, with which encoders.

It is said with the reason, and with the option that changes it. Some values are decoded for it; nothing is trained.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from mmkit.errors import DataError, MmkitError
from mmkit.plugin import EncoderSpec, ModalitySpec
from mmkit.registry.catalog import Catalog
from mmkit.sources.description import Description, Request
from mmkit.sources.inputs import Input
from mmkit.sources.memory import PREFIX
from mmkit.sources.target_names import together
from mmkit.sources.targets import SHOWN, recommended_epochs

LOOKED = 32
"""Values of an input that are looked at, of the training split."""


WIDE = 200
"""Columns of a table beyond which its encoder is not the default one: attention between columns grows with their
square, and of 2,000 a batch of 32 rows takes gigabytes."""
WIDE_ENCODER = "table-lasso"
"""The encoder beyond it: where few of the columns carry signal, a network that reads all alike misses it, see
`benchmarks/wide.py`."""


def recommended_encoders(found: Description) -> dict[str, str]:
    """Encoders of inputs, where the default one of their modality does not suit what they hold."""
    return {one.name: WIDE_ENCODER for one in found.inputs if one.modality == "table" and _width(one, found) > WIDE}


def _width(one: Input, found: Description) -> int:
    """The columns of a table as its encoder sees them: a list of numbers is many."""
    column = found.column(one, 0)
    return len(column[0] or ()) if len(column) else 0


def advice(found: Description, catalog: Catalog) -> list[str]:
    """A line for each thing, the command that goes on last.

    Args:
        found: in the data, with a target.
        catalog: the installed encoders.
    """
    lines = []
    if found.target is not None and not found.problems:
        read = [f"{one.name}: {said}" for one in found.inputs if (said := _read(one, found, catalog))]
        lines += [f"read of {line}" for line in read]
        rows = found.count("train")
        epochs = recommended_epochs(rows)
        lines.append(
            f"epochs: {epochs} for {rows:,} training rows, as {SHOWN // 10**6} million samples are shown in 2 to 40; "
            "more where train.min_steps needs them (--epochs)"
        )
        lines += [
            f"encoder of {name}: {encoder}, as of more than {WIDE} columns few may carry signal, and it learns which "
            f"(--encoder {name}=table-mlp reads all alike)"
            for name, encoder in recommended_encoders(found).items()
        ]
        lines += _encoders(found.inputs, catalog)
    return [*lines, *_next(found)]


def _read(one: Input, found: Description, catalog: Catalog) -> str:
    """What the default encoder of an input reads of some of its values; empty where it reads all, or cannot tell."""
    modality = catalog.find("modality", one.modality)
    spec = modality.spec
    if not isinstance(spec, ModalitySpec) or not spec.encoder:
        return ""
    encoder: Any = catalog.find("encoder", spec.encoder).load()
    transform = encoder.reads()
    if not hasattr(transform, "told"):
        return ""
    column, decode = found.column(one, 0), modality.load()().decode
    values = []
    for row in np.linspace(0, len(column) - 1, min(LOOKED, len(column))).astype(int).tolist():
        try:
            raw = column[row]
            values.append(None if raw is None else decode(raw))
        except (DataError, OSError):
            continue  # values that cannot be read are told of elsewhere
    try:
        transform.fit(values)
    except MmkitError:
        return ""
    said: str = transform.told(values)
    return said


def _encoders(inputs: Sequence[Input], catalog: Catalog) -> Iterator[str]:
    """The default encoder of each input, the installed ones with pretrained weights, and how one is asked for."""
    specs = [e.spec for e in catalog.available("encoder")]
    example = ""
    for one in inputs:
        modality = catalog.find("modality", one.modality).spec
        kinds = {one.modality, getattr(modality, "values", None)}
        able = [s for s in specs if isinstance(s, EncoderSpec) and s.modality in kinds and s.pretrained is not None]
        default = getattr(modality, "encoder", None)
        if not able or default is None:
            continue
        yield f"encoder of {one.name}: {default} (pretrained: {', '.join(spec.name for spec in able)})"
        with_option = [f"{one.name}={spec.name}:{spec.pretrained}" for spec in able if spec.pretrained]
        example = example or next(iter(with_option), "")
    if example:
        yield f"  weights on this machine: --encoder {example}"


def _next(found: Description) -> Iterator[str]:
    """The command that goes on; none for a table in memory, or where the user has to decide first."""
    request = found.request
    if request.data.startswith(PREFIX) or found.problems:
        return
    if found.target is None:
        yield f"next: mmkit data inspect {shlex.quote(request.data)} --target COLUMN"
        return
    parts = ["mmkit", "bench", "--data", request.data]
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name in {"data", "fold"} or value == field.default:
            continue
        flag = "--" + field.name.replace("_", "-")
        if field.name == "columns":
            parts += [text for name, kind in value for text in ("--column", f"{name}={kind}")]
        elif field.name == "target":
            parts += [flag, together(value)]
        elif isinstance(value, tuple):
            parts += [text for name in value for text in (flag, name)]
        else:
            parts += [flag] if value is True else [flag, str(value)]
    yield f"next: {shlex.join(parts)}"
