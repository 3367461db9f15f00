"""Checks of modalities."""

from __future__ import annotations

import json
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkit.errors import ContractError, DataError
from mmkit.testing.checks.alike import alike
from mmkit.testing.specimens.modality import ModalitySpecimen

THREADS = 4
ROUNDS = 8


def example_decodes(specimen: ModalitySpecimen) -> str | None:
    """An example is a value in memory: `decode` gives it back as it is."""
    modality = specimen.build()
    for value, kept in zip(specimen.examples(4), specimen.examples(4), strict=True):
        found = modality.decode(value)
        if not alike(value, kept):
            raise ContractError(f"decode changes the value that it is given: {value!r:.80} was {kept!r:.80}; copy it")
        if not alike(found, value):
            raise ContractError(f"decode gives {found!r:.80} for the example {value!r:.80}")
    return None


def decode_buffer(specimen: ModalitySpecimen) -> str | None:
    """A value is its own: the next one that is decoded does not change it."""
    modality = specimen.build()
    raw, expected = _raw(specimen)
    for found, value in zip([modality.decode(one) for one in raw], expected, strict=True):
        if not alike(found, value):
            raise ContractError(
                f"the next value changes the one before, {value!r:.80} into {found!r:.80}: it reuses a buffer; give "
                "new values"
            )
    return None


def decode_threads(specimen: ModalitySpecimen) -> str | None:
    """Several threads may decode at once: each gets the value that it gets alone."""
    modality = specimen.build()
    raw, expected = _raw(specimen)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(modality.decode, raw * ROUNDS))
    finally:
        sys.setswitchinterval(switch)
    for one, value in zip(found, expected * ROUNDS, strict=True):
        if not alike(one, value):
            raise ContractError(
                f"{THREADS} threads at once get other values than one, {one!r:.80} for {value!r:.80}: keep nothing of "
                "a call in self"
            )
    return None


def values_pickle(specimen: ModalitySpecimen) -> str | None:
    """A value in memory can be pickled, and is the same again: processes get it so."""
    for value in specimen.examples(4):
        try:
            found = pickle.loads(pickle.dumps(value))  # noqa: S301 (our own)
        except Exception as error:
            raise ContractError(f"{value!r:.80} cannot be pickled: {type(error).__name__}: {error}") from error
        if not alike(found, value):
            raise ContractError(f"unpickled, {value!r:.80} is {found!r:.80}")
    return None


def _raw(specimen: ModalitySpecimen) -> tuple[list[Any], list[Any]]:
    """Raw values, each an object of its own, and what they are in memory; those that travel as JSON in both forms."""
    raw, expected = specimen.examples(THREADS), specimen.examples(THREADS)
    if specimen.spec is not None and specimen.spec.travels == "json":
        return [*raw, *map(_listed, raw)], expected * 2
    return raw, expected


def example_random(specimen: ModalitySpecimen) -> str | None:
    """Examples come from the generator alone, and differ."""
    before = torch.get_rng_state()
    first, again, other = specimen.examples(4), specimen.examples(4), specimen.examples(4, seed=1)
    if not alike(first, again):
        raise ContractError("generators of one seed give different examples")
    if not torch.equal(before, torch.get_rng_state()):
        raise ContractError("example draws from torch's global generator; draw from the one handed in")
    if alike(first, other) or all(alike(first[0], value) for value in first[1:]):
        raise ContractError(f"examples do not differ: {first[0]!r:.80}")
    return None


def refuses(specimen: ModalitySpecimen) -> str | None:
    """What cannot be a value of it is refused with a `DataError` that says why."""
    try:
        found = specimen.build().decode(object())
    except DataError as error:
        if not str(error):
            raise ContractError("decode refuses an object() without saying why") from error
        return None
    raise ContractError(f"decode takes an object() and gives {found!r:.80}; raise DataError")


def travels(specimen: ModalitySpecimen) -> str | None:
    """A value that comes in a request as its spec says is decoded, and no file is opened whose name is given for it."""
    if specimen.spec is None:
        return "its spec, which says how a value travels, is not known"
    way = specimen.spec.travels
    if way == "json":
        _json(specimen)
        return None
    with tempfile.TemporaryDirectory() as folder:
        there, gone = Path(folder) / "there", Path(folder) / "gone!"  # names of one length
        contents = [one.encode() for one in specimen.examples(4) if isinstance(one, str)]
        for content in [*contents, b"\0\1\2\3"]:
            there.write_bytes(content)
            of_there, of_gone = (_told(specimen, way, path) for path in (there, gone))
            if of_there != of_gone:
                raise ContractError(
                    f"travels is {way!r}, and decode opens the file whose name is given as {way}, as anybody may in a "
                    f"request: where it is there, {of_there}; where it is not, {of_gone}. Take it for the value"
                )
    return None


def course(specimen: ModalitySpecimen) -> str | None:
    """Values that have a course in time are joined in their order, and cut to the last of it."""
    modality: Any = specimen.build()
    there = [name for name in ("unit", "length", "joined") if hasattr(modality, name)]
    if not there:
        return "its values have no course in time"
    if len(there) < 3:
        raise ContractError(f"of unit, length and joined it has {' and '.join(there)}; give all three, or none")
    first, second, *_ = specimen.examples(4)
    before, after = (float(modality.length(one)) for one in (first, second))
    if not (before > 0 and after > 0):
        raise ContractError(f"length gives {before:g} and {after:g} {modality.unit} of its examples; it is above 0")
    whole = modality.joined([first, second], before + after)
    found = float(modality.length(whole))
    if abs(found - before - after) > 1e-3 * (before + after):
        raise ContractError(f"joined gives {found:g} {modality.unit} of {before:g} and {after:g}")
    alone = modality.joined([second], after)
    if not alike(modality.joined([first, second], after), alone):
        raise ContractError("joined does not end with the last value, where it is asked for as much as that is long")
    if not alike(modality.joined([whole], after), alone):
        raise ContractError("joined of a joined value is not its end; keep the order, and cut the beginning")
    if not alike(modality.decode(whole), whole):
        raise ContractError("what joined gives is no value in memory: decode changes it, or gives something else")
    kept, *_ = specimen.examples(4)
    if not alike(first, kept):
        raise ContractError("joined changes the values that it is given; make a new one")
    return None


def _json(specimen: ModalitySpecimen) -> None:
    """Check that each example is decoded to itself when it comes as JSON."""
    for value in specimen.examples(4):
        try:
            sent = json.loads(json.dumps(_listed(value), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ContractError(
                f'travels is \'json\', and {value!r:.80} is none ({error}); say "bytes" or "text"'
            ) from error
        if isinstance(sent, str):
            raise ContractError(f"travels is 'json', and {value!r:.80} is a text; say travels=\"text\"")
        try:
            found = specimen.build().decode(sent)
        except DataError as error:
            raise ContractError(
                f"travels is 'json', and decode refuses its own example as JSON, {sent!s:.60}: {error}; take lists "
                'for arrays, or say how a value travels, "bytes" or "text"'
            ) from error
        if not alike(found, value):
            raise ContractError(f"decode gives {found!r:.80} for the example {value!r:.80} that came as JSON")


def _listed(value: Any) -> Any:
    """A value in memory as JSON has it: tensors and arrays are nested lists."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _listed(one) for name, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _told(specimen: ModalitySpecimen, way: str, path: Path) -> str:
    """What becomes of the name of a file as a value, in words without that name."""
    try:
        specimen.build().decode(str(path) if way == "text" else os.fsencode(path))
    except DataError as error:
        return f"it is refused: {str(error).replace(str(path), 'FILE').replace(path.name, 'FILE')}"
    return "it is taken"
