"""Parts of a file of answers as jobs of an executor: the number of a part is sent, and its file is what comes of it.

What parts have in common (the folder of the model, the table, the options) is sent beside each number and opened once
by a process. It reads the table itself, and answers only where versions, model, table and device are those of the call.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import pyarrow as pa
import pyarrow.parquet
import torch

from mmkit.errors import DataError, MmkitError
from mmkit.model.answer_formats import writing
from mmkit.model.answers import Answered, Asked, Reader
from mmkit.model.description import digest_of
from mmkit.model.saving import code_of_model
from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import Catalog
from mmkit.sources.streaming import Stream
from mmkit.system.executors.jobs import check_software, ended_early, sendable
from mmkit.system.files import replacing, utf8
from mmkit.system.machine import software
from mmkit.system.progress import Progress

NOTE = b"mmkit"
"""The key of what the metadata of a part say of it."""


@dataclass(frozen=True)
class Part:
    """A part that is to be written.

    Args:
        number: of it, from 0.
        then: of the part that the same process will write next, where that is known.
    """

    number: int
    then: int | None = None


@dataclass(frozen=True)
class Written:
    """What became of a part.

    Args:
        rows: that it has; None where the table ends before it.
        absent: lines on columns that the model reads and the rows lack.
        error: why it was not written.
    """

    rows: int | None = None
    absent: tuple[str, ...] = ()
    error: Exception | None = None


def part_file(folder: Path, number: int) -> Path:
    """The file of a part."""
    return folder / f"{number:06}.parquet"


@dataclass(frozen=True)
class Common:
    """What all parts of a file of answers have in common.

    Args:
        folder: of the model.
        digest: the hash of the model.
        code: hashes of its code that can be edited, by component.
        device: that it computes on.
        threads: of the CPU that it computes with.
        catalog: where components are looked up.
        stream: the table.
        fingerprint: of its content.
        asked: how it is to be answered.
        parts: the folder of the parts.
        software: versions of what computes.
        name: that no other call has.
    """

    folder: Path
    digest: str
    code: Mapping[str, str]
    device: str
    threads: int
    catalog: Catalog
    stream: Stream
    fingerprint: str
    asked: Asked
    parts: Path
    software: dict[str, Any] = field(default_factory=software)
    name: str = field(default_factory=lambda: uuid4().hex)

    def opened(self) -> Callable[[Part], Written]:
        """What writes a part in this process, which is not that of the user.

        Raises:
            DataError: the model or the table is another here.
            MmkitError: versions or the device are.
        """
        check_software(self.software, "the call")
        if (found := digest_of(self.folder)) != self.digest:
            raise DataError(f"a worker finds model {found} in {self.folder}, and the call {self.digest}")
        if self.stream.fingerprint != self.fingerprint:
            raise DataError(
                f"a worker finds other data than the call in {self.stream.name}; the data must be at a path that all "
                "machines see"
            )
        torch.set_num_threads(self.threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the process of the user has told them
            model = MultimodalModel.load(self.folder, catalog=self.catalog, device=self.device)
        here = code_of_model(model.combination, model.modalities)
        if changed := [name for name in {**self.code, **here} if self.code.get(name) != here.get(name)]:
            raise MmkitError(f"a worker has other code of {changed[0]} than the call; give all machines the same files")
        return Writer(model, self.stream, self.asked, self.parts)


class Writer:
    """Writes parts of a file of answers, one after the other.

    Args:
        model: trained.
        stream: the table.
        asked: how it is to be answered.
        parts: the folder of the parts.
    """

    def __init__(self, model: MultimodalModel, stream: Stream, asked: Asked, parts: Path) -> None:
        self._reader = Reader(model, stream, asked)
        self._parts = parts

    def __call__(self, part: Part) -> Written:
        """Write a part; an error is what becomes of it, since parts before it may have another."""
        try:
            found = self._reader.answered(part.number, part.then)
            if found is None:
                return Written()
            write_part(part_file(self._parts, part.number), found)
        except Exception as error:  # noqa: BLE001 (raised again when all parts before it have ended)
            return Written(error=sendable(error))
        return Written(found.table.num_rows, tuple(found.absent.values()))

    def close(self) -> None:
        """End its thread."""
        self._reader.close()


def write_part(path: Path, answered: Answered) -> None:
    """Write the answers to a piece of a table, with what is to be said of it.

    Raises:
        UsageError: it cannot be written.
    """
    note = {
        "skipped": answered.skipped,
        "missing": answered.missing,
        "absent": list(answered.absent),
        "unread": [list(one) for one in answered.unread],
        "values": answered.values,
    }
    text = utf8(json.dumps(note, ensure_ascii=False))
    with writing(path), replacing(path) as (fresh,):
        pa.parquet.write_table(answered.table.replace_schema_metadata({NOTE: text}), fresh)


class Parts:
    """Where parts are written: in this process, or in others; a place of jobs.

    Args:
        model: trained.
        common: what all parts have in common.
        progress: what is told.
    """

    called = "parts"

    def __init__(self, model: MultimodalModel, common: Common, progress: Progress) -> None:
        self._model, self._common = model, common
        self._writer: Writer | None = None
        self.progress = progress

    def begins(self, jobs: Iterable[Part]) -> None:
        """The count of rows says it all."""

    def perform(self, job: Part) -> Written:
        """Write a part in this process."""
        of = self._common
        self._writer = self._writer or Writer(self._model, of.stream, of.asked, of.parts)
        return self._writer(job)

    @cached_property
    def _travelling(self) -> bytes:
        return cloudpickle.dumps(self._common)

    def packed(self, job: Part) -> tuple[str, bytes, bytes]:
        """A part for another process."""
        return self._common.name, self._travelling, cloudpickle.dumps(job)

    def lost(self, job: Part, why: str) -> Written:
        """What becomes of a part whose process ended each time before it was written."""
        first = job.number * self._common.stream.size
        last = first + self._common.stream.size - 1
        return Written(error=MmkitError(f"rows {first:,} to {last:,}: {ended_early(why)}; the same command goes on"))

    def close(self) -> None:
        """End what was begun in this process."""
        if self._writer is not None:
            self._writer.close()
