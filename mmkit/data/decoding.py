"""Decoding of raw values into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mmkit.contract import Modality, Samples
from mmkit.data.bad_values import BadValue, RejectedError
from mmkit.data.columns import Column
from mmkit.data.door import plain_samples
from mmkit.data.loader import Loader
from mmkit.data.subset import select
from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing
from mmkit.system.settings import OnError


def decode_all(
    samples: Samples, modalities: Mapping[str, Modality], on_error: OnError = "fail"
) -> tuple[Samples, list[BadValue]]:
    """The samples with all values decoded, and a line for each value that could not be read.

    Args:
        samples: raw; an input that they lack becomes all None.
        modalities: of each input. If decoding is slow, several threads decode.
        on_error: "fail" raises at the first value that cannot be read, "skip" drops its sample, "missing" replaces the
            value by None.

    Raises:
        DataError: a value cannot be read, or the length of a column differs from the number of samples.
    """
    samples = plain_samples(samples)
    if len(samples.truth) != len(samples):
        raise DataError(
            f"truth has {len(samples.truth)} values for {len(samples)} samples; give one per sample, or None"
        )
    if len(set(samples.ids)) < len(samples):
        repeated = next(id_ for id_, count in Counter(samples.ids).items() if count > 1)
        raise DataError(f"id {repeated} occurs {samples.ids.count(repeated)} times; give each sample a unique id")
    columns: dict[str, Sequence[Any]] = {}
    unread: list[BadValue] = []
    dropped: set[str] = set()
    for name, modality in modalities.items():
        column = samples.inputs.get(name, [None] * len(samples))
        if len(column) != len(samples):
            raise DataError(
                f"input {name} has {len(column)} values for {len(samples)} samples; give one per sample, or None"
            )
        values = []
        with Loader() as load:
            for sample, value in zip(samples.ids, load(partial(_read, modality, column), len(samples)), strict=True):
                if isinstance(value, DataError):
                    rejected = RejectedError(name, {sample: str(value)}, unread=True)
                    if on_error == "fail":
                        raise rejected from value
                    unread += rejected.lines
                    dropped.add(sample)
                values.append(None if isinstance(value, DataError) else value)
        columns[name] = Column(values)
    samples = replace(samples, inputs=columns)
    if on_error == "skip" and dropped:
        samples = select(samples, [i for i, sample in enumerate(samples.ids) if sample not in dropped])
    return samples, unread


def _read(modality: Modality, column: Sequence[Any], index: int) -> Any:
    """The decoded value, None for a missing one, or the error of a value that cannot be read."""
    try:
        raw = column[index]
        return None if is_missing(raw) else modality.decode(raw)
    except DataError as error:
        return error
