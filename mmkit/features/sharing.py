"""What the runs of a suite share: fitted transforms, transformed splits, frozen encoders, and features.

A run must have bitwise the same results with and without sharing. So only immutable things are shared, and only if the
state of torch's global generator is the same as when the thing was made, or making it drew nothing; the generator then
gets the state that making it again would leave.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mmkit.contract import Transform
from mmkit.data.columns import Column
from mmkit.data.packed import Packed
from mmkit.data.readings import Live, size_of_whole
from mmkit.data.whole import Whole, lengths_of
from mmkit.features.cache import CacheWriteError, Pass, encoded, encoded_rows
from mmkit.features.known_rows import Encoded, KnownRows
from mmkit.features.transformed import Packing, UnpackableError, packed
from mmkit.registry.notation import as_json
from mmkit.registry.options import Choice
from mmkit.system.code import code_of, code_of_core
from mmkit.system.hashing import digest, fingerprint
from mmkit.system.machine import memory, of_features
from mmkit.system.progress import SILENT, Progress

Made = TypeVar("Made")

AT_MOST = 4 * 2**30
"""Bytes of transformed splits that are kept for later runs, or a quarter of the memory if that is less."""


IN_MEMORY = 64 * 2**20
"""Bytes of a transformed split up to which it stays in memory, though its values do not."""
KEEP = 20 * 2**30
"""Bytes of transformed splits on disk at most, unless the user says otherwise."""


@dataclass(frozen=True)
class _Kept:
    """A shared thing, its source, and the states of torch's generator before and after it was made."""

    made: Any
    source: object
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class _Transformed:
    """A transformed split, the transform that made it, and of which values."""

    name: str
    transform: Transform
    values: Sequence[Any]
    whole: Whole


@dataclass
class Shared:
    """What the runs of a suite share; a single run has its own.

    Args:
        cache: folder of the feature cache; None keeps features in memory only.
        progress: receives reports of progress.
        keep: bytes of transformed splits that are written to that folder; None is a tenth of what is free there, at
            most 20 GiB.
    """

    cache: Path | None = None
    progress: Progress = SILENT
    keep: int | None = None
    _kept: dict[Hashable, _Kept] = field(default_factory=dict, init=False)
    _wholes: list[_Transformed] = field(default_factory=list, init=False)
    _digests: dict[Hashable, tuple[object, str]] = field(default_factory=dict, init=False)
    _features: dict[Hashable, tuple[str, Packed]] = field(default_factory=dict, init=False)
    _encoded: dict[Hashable, list[Encoded]] = field(default_factory=dict, init=False)
    _agrees: dict[Hashable, bool] = field(default_factory=dict, init=False)
    _on_disk: dict[str, float] = field(default_factory=dict, init=False)
    _warned: set[str] = field(default_factory=set, init=False)
    _codes: dict[tuple[type, ...], str | None] = field(default_factory=dict, init=False)

    def code(self, choice: Choice) -> list[str | None]:
        """Hashes of the code that the features of an encoder depend on: mmkit's own, its own, and its transform's.

        None stands for code that cannot be seen.
        """
        for one in choice.whole:
            if one.factories not in self._codes:
                self._codes[one.factories] = code_of(*one.factories)
        return [code_of_core(), *(self._codes[one.factories] for one in choice.whole)]

    def transform(
        self, name: str, choice: Choice, factory: type, values: Sequence[Any], make: Callable[[], Made]
    ) -> Made:
        """The transform of an input or of the truth, fitted on the values. Its own options decide, and no others."""
        slot = ("transform", name, factory, repr(sorted(choice.part(factory).items())))
        return self._once(slot, values, partial(_same, values), make, lambda _: True, whenever=True)

    def whole(
        self, name: str, transform: Transform, values: Sequence[Any], make: Callable[[], Whole | Live]
    ) -> Whole | Live:
        """A split, transformed once; runs that share the transform share it.

        As much is kept as `AT_MOST` says; what was used last stays.

        Args:
            name: of the input.
            transform: fitted.
            values: of the split.
            make: transforms them.
        """
        known = [one for one in self._wholes if one.name == name and one.transform is transform]
        found = next((one for one in known if one.values is values), None)
        found = found or next((one for one in known if _same(values, one.values)), None)
        if found is None:
            made = make()
            if isinstance(made, Live):
                return made
            found = _Transformed(name, transform, values, made)
        self._wholes = [*(one for one in self._wholes if one is not found), found]
        bound = min(AT_MOST, (memory() or AT_MOST) // 4)
        while len(self._wholes) > 1 and sum(one.whole.size for one in self._wholes) > bound:
            del self._wholes[0]
        return found.whole

    def packed(self, work: Packing, choice: Choice) -> Whole | None:
        """A split, transformed once for all processes, and mapped from disk.

        None where it is small, or larger than `keep`, or cannot be kept: it is then transformed in this process.

        Args:
            work: the pass.
            choice: the encoder that the transform is of.

        Raises:
            RejectedError: the transform rejects values.
        """
        if self.cache is None or work.values.lazy is None:
            return None
        size = size_of_whole(work.name, work.transform, work.values, work.ids)
        made_of = self._made_of(work, choice) if size > IN_MEMORY else None
        if made_of is None:
            return None
        key = fingerprint(made_of)
        room = self._room(self.cache) - sum(other for one, other in self._on_disk.items() if one != key)
        if size > room:
            self.warn_once(
                f"input {work.name} would take {size / 2**30:.1f} GiB transformed, more than --keep leaves "
                f"({max(room, 0) / 2**30:.1f} GiB), so it is transformed in every process"
            )
            return None
        try:
            whole = packed(work, self.cache, key, made_of)
        except (UnpackableError, CacheWriteError) as error:
            self.warn_once(f"{error}; until then input {work.name} is transformed in every process")
            return None
        self._on_disk[key] = size
        _meet_unread(work.values, lengths_of(whole.leaves["mask"]) if whole.lengths is None else whole.lengths)
        return whole

    def _made_of(self, work: Packing, choice: Choice) -> dict[str, Any] | None:
        """All that determines a transformed split; None where that cannot be known."""
        code = self.code(choice)
        factory = type(work.transform)
        if None in code:
            return None
        try:
            return {
                "transformed": f"{factory.__module__}.{factory.__qualname__}",
                "options": as_json(choice.part(factory)),
                "plugins": choice.plugins,
                "code": code,
                "libraries": of_features(choice.plugins),
                "transform": digest(work.transform.state()),
                "values": work.values.fingerprint,
            }
        except TypeError as error:
            self.warn_once(f"{error}, so input {work.name} is transformed in every process")
            return None

    def _room(self, folder: Path) -> float:
        if self.keep is not None:
            return self.keep
        there = next(one for one in (folder, *folder.parents) if one.exists())
        return min(KEEP, shutil.disk_usage(there).free / 10)

    def encoder(self, name: str, choice: Choice, transform: Transform, make: Callable[[], nn.Module]) -> nn.Module:
        """The encoder of an input. It is shared if it is frozen and its transform does not augment."""
        return self._once(
            ("encoder", name, _identity(choice)),
            transform,
            lambda known: known is transform,
            make,
            lambda made: getattr(made, "frozen", False) and not transform.augments,
        )

    def _once(
        self,
        slot: Hashable,
        source: object,
        same: Callable[[Any], bool],
        make: Callable[[], Made],
        keep: Callable[[Made], bool],
        *,
        whenever: bool = False,
    ) -> Made:
        """What is kept in the slot, or else made; with `whenever` in any state, if making it drew nothing."""
        before = torch.get_rng_state()
        kept = self._kept.get(slot)
        if kept is not None:
            again = torch.equal(kept.before, before)
            if (again or (whenever and torch.equal(kept.before, kept.after))) and same(kept.source):
                torch.set_rng_state(kept.after if again else before)
                shared: Made = kept.made
                return shared
        made = make()
        if keep(made):  # only the latest: the next seed makes others, and they may be large
            self._kept[slot] = _Kept(made, source, before, torch.get_rng_state())
        return made

    def features(
        self, slot: Hashable, encoder: nn.Module, transform: Transform, settings: Mapping[str, Any], work: Pass
    ) -> Packed:
        """The features of a split: from an earlier run, or from the cache, or computed.

        Args:
            slot: identifies the features within a suite: the input, the copy, the encoder.
            encoder: its weights are part of the key.
            transform: fitted; its state is part of the key.
            settings: plain values that are part of the key: names, options, versions and code, device and precision.
                Where some of the code cannot be seen, features are not kept for another process.
            work: computes the features; its values are part of the key.

        Raises:
            RejectedError: a value cannot be read, or the transform rejects it.
        """
        try:
            made_of = {
                **settings,
                "transform": self._digest(("transform", slot), transform, transform.state),
                "weights": self._digest(("weights", slot), encoder, encoder.state_dict),
                "values": work.values.fingerprint,
            }
        except TypeError as error:
            self.warn_once(f"{error}, so their features are computed in every run")
            return work.in_memory()
        key = fingerprint(made_of)
        place = (slot, made_of["values"])
        if place not in self._features or self._features[place][0] != key:
            origin = work.values.origin
            of = (slot, _without_values(made_of), None if origin is None else origin.table)
            work = replace(work, origin=origin, known=partial(self._known, of, replace(work, origin=origin), made_of))
            self._features[place] = key, self._read(work, key, made_of)
            _meet_unread(work.values, self._features[place][1].lengths)
            if origin is not None and "copy" not in made_of:
                self._encoded.setdefault(of, []).append(Encoded(self._features[place][1], origin.rows))
        return self._features[place][1]

    def _known(self, of: Hashable, work: Pass, made_of: Mapping[str, Any]) -> KnownRows | None:
        """What other splits of the same table have had encoded, if it is enough, and has the same bits."""
        origin = work.origin
        if origin is None or "copy" in made_of:
            return None
        before = list(self._encoded.get(of, ()))
        if self.cache is not None:
            before += encoded_rows(self.cache, made_of, origin.table)
        known = KnownRows(origin.rows, before, work.batch_size)
        if not known.worthwhile:
            return None
        if of not in self._agrees:
            self._agrees[of] = known.agrees(work.of)
        return known if self._agrees[of] else None

    def _read(self, work: Pass, key: str, made_of: Mapping[str, Any]) -> Packed:
        hidden = None in made_of.get("code", ())
        if hidden and self.cache is not None:
            encoder = work.about.get("encoder")
            self.warn_once(f"the code of encoder {encoder} cannot be seen, so its features are kept in memory only")
        if self.cache is not None and not hidden:
            try:
                return encoded(work, self.cache, key, made_of)
            except CacheWriteError as error:
                self.warn_once(f"{error}; until then they are kept in memory")
        return work.in_memory()

    def _digest(self, slot: Hashable, thing: object, content: Callable[[], Any]) -> str:
        known = self._digests.get(slot)
        if known is None or known[0] is not thing:
            known = self._digests[slot] = thing, digest(content())
        return known[1]

    def warn_once(self, message: str) -> None:
        """Report a warning, unless it was reported before."""
        if message not in self._warned:
            self._warned.add(message)
            self.progress.warn(message)

    def note_once(self, message: str) -> None:
        """Report what may interest the user, unless it was reported before."""
        if message not in self._warned:
            self._warned.add(message)
            self.progress.note(message)


def _same(values: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two columns have equal content; others than `Column`, whether they are the same object."""
    return values is other or (isinstance(values, Column) and isinstance(other, Column) and values.same(other))


def _meet_unread(values: Column, lengths: Tensor) -> None:
    """Ask for the values that were made nothing of, though they are no gaps: another process could not read them.

    So they are an error, or noted, as where they are decoded in this one.

    Args:
        values: of a split.
        lengths: [N], what was made of each.

    Raises:
        RejectedError: one cannot be read, and that is not to be passed over.
    """
    nothing = lengths.numpy() == 0
    if values.lazy is not None and nothing.any():
        for place in np.flatnonzero(nothing & ~values.gaps()).tolist():
            values[place]


def _without_values(made_of: Mapping[str, Any]) -> str:
    return fingerprint({name: value for name, value in made_of.items() if name != "values"})


def _identity(choice: Choice) -> Hashable:
    return choice.factories, repr(sorted(choice.options.items()))
