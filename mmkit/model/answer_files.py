"""Answers in a file: written in parts beside it, so that a process that was killed goes on, then joined.

OUT.parts/manifest.json       what the parts are answers to: the model, the table, the options
OUT.parts/000017.parquet      the answers to rows 17 x 4096 to 18 x 4096, renamed when whole; its metadata say what of
                              them could not be read
OUT                           all parts in order; then OUT.parts is gone
OUT.unread.parquet            row, column and reason of each value that could not be used, where there are any
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mmkit.errors import DataError, UsageError
from mmkit.model.answer_formats import EXTENSIONS
from mmkit.model.answer_jobs import Common, Part, Parts, part_file
from mmkit.model.answer_joining import Summary, join, summary_of
from mmkit.model.answers import Asked
from mmkit.model.saving import code_of_model
from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import Catalog
from mmkit.sources.formats import extension
from mmkit.sources.streaming import Stream
from mmkit.system.executors.choosing import share_of
from mmkit.system.executors.jobs import Executor, closed
from mmkit.system.executors.serial import Serial
from mmkit.system.files import owned, write_json
from mmkit.system.progress import Progress

MANIFEST = "manifest.json"


def parts_folder(out: Path) -> Path:
    """The folder of the parts of a file of answers."""
    return out.with_name(f"{out.name}.parts")


def parts_in(folder: Path) -> set[int]:
    """The numbers of the parts in a folder."""
    if not folder.is_dir():
        return set()
    return {int(path.stem) for path in folder.glob("[0-9]*.parquet") if path.stem.isdecimal()}


def threads_of(threads: int | None, workers: int, out: Path) -> int | None:
    """The threads that answers are computed with: those that are asked for; else those of the parts that are there;
    else, with several workers, a fair share of the cores. Other numbers of threads give other last digits.

    Args:
        threads: that are asked for.
        workers: parts at once.
        out: the file of the answers.
    """  # noqa: D205 - one sentence
    if threads is not None:
        return threads
    folder = parts_folder(out)
    known = _manifest(folder).get("threads") if parts_in(folder) else None
    if isinstance(known, int) and known > 0:
        return known
    return None if workers == 1 else share_of(workers)


def _manifest(folder: Path) -> dict[str, Any]:
    """What the parts in a folder are answers to; empty where it cannot be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Job:
    """Answers to a table, on their way into a file.

    Args:
        model: trained.
        folder: of the model.
        digest: the hash of the model.
        catalog: where components are looked up.
        stream: the table.
        asked: how it is to be answered.
        out: the file of the answers.
        force: True where what is there may be replaced.
    """

    model: MultimodalModel
    folder: Path
    digest: str
    catalog: Catalog
    stream: Stream
    asked: Asked
    out: Path
    force: bool = False

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return parts_folder(self.out)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the parts are answers to."""
        return {
            "model": self.digest,
            "data": self.stream.data,
            "content of the data": self.stream.fingerprint,
            "include": list(self.asked.include),
            "on_error": self.asked.on_error,
            "batch_size": self.asked.batch_size,
            "decimal": self.asked.decimal,
            "files": self.stream.files,
            "outside": self.stream.outside,
            "device": self.model.device.type,
            "threads": torch.get_num_threads(),
            "rows of a part": self.stream.size,
            **{f"code of {name}": code for name, code in self.common.code.items()},
            **{f"version of {name}": version for name, version in self._versions.items()},
        }

    @property
    def _versions(self) -> dict[str, Any]:
        """Of what computes, and of the plugins."""
        return {**self.common.software, **self.model.combination.plugins()}

    @cached_property
    def common(self) -> Common:
        """What its parts have in common."""
        return Common(
            self.folder.absolute(),
            self.digest,
            code_of_model(self.model.combination, self.model.modalities),
            self.model.device.type,
            torch.get_num_threads(),
            self.catalog,
            self.stream,
            self.stream.fingerprint,
            self.asked,
            self.parts.absolute(),
        )

    def done(self) -> set[int]:
        """The numbers of the parts that are there."""
        return parts_in(self.parts)

    def part(self, number: int) -> Path:
        """The file of a part."""
        return part_file(self.parts, number)


def check_out(out: Path, data: object) -> None:
    """Check that answers can be written to a file of this name.

    Args:
        out: the file.
        data: the path of the table; what is in memory is no path.

    Raises:
        UsageError: they cannot.
    """
    if extension(out) not in EXTENSIONS or out.suffix.lower() not in EXTENSIONS:
        raise UsageError(f"--out takes a file of {', '.join(EXTENSIONS)}; got {out}")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it")
    if isinstance(data, str | os.PathLike) and out.exists() and Path(data).exists() and out.samefile(data):
        raise UsageError(f"--out {out} is the table of --data; name another file")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a file")


def write_answers(job: Job, progress: Progress, executor: Executor | None = None) -> Summary:
    """Answer a table into a file. What a process that was killed has answered is not answered again.

    Args:
        job: what is to be answered.
        progress: what is told.
        executor: writes the parts, and is closed at the end; None writes one after the other in this process.

    Raises:
        UsageError: the file is there, or parts of another job are; or it cannot be written; or other processes cannot
            read the table.
        DataError: the table cannot be read, or a value cannot be used and `on_error` is "fail".
    """
    check_out(job.out, job.stream.data)
    executor = executor or Serial()
    if job.stream.in_memory and not isinstance(executor, Serial):
        raise UsageError(
            "the table is in memory, where other processes cannot read it; write it to a file, such as Parquet, or "
            "leave out workers and engine"
        )
    with closed(executor), owned(job.parts, instead="name another file with --out"):
        try:
            with closed(executor):  # so that nothing writes any more when it is seen what is left
                return _written(job, progress, executor)
        finally:
            if job.parts.is_dir() and not job.done():  # nothing is lost, so nothing is left
                shutil.rmtree(job.parts, ignore_errors=True)


def _written(job: Job, progress: Progress, executor: Executor) -> Summary:
    _begin(job)
    _write_parts(job, progress, executor)
    try:
        parts = [job.part(number) for number in sorted(job.done())]
        summary = summary_of(job.out, parts, job.stream.name)
    except DataError:
        shutil.rmtree(job.parts, ignore_errors=True)  # answers to what was hardly read are of no use
        raise
    join(parts, summary)
    shutil.rmtree(job.parts)
    return summary


def _write_parts(job: Job, progress: Progress, executor: Executor) -> None:
    """Write the parts that are not there.

    Of several errors the first in the order of the rows is raised, and no part behind it is left: as where they are
    written one after the other.
    """
    done, size, total = job.done(), job.stream.size, job.stream.count()
    end = None if total is None else -(-total // size)
    rows = len(done) * size
    if done:
        progress.note(f"{rows:,} rows were answered before; it goes on with the others")
    wrong: dict[int, Exception] = {}
    fresh: set[int] = set()
    ended = False

    def missing() -> Iterator[int]:
        return (one for one in itertools.count() if one not in done)

    def parts() -> Iterator[Part]:
        for number, following in itertools.pairwise(missing()):
            if ended or wrong or number == end:
                return
            yield Part(number, following if executor.workers == 1 and following != end else None)

    with contextlib.closing(Parts(job.model, job.common, progress)) as place:
        if executor.workers > 1:
            progress.stage(f"{executor.workers} workers start")
        for part, written in executor.run(parts(), place):
            if written.error is not None:
                wrong[part.number] = written.error
            elif written.rows is None:
                ended = True
            else:
                if part.number == 0:
                    for line in written.absent:
                        progress.note(line)
                fresh.add(part.number)
                rows += written.rows
                progress.update("rows", rows if total is None else min(rows, total), total)
    if wrong:
        first = min(wrong)
        for number in fresh:
            if number > first:
                job.part(number).unlink(missing_ok=True)
        raise wrong[first]


def _begin(job: Job) -> None:
    """Check that the parts that are there are those of this job, and that the file may be written.

    Raises:
        UsageError: they are not, or it may not.
    """
    note = job.parts / MANIFEST
    before = _manifest(job.parts) if note.exists() else None
    if before == job.manifest:
        return
    if before == {**job.manifest, "on_error": "fail"}:  # every value of these parts could be read
        write_json(note, job.manifest)
        return
    if before is not None and job.done() and not job.force:
        changed = [
            f"{name} was {before.get(name)!r} and is {now!r}"
            for name, now in job.manifest.items()
            if before.get(name) != now
        ]
        raise UsageError(
            f"{job.parts} holds the answers of another job: {'; '.join(changed)}. Give what was given, or --force to "
            "begin anew"
        )
    if job.out.exists() and not job.force:
        raise UsageError(f"{job.out} exists; name another file with --out, or --force replaces it")
    for path in job.parts.iterdir():
        if path.suffix == ".parquet" or path == note:
            path.unlink()
    write_json(note, job.manifest)
