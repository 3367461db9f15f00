"""What the runs of a suite have in common, made once: fitted transforms, frozen encoders, and their features.

A run must be the same to the bit whether it shares or not. So what is shared are things that nothing changes, and one
is shared with a run only if torch's global generator stands where it stood when the thing was made; it is then left
where making it anew would have left it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmkit.contract import Transform
from mmkit.data.columns import Column
from mmkit.data.packed import Packed
from mmkit.features.cache import CacheWriteError, Pass, encoded
from mmkit.registry.options import Choice
from mmkit.system.hashing import digest, fingerprint
from mmkit.system.progress import SILENT, Progress

Made = TypeVar("Made")


@dataclass(frozen=True)
class _Kept:
    """What was made, of what, and torch's generator before and after."""

    made: Any
    of: object
    before: Tensor
    after: Tensor


@dataclass
class Shared:
    """Made by one suite, handed to all of its runs; or by a run for itself.

    Args:
        cache: folder in which features are kept; None keeps them in memory only.
        progress: told what is going on.
    """

    cache: Path | None = None
    progress: Progress = SILENT
    _kept: dict[Hashable, _Kept] = field(default_factory=dict, init=False)
    _digests: dict[Hashable, tuple[object, str]] = field(default_factory=dict, init=False)
    _features: dict[Hashable, tuple[str, Packed]] = field(default_factory=dict, init=False)
    _said: set[str] = field(default_factory=set, init=False)

    def transform(self, name: str, choice: Choice, values: Column, make: Callable[[], Made]) -> Made:
        """The transform of an input, fitted on these values."""
        return self._once(("transform", name, _named(choice)), values, values.same, make, lambda _: True)

    def encoder(self, name: str, choice: Choice, transform: Transform, make: Callable[[], nn.Module]) -> nn.Module:
        """The encoder of an input. It is shared if it is frozen, and nothing augments what it is shown in training."""
        return self._once(
            ("encoder", name, _named(choice)),
            transform,
            lambda known: known is transform,
            make,
            lambda made: getattr(made, "frozen", False) and not transform.augments,
        )

    def _once(
        self,
        slot: Hashable,
        of: object,
        same: Callable[[Any], bool],
        make: Callable[[], Made],
        keep: Callable[[Made], bool],
    ) -> Made:
        before = torch.get_rng_state()
        kept = self._kept.get(slot)
        if kept is not None and torch.equal(kept.before, before) and same(kept.of):
            torch.set_rng_state(kept.after)
            found: Made = kept.made
            return found
        made = make()
        if keep(made):  # the latest alone: the next seed draws others, and these may be large
            self._kept[slot] = _Kept(made, of, before, torch.get_rng_state())
        return made

    def features(
        self, slot: Hashable, encoder: nn.Module, transform: Transform, settings: Mapping[str, Any], work: Pass
    ) -> Packed:
        """The features of a split: those of an earlier run, else of the cache, else computed.

        Args:
            slot: the input, and whatever else tells its features from others of one suite.
            encoder: with its weights, which decide.
            transform: fitted; its state decides.
            settings: plain values that decide as well: names, options and versions, device and precision.
            work: how they are computed, of which values.
        """
        try:
            made_of = {
                **settings,
                "transform": self._digest(("transform", slot), transform, transform.state),
                "weights": self._digest(("weights", slot), encoder, encoder.state_dict),
                "values": work.values.fingerprint,
            }
        except TypeError as error:
            self._tell(f"{error}, so their features are computed in every run")
            return work.in_memory()
        key = fingerprint(made_of)
        place = (slot, made_of["values"])
        if place not in self._features or self._features[place][0] != key:
            self._features[place] = key, self._read(work, key, made_of)
        return self._features[place][1]

    def _read(self, work: Pass, key: str, made_of: Mapping[str, Any]) -> Packed:
        if self.cache is not None:
            try:
                return encoded(work, self.cache, key, made_of)
            except CacheWriteError as error:
                self._tell(f"{error}; until then they are kept in memory")
        return work.in_memory()

    def _digest(self, slot: Hashable, thing: object, content: Callable[[], Any]) -> str:
        known = self._digests.get(slot)
        if known is None or known[0] is not thing:
            known = self._digests[slot] = thing, digest(content())
        return known[1]

    def _tell(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.progress.warn(message)


def _named(choice: Choice) -> Hashable:
    return choice.factories, repr(sorted(choice.options.items()))
