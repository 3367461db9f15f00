"""Transformed splits on disk, beside the features of frozen encoders: transformed once, read by rows.

FOLDER/KEY/about.json   what determines the values, and how they are stored; written last
FOLDER/KEY/*.npy        one file a leaf, appended part by part; of leaves along T only the real steps, with `offsets`

Axes: N samples, n of a part, T steps, R real steps of all samples.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit.contract import Batch, Transform
from mmkit.data.bad_values import Rejected
from mmkit.data.columns import Column
from mmkit.data.padding import real_steps
from mmkit.data.whole import AT_ONCE, Whole, alike, along_steps, lengths_of, paddings
from mmkit.features.cache import about_entry, made_once, opened, writing
from mmkit.features.pieces import LENGTHS, PROGRESS, Part
from mmkit.system.cache_folder import ABOUT
from mmkit.system.files import replacing, write_json
from mmkit.system.progress import SILENT, Progress

OFFSETS = "offsets.npy"


class UnpackableError(Exception):
    """A transform whose batches cannot be stored part by part; its rows are transformed when they are asked for."""


@dataclass(frozen=True)
class Packing:
    """One pass of a transform over the values of a split.

    Args:
        name: of the input.
        transform: fitted.
        values: of the split.
        ids: of their samples, for messages.
        progress: receives the number of transformed samples.
        about: information for `mmkit cache list` that does not determine the values: the input, and the split.
    """

    name: str
    transform: Transform
    values: Column
    ids: Sequence[Any]
    progress: Progress = SILENT
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many values are transformed together."""
        return AT_ONCE if self.values.lazy is None else self.values.lazy.at_once

    def transformed(self, values: Sequence[Any]) -> Batch:
        """The batch of some values, for the layout."""
        return self.transform(values)

    def first(self) -> Batch:
        """The first part.

        Raises:
            RejectedError: the transform rejects values of it.
        """
        rejected = Rejected(self.name)
        part = rejected.part(self.transform, self.values, self.ids, 0, self.size)
        rejected.raise_any()
        if part is None:
            raise AssertionError("a part that is not rejected is there")
        return part


def packed(work: Packing, folder: Path, key: str, made_of: Mapping[str, Any]) -> Whole:
    """The transformed split: read from the cache, or made and written to it; its leaves are mapped.

    A pass that was killed goes on where it was last made sure of: after 64 MiB or 10 s. If several processes need the
    same, one makes it, the others wait and read.

    Args:
        work: the pass.
        folder: of the cache.
        key: a hash over `made_of`.
        made_of: all that determines the values; recorded for `mmkit cache list`.

    Raises:
        RejectedError: the transform rejects values.
        CacheWriteError: the folder cannot be written to, or the disk is full; what is written stays there.
        UnpackableError: batches of the transform cannot be stored part by part.
    """
    home = folder / key
    return made_once(folder, key, lambda: _read(home), lambda: _write(home, work, made_of))


class _Layout:
    """How the leaves of a transform are stored, by its first batches.

    Args:
        work: the pass.
        known: the padding that earlier parts had, of a pass that goes on.
    """

    def __init__(self, work: Packing, known: Mapping[str, float]) -> None:
        self.name = work.name
        self.first = first = work.first()
        self.along: frozenset[str] = frozenset()
        self.least = 1
        self.fills = dict(known)
        if any(not isinstance(leaf, Tensor) or leaf.dtype == torch.bfloat16 for leaf in first.values()):
            raise UnpackableError(f"the transform of {work.name} gives leaves of a type that no file has")
        if first["mask"].ndim == 2:
            along, least = along_steps([first], lengths_of(first["mask"]), work.values, work.transformed)
            if "mask" in along:
                self.along, self.least = along, least

    @cached_property
    def files(self) -> dict[str, str]:
        """The name of the file of each leaf."""
        return {leaf: f"leaf{number}" for number, leaf in enumerate(sorted(self.first))}

    def part(self, batch: Batch) -> Part:
        """What is appended of a batch.

        Raises:
            UnpackableError: it is not like the first.
        """
        if not alike(self.first, batch) or any(
            batch[leaf].shape[1:] != self.first[leaf].shape[1:] for leaf in self.first.keys() - self.along
        ):
            raise UnpackableError(f"the transform of {self.name} gives leaves whose shapes change")
        lengths = lengths_of(batch["mask"])
        part: Part = {"lengths": lengths.numpy()}
        if self.along:
            for leaf, found in paddings(batch, self.along).items():
                if len(found | ({self.fills[leaf]} if leaf in self.fills else set())) > 1:
                    raise UnpackableError(f"the padding of {leaf} is not one value")
                for value in found:
                    self.fills[leaf] = value
            real = np.flatnonzero(real_steps(lengths, batch["mask"].shape[1]).numpy())
        for leaf, file in self.files.items():
            values = batch[leaf].numpy()
            part[file] = values.reshape(-1, *values.shape[2:])[real] if leaf in self.along else values
        return part


def _write(home: Path, work: Packing, made_of: Mapping[str, Any]) -> None:
    """Transform all values that are not written yet, and write them; each is written once."""
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        (home / ABOUT).unlink(missing_ok=True)  # of a damaged entry
    rejected = Rejected(work.name)
    count = len(work.values)
    with opened(home, work.size) as pieces:
        layout = _Layout(work, pieces.note)
        for start in range(pieces.samples, count, work.size):
            batch = (
                layout.first if start == 0 else rejected.part(work.transform, work.values, work.ids, start, work.size)
            )
            if batch is None or rejected.any:
                continue  # all that is rejected is named at once; nothing of this pass is kept behind it
            part = layout.part(batch)
            pieces.note = layout.fills
            with writing(home):
                pieces.append(part)
            work.progress.update(f"transforming {work.name}", pieces.samples, count)
        rejected.raise_any()
        with writing(home):
            offsets = pieces.finish()
            with replacing(home / OFFSETS) as (fresh,), fresh.open("wb") as stream:
                np.save(stream, offsets)
            about: dict[str, Any] = {"samples": pieces.samples, "made": time.time(), **work.about, "of": made_of}
            about |= {"files": layout.files, "along": sorted(layout.along), "least": layout.least}
            about |= {"fills": _known_fills(layout, work, offsets)}
            about |= {"shapes": {leaf: list(pieces.shape(file)) for leaf, file in layout.files.items()}}
            write_json(home / ABOUT, about, indent=None)
    with writing(home):
        for name in (PROGRESS, LENGTHS):
            (home / name).unlink()


def _known_fills(layout: _Layout, work: Packing, offsets: np.ndarray[Any, Any]) -> dict[str, float]:
    """The padding of each leaf along T; where no part had any, that of a shortest and a longest value together."""
    unknown = layout.along - layout.fills.keys()
    lengths = np.diff(offsets)
    if unknown and len(lengths) and lengths.min() < lengths.max():
        pair = [work.values[int(lengths.argmin())], work.values[int(lengths.argmax())]]
        for leaf, found in paddings(work.transformed(pair), unknown).items():
            if len(found) > 1:
                raise UnpackableError(f"the padding of {leaf} is not one value")
            for value in found:
                layout.fills[leaf] = value
    return {leaf: layout.fills.get(leaf, 0) for leaf in layout.along}


def _read(home: Path) -> Whole | None:
    """What an entry holds; None if it is missing, unfinished or damaged."""
    about = about_entry(home)
    if about is None:
        return None
    try:
        leaves = {leaf: _mapped(home / f"{file}.npy", about["shapes"][leaf]) for leaf, file in about["files"].items()}
        offsets = torch.from_numpy(np.load(home / OFFSETS))
        along = frozenset(about["along"])
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    if len(offsets) != about["samples"] + 1:
        return None
    place = torch.device("cpu")
    if not along:
        return Whole(leaves, place=place)
    lengths = offsets.diff()
    steps = int(lengths.max()) if len(lengths) else 0
    if len(lengths) and int(lengths.min()) == steps >= about["least"]:  # then nothing is padded
        whole = {
            n: leaf.view(len(lengths), steps, *leaf.shape[1:]) if n in along else leaf for n, leaf in leaves.items()
        }
        return Whole(whole, place=place)
    return Whole(leaves, along, lengths, about["least"], offsets, about["fills"], place=place)


def _mapped(path: Path, shape: Sequence[int]) -> Tensor:
    array = np.load(path, mmap_mode="r" if shape[0] else None)  # an empty array cannot be mapped
    if list(array.shape) != list(shape):
        raise ValueError(f"{path} holds {array.shape}; expected {shape}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nobody writes to it
        return torch.from_numpy(array)
