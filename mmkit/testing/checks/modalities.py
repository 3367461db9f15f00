"""Checks of modalities."""

from __future__ import annotations

import torch

from mmkit.errors import ContractError, DataError
from mmkit.testing.checks.alike import alike
from mmkit.testing.specimens.modality import ModalitySpecimen


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
