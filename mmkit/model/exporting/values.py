"""Values that an exported model is checked with, and their form in `smoke.json`."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.errors import DataError, UsageError, one_of
from mmkit.model.trained import MultimodalModel

COUNT = 5
"""Samples of the largest batch that is checked."""

Values = Mapping[str, list[Any]]
"""Values in memory, `COUNT` of each input; None is a missing one."""


def examples(model: MultimodalModel) -> Values:
    """Random values of the kind that the transforms were fitted on, where they can make such, else of the modality."""
    generator = Generator().manual_seed(0)
    found = {}
    for name in model.module.names:
        of_transform = getattr(model.transforms.inputs[name], "example", None)
        make = model.modalities[name].example if of_transform is None else of_transform
        found[name] = [make(generator) for _ in range(COUNT)]
    return found


def given(model: MultimodalModel, samples: Sequence[Mapping[str, Any]]) -> Values:
    """The values of the first `COUNT` of raw samples, as `predict` takes them; of fewer again from the beginning.

    Raises:
        UsageError: there is none, or one has an unknown input or column.
        DataError: a value cannot be read; or an input is missing in all of them.
    """
    if not samples:
        raise UsageError("samples is empty; give a few, or none at all for random ones")
    samples = samples[:COUNT]
    if model.layout is not None:  # it imports pyarrow, which only tables need
        ((_, rows),) = importlib.import_module("mmkit.model.given_rows").given_rows(model, samples, "fail")
        return enough({name: list(rows.read.samples.inputs[name]) for name in model.module.names})
    for name in (name for sample in samples for name in sample):
        if name not in model.inputs:
            raise UsageError(f"a sample has an unknown input {name!r}; {one_of(model.inputs, name)}")
    columns = {}
    for name in model.module.names:
        raw = [sample.get(name) for sample in samples]
        columns[name] = [None if value is None else model.modalities[name].decode(value) for value in raw]
    return enough(columns)


def enough(columns: Mapping[str, Sequence[Any]]) -> Values:
    """Columns of `COUNT` values, again from the beginning where there are fewer.

    Raises:
        DataError: an input is missing in all of them.
    """
    for name, values in columns.items():
        if all(value is None for value in values):
            raise DataError(f"input {name} is missing in all samples that the export is checked with; give others")
    return {name: [values[place % len(values)] for place in range(COUNT)] for name, values in columns.items()}


def written(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """A value in memory as plain JSON; arrays in it are added to `arrays`, and stand there as {"array": name}.

    Raises:
        TypeError: it holds something else than texts, numbers, bytes, arrays, and mappings and sequences of those.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Tensor | np.ndarray):
        arrays[name] = value.numpy() if isinstance(value, Tensor) else value
        return {"array": name}
    if isinstance(value, Mapping):
        return {"mapping": {key: written(part, f"{name}.{key}", arrays) for key, part in value.items()}}
    if isinstance(value, list | tuple):
        return [written(part, f"{name}.{place}", arrays) for place, part in enumerate(value)]
    raise TypeError(f"a {type(value).__name__}")


def read_back(document: Any, arrays: Mapping[str, Any]) -> Any:
    """The value that `written` was given; a sequence is a tuple, and an array a tensor."""
    if isinstance(document, list):
        return tuple(read_back(part, arrays) for part in document)
    if isinstance(document, dict):
        ((kind, content),) = document.items()
        if kind == "array":
            return torch.from_numpy(arrays[content])
        if kind == "bytes":
            return base64.b64decode(content)
        return {key: read_back(part, arrays) for key, part in content.items()}
    return document
