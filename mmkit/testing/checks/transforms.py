"""Checks of the transforms that encoders and heads read.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, TruthTransform
from mmkit.errors import ContractError
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.head import HeadSpecimen

Specimen = EncoderSpecimen | HeadSpecimen

DRAWS = 8
"""Of augmentation, before the kit believes that there is none."""


def _differs(found: Batch, expected: Batch) -> bool:
    return set(found) != set(expected) or any(not _equal(found[name], expected[name]) for name in expected)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bool(((one == other) | (one != one)).all())  # noqa: PLR0124


def transform_batch(specimen: Specimen) -> str | None:
    """A batch has a bool mask, False in the rows of missing values, all of which may be missing; dim 0 is B."""
    values = specimen.values(4)
    for given in ([values[0], None, *values[2:4]], [None] * 3, values[:1]):
        _expect_batch(specimen, specimen.transform(given), [value is not None for value in given])
    return None


def _expect_batch(specimen: Specimen, batch: Batch, there: list[bool]) -> None:
    if not isinstance(batch, Mapping) or "mask" not in batch:
        raise ContractError("a batch is a mapping with the leaf mask")
    for name, leaf in batch.items():
        if not isinstance(leaf, Tensor) or leaf.ndim < 1 or leaf.shape[0] != len(there):
            got = list(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__
            raise ContractError(f"{len(there)} values give the leaf {name} as {got}; dim 0 of every leaf is the batch")
    mask = batch["mask"]
    dims = {1} if isinstance(specimen, HeadSpecimen) else {1, 2}
    if mask.dtype != torch.bool or mask.ndim not in dims:
        expected = "bool [B]" if len(dims) == 1 else "bool [B] or [B T]"
        raise ContractError(f"the mask is {expected}; got {mask.dtype} {list(mask.shape)}")
    found = mask.flatten(1).any(1).tolist() if mask.ndim > 1 else mask.tolist()
    if found != there:
        raise ContractError(f"values are there: {there}; the mask says {found}")


def transform_state(specimen: Specimen) -> str | None:
    """What was fitted goes through JSON into a new one, which then gives the same batches."""
    fitted, values = specimen.transform, specimen.values(4, seed=3)
    new = specimen.new_transform()
    new.restore(json.loads(json.dumps(fitted.state(), allow_nan=False)))
    if _differs(new(values), fitted(values)):
        raise ContractError("restored from its state it gives other batches; state() lacks something that was fitted")
    if isinstance(specimen, HeadSpecimen):
        restored = new.target() if isinstance(new, TruthTransform) else None
        if restored != specimen.transform.target():
            raise ContractError(f"restored, its target is {restored} instead of {specimen.transform.target()}")
    return None


def transform_pickle(specimen: Specimen) -> str | None:
    """It can be pickled, fitted, and then gives the same batches: workers of a loader get it so."""
    fitted, values = specimen.transform, specimen.values(4, seed=3)
    copy: Any = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (our own)
    if _differs(copy(values), fitted(values)):
        raise ContractError("unpickled it gives other batches")
    return None


def transform_repeatable(specimen: Specimen) -> str | None:
    """Without a generator it is deterministic; with one it draws from that alone."""
    transform, values = specimen.transform, specimen.values(4)
    before = torch.get_rng_state()
    if _differs(transform(values), transform(values)):
        raise ContractError("without a generator the same values give two different batches")
    first, second = (transform(values, Generator().manual_seed(5)) for _ in range(2))
    if _differs(first, second):
        raise ContractError("generators of one seed give two different batches")
    if not torch.equal(before, torch.get_rng_state()):
        raise ContractError("it draws from torch's global generator; draw from the one handed in")
    return None


def transform_augments(specimen: Specimen) -> str | None:
    """`augments` says whether a generator changes anything."""
    transform, values = specimen.transform, specimen.values(4)
    plain = transform(values)
    changes = any(_differs(transform(values, Generator().manual_seed(seed)), plain) for seed in range(DRAWS))
    if changes != transform.augments:
        what = "changes a batch" if changes else f"changed nothing in {DRAWS} batches"
        raise ContractError(f"augments is {transform.augments}, and a generator {what}")
    return None
