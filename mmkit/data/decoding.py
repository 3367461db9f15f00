"""Decoding of raw values into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mmkit.contract import Modality, Samples
from mmkit.data.bad_values import BadValue, MostlyBrokenError, RejectedError, is_mostly_broken
from mmkit.data.columns import Column
from mmkit.data.decoded import EAGER, Decoded, Raw
from mmkit.data.door import first_repeated, is_lazy, plain_samples
from mmkit.data.subset import select
from mmkit.errors import DataError
from mmkit.system.settings import OnError

FEW = 4096
"""Rows of a table up to which they are decoded at once."""


def decode_all(
    samples: Samples,
    modalities: Mapping[str, Modality],
    on_error: OnError = "fail",
    kinds: Mapping[str, str] | None = None,
    *,
    whole: bool = True,
) -> tuple[Samples, list[BadValue]]:
    """The samples with all values decoded, and a line for each value that could not be read.

    A column that would be large in memory, and is small as it is given (lazy, or names of files), is decoded value by
    value when it is asked for. What cannot be read of it is then found, and added to the lines, only when it is met,
    but for "skip".

    Args:
        samples: raw; an input that they lack becomes all None.
        modalities: of each input. If decoding is slow, several threads decode.
        on_error: "fail" raises at the first value that cannot be read, "skip" drops its sample, "missing" replaces the
            value by None.
        kinds: the name of each modality.
        whole: whether these are all samples; of a part of them more than half may be broken.

    Raises:
        MostlyBrokenError: more than half of the values of an input cannot be read.
        DataError: a value cannot be read, or the length of a column differs from the number of samples.
    """
    samples = plain_samples(samples)
    if len(samples.truth) != len(samples):
        raise DataError(
            f"truth has {len(samples.truth)} values for {len(samples)} samples; give one per sample, or None"
        )
    if (repeated := first_repeated(samples.ids)) is not None:
        count = sum(one == repeated for one in samples.ids)
        raise DataError(f"id {repeated} occurs {count} times; give each sample a unique id")
    columns: dict[str, Sequence[Any]] = {}
    unread: list[BadValue] = []
    dropped: set[int] = set()
    for name, modality in modalities.items():
        column = samples.inputs.get(name, [None] * len(samples))
        if len(column) != len(samples):
            raise DataError(
                f"input {name} has {len(column)} values for {len(samples)} samples; give one per sample, or None"
            )
        raw = Raw(column, modality, (kinds or {}).get(name, ""))
        decoded = Decoded(raw, partial(_bad, name, samples.ids, raw, on_error, unread, whole))
        if _large(raw, decoded):
            columns[name] = Column(decoded)
            if on_error == "skip":
                for _ in decoded:  # which samples there are must be known
                    pass
        else:
            columns[name] = Column(list(decoded), decoded if is_lazy(column) else None)
        dropped |= raw.unread.keys()
    samples = replace(samples, inputs=columns)
    if on_error == "skip" and dropped:
        samples = select(samples, [i for i in range(len(samples)) if i not in dropped])
    return samples, unread


def _large(raw: Raw, decoded: Decoded) -> bool:
    """Whether a column is decoded when it is asked for."""
    if decoded.arrow is not None and len(decoded) > FEW:
        return True  # rows that are read column by column
    return raw.on_disk and decoded.bytes_each * len(decoded) > EAGER


def _bad(
    name: str,
    ids: Sequence[Any],
    raw: Raw,
    on_error: OnError,
    unread: list[BadValue],
    whole: bool,
    place: int,
    error: DataError,
) -> None:
    """Note a value that cannot be read.

    Raises:
        RejectedError: with `on_error` "fail".
        MostlyBrokenError: more than half of the values cannot be read.
    """
    rejected = RejectedError(name, {ids[place]: str(error)}, unread=True)
    if on_error == "fail":
        raise rejected from error
    if raw.note(place, str(error)):
        unread += rejected.lines
    if whole and is_mostly_broken(broken := len(raw.unread), raw.count):
        raise MostlyBrokenError(rejected, broken, raw.count)
