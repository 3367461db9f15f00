"""Checks of the transforms that encoders and heads read.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import copy
import gc
import json
import pickle
import random
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, TruthTransform
from mmkit.errors import ContractError
from mmkit.testing.checks.alike import alike
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.head import HeadSpecimen

Specimen = EncoderSpecimen | HeadSpecimen

THREADS = 4
ROUNDS = 8
PATIENCE = 0.2
"""Seconds."""
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
    before = _global_states()
    if _differs(transform(values), transform(values)):
        raise ContractError("without a generator the same values give two different batches")
    first, second = (transform(values, Generator().manual_seed(5)) for _ in range(2))
    if _differs(first, second):
        raise ContractError("generators of one seed give two different batches")
    for name, state in _global_states().items():
        if state != before[name]:
            raise ContractError(f"it draws from {name}'s global generator; draw from the one handed in")
    return None


def _global_states() -> dict[str, Any]:
    state = np.random.get_state()
    numpy = (str(state[0]), bytes(state[1]), *state[2:])  # type: ignore[index]
    return {"torch": torch.get_rng_state().tolist(), "numpy": numpy, "random": random.getstate()}


def transform_buffer(specimen: Specimen) -> str | None:
    """A batch is its own: the next one does not change it, nor are the values that it was made of."""
    first, second = specimen.values(4), specimen.values(4, seed=6)
    values = copy.deepcopy(first)
    kept = dict(specimen.transform(first))
    expected = {name: leaf.clone() for name, leaf in kept.items()}
    specimen.transform(second)
    specimen.transform(second[:2])
    if _differs(kept, expected):
        raise ContractError("the next batch changes the one before: it reuses a buffer; give new tensors")
    if not alike(first, values):
        raise ContractError("it changes the values that it is given; copy them first")
    return None


class _Interrupted(Sequence[Any]):
    """Values between which others are transformed, in another thread."""

    def __init__(self, values: Sequence[Any], between: Callable[[], object]) -> None:
        self.values = values
        self.between = between

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        value = self.values[place]
        thread = threading.Thread(target=self.between, daemon=True)
        thread.start()
        thread.join(PATIENCE)  # a transform that holds a lock lets the other wait, and that is right
        return value


def transform_threads(specimen: Specimen) -> str | None:
    """Several threads may call at once: each gets the batch that it gets alone."""
    transform = specimen.transform
    lots = [specimen.values(3, seed=seed) for seed in range(THREADS)]
    expected = [transform(values) for values in lots]
    if _differs(transform(_Interrupted(lots[0], lambda: transform(lots[1]))), expected[0]):
        raise ContractError("another batch that is made meanwhile changes this one: keep nothing of a call in self")
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            numbers = [number for _ in range(ROUNDS) for number in range(THREADS)]
            found = list(pool.map(lambda number: transform(lots[number]), numbers))
    finally:
        sys.setswitchinterval(switch)
    for number, batch in zip(numbers, found, strict=True):
        if _differs(batch, expected[number]):
            raise ContractError(f"{THREADS} threads at once get other batches than one: keep nothing of a call in self")
    return None


def transform_fit(specimen: Specimen) -> str | None:
    """Fitting anew forgets what was fitted before."""
    first, second = specimen.values(16, seed=5), [*specimen.values(16), None]
    twice, once = specimen.new_transform(), specimen.new_transform()
    twice.fit(first)
    twice.fit(second)
    once.fit(second)
    values = specimen.values(4)
    if json.dumps(twice.state(), sort_keys=True) != json.dumps(once.state(), sort_keys=True) or _differs(
        twice(values), once(values)
    ):
        raise ContractError("fitted twice it is not what the second fit makes of a new one: fit accumulates")
    return None


class _Lazy(Sequence[Any]):
    """Values that are handed out one by one, each a new object, as a lazy column does; it counts how often.

    Args:
        values: what is handed out.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self.reads = [0] * len(values)
        self.handed: list[weakref.ref[Any]] = []

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        value = copy.deepcopy(self._values[index])  # raises IndexError behind the end, which ends an iteration
        self.reads[index] += 1
        if isinstance(value, Tensor | np.ndarray):
            self.handed.append(weakref.ref(value))
        return value

    def __len__(self) -> int:
        return len(self._values)


def transform_lazy(specimen: Specimen) -> str | None:
    """`fit` and `__call__` take a sequence that is no list, as a lazy column is, and make the same of it."""
    values = [*specimen.values(16), None]
    plain, lazy = specimen.new_transform(), specimen.new_transform()
    plain.fit(values)
    try:
        lazy.fit(_Lazy(values))
        found = lazy(_Lazy(values))
    except Exception as error:
        raise ContractError(f"of a sequence that is no list: {type(error).__name__}: {error}") from error
    same = json.dumps(plain.state(), sort_keys=True) == json.dumps(lazy.state(), sort_keys=True)
    if not same or _differs(found, plain(values)):
        raise ContractError("of a sequence that is no list it makes something else than of a list")
    return None


def transform_streams(specimen: Specimen) -> str | None:
    """Where a transform says that `fit` streams, it reads each value once, and keeps none."""
    transform = specimen.new_transform()
    if not getattr(transform, "streams", False):
        return None
    values = _Lazy([*specimen.values(16), None])
    transform.fit(values)
    gc.collect()
    if any(one() is not None for one in values.handed):
        raise ContractError("streams is True, and after `fit` values are still held")
    if max(values.reads) > 1:
        raise ContractError(f"streams is True, and `fit` reads a value {max(values.reads)} times")
    return None


def transform_missing(specimen: Specimen) -> str | None:
    """Missing values change nothing that is fitted: they are no zeros, no empty texts, and no class of their own."""
    values = specimen.values(16)
    with_gaps = [None, *(one for value in values for one in (value, None))]
    found, expected = specimen.new_transform(), specimen.new_transform()
    found.fit(with_gaps)
    expected.fit(values)
    some = specimen.values(4)
    if _differs(found(some), expected(some)):
        raise ContractError("fitted with missing values among the others it gives other batches; leave them out in fit")
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
