"""Answers in a file: written in parts beside it, so that a process that was killed goes on, then joined.

OUT.parts/manifest.json       what the parts are answers to: the model, the table, the options
OUT.parts/000017.parquet      the answers to rows 17 x 4096 to 18 x 4096, renamed when whole; its metadata say what of
                              them could not be read
OUT                           all parts in order; then OUT.parts is gone
OUT.unread.parquet            row, column and reason of each value that could not be used, where there are any
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mmkit.errors import DataError, UsageError
from mmkit.model.answer_formats import EXTENSIONS, write
from mmkit.model.answers import Answered, Asked, Broken, Unread, answers
from mmkit.model.trained import MultimodalModel
from mmkit.sources.formats import extension
from mmkit.sources.streaming import Stream
from mmkit.system.files import owned, replacing, utf8, write_json
from mmkit.system.progress import Progress

GROUP = 16
"""Parts that become one row group of Parquet, which is 65,536 rows."""
_NOTE = b"mmkit"


@dataclass
class Summary:
    """What was answered.

    Args:
        out: the file.
        rows: of the table.
        skipped: rows without an answer.
        missing: rows in which an input is missing, by input.
        absent: rows in which a column that the model reads was not there, by column.
        unread: how many values could not be used.
        first_unread: the first of them.
        unread_in: the file that has all of them; None where there are none.
    """

    out: Path
    rows: int = 0
    skipped: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    first_unread: list[Unread] = field(default_factory=list)
    unread_in: Path | None = None


@dataclass(frozen=True)
class Job:
    """Answers to a table, on their way into a file.

    Args:
        model: trained.
        digest: the hash of the model.
        stream: the table.
        asked: how it is to be answered.
        out: the file of the answers.
        force: True where what is there may be replaced.
    """

    model: MultimodalModel
    digest: str
    stream: Stream
    asked: Asked
    out: Path
    force: bool = False

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.out.with_name(f"{self.out.name}.parts")

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
            "files": self.stream.files,
            "outside": self.stream.outside,
            "device": next(self.model.module.parameters()).device.type,
            "rows of a part": self.stream.size,
        }

    def done(self) -> int:
        """How many parts are there, from the first on."""
        count = 0
        while self.part(count).is_file():
            count += 1
        return count

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.parts / f"{number:06}.parquet"


def check_out(out: Path, data: str) -> None:
    """Check that answers can be written to a file of this name.

    Args:
        out: the file.
        data: the path of the table, or its name in memory.

    Raises:
        UsageError: they cannot.
    """
    if extension(out) not in EXTENSIONS or out.suffix.lower() not in EXTENSIONS:
        raise UsageError(f"--out takes a file of {', '.join(EXTENSIONS)}; got {out}")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it")
    if out.exists() and Path(data).exists() and out.samefile(data):
        raise UsageError(f"--out {out} is the table of --data; name another file")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a file")


def write_answers(job: Job, progress: Progress) -> Summary:
    """Answer a table into a file. What a process that was killed has answered is not answered again.

    Raises:
        UsageError: the file is there, or parts of another job are; or it cannot be written.
        DataError: the table cannot be read, or a value cannot be used and `on_error` is "fail".
    """
    check_out(job.out, job.stream.data)
    try:
        return _written(job, progress)
    finally:
        if job.parts.is_dir() and not job.done():  # nothing is lost, so nothing is left
            shutil.rmtree(job.parts, ignore_errors=True)


def _written(job: Job, progress: Progress) -> Summary:
    with owned(job.parts, instead="name another file with --out"):
        _begin(job)
        done = job.done()
        total = job.stream.count()
        if done:
            progress.note(f"{done * job.stream.size:,} rows were answered before; it goes on behind them")
        if total is None or done * job.stream.size < total:
            for number, answered in enumerate(answers(job.model, job.stream, job.asked, skip=done), done):
                if number == 0:
                    for line in answered.absent.values():
                        progress.note(line)
                _write_part(job.part(number), answered)
                rows = number * job.stream.size + answered.table.num_rows
                progress.update("rows", rows, total)
        try:
            summary = _summary(job)
        except DataError:
            shutil.rmtree(job.parts, ignore_errors=True)  # answers to what was hardly read are of no use
            raise
        schema = _schema(job)
        _unread_file(job, summary)
        with _writing(job.out), replacing(job.out) as (fresh,):
            write(fresh, extension(job.out), schema, _groups(job, schema))
        shutil.rmtree(job.parts)
    return summary


def _begin(job: Job) -> None:
    """Check that the parts that are there are those of this job, and that the file may be written.

    Raises:
        UsageError: they are not, or it may not.
    """
    note = job.parts / "manifest.json"
    try:
        before = json.loads(note.read_text("utf-8")) if note.exists() else None
    except (OSError, ValueError):
        before = {}
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


def _write_part(path: Path, answered: Answered) -> None:
    note = {
        "skipped": answered.skipped,
        "missing": answered.missing,
        "absent": list(answered.absent),
        "unread": [list(one) for one in answered.unread],
        "values": answered.values,
    }
    text = utf8(json.dumps(note, ensure_ascii=False))
    with _writing(path), replacing(path) as (fresh,):
        pa.parquet.write_table(answered.table.replace_schema_metadata({_NOTE: text}), fresh)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in one line that a file cannot be written.

    Raises:
        UsageError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; the same command goes on") from error
    except pa.ArrowException as error:
        raise UsageError(f"cannot write {path}: {' '.join(str(error).split())}; --include fewer columns") from error


def _notes(job: Job) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of rows of each part, and what it says of them."""
    for number in range(job.done()):
        with pa.parquet.ParquetFile(job.part(number)) as file:
            yield file.metadata.num_rows, json.loads((file.schema_arrow.metadata or {})[_NOTE])


def _summary(job: Job) -> Summary:
    """What all parts say together.

    Raises:
        DataError: more than half of a column or of an input cannot be used.
    """
    found, broken = Summary(job.out), Broken()
    for rows, note in _notes(job):
        found.rows += rows
        found.skipped += note["skipped"]
        for name, count in note["missing"].items():
            found.missing[name] = found.missing.get(name, 0) + count
        for name in note["absent"]:
            found.absent[name] = found.absent.get(name, 0) + rows
        found.unread += len(note["unread"])
        unread = [Unread(*one) for one in note["unread"]]
        found.first_unread += unread[: 20 - len(found.first_unread)]
        broken.add(note["values"], unread)
    broken.check(job.stream.name)
    return found


def _unread_file(job: Job, summary: Summary) -> None:
    """Write the values that could not be used, or remove what an earlier job has left of that name."""
    path = job.out.with_name(f"{job.out.name}.unread.parquet")
    if not summary.unread:
        path.unlink(missing_ok=True)
        return
    schema = pa.schema([("row", pa.int64()), ("column", pa.string()), ("reason", pa.string())])
    with _writing(path), replacing(path) as (fresh,), pa.parquet.ParquetWriter(fresh, schema) as writer:
        for _, note in _notes(job):
            rows = [dict(zip(schema.names, one, strict=True)) for one in note["unread"]]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    summary.unread_in = path


def _schema(job: Job) -> pa.Schema:
    """The columns of all parts, each of a type that holds them all.

    Raises:
        DataError: there is none.
    """
    schemas = [pa.parquet.read_schema(job.part(number)).remove_metadata() for number in range(job.done())]
    unique = list({str(one): one for one in schemas}.values())
    try:
        return pa.unify_schemas(unique, promote_options="permissive")
    except pa.ArrowException:  # of JSON lines, whose types may change: they become strings
        kinds: dict[str, dict[str, pa.DataType]] = {}
        for one in (one for schema in unique for one in schema):
            kinds.setdefault(one.name, {})[str(one.type)] = one.type
        for name, several in kinds.items():
            if len(several) > 1 and any(map(pa.types.is_nested, several.values())):
                raise DataError(f"column {name} holds {', '.join(several)}; leave it out of --include") from None
        return pa.schema([(n, next(iter(k.values())) if len(k) == 1 else pa.string()) for n, k in kinds.items()])


def _groups(job: Job, schema: pa.Schema) -> Iterator[pa.Table]:
    """The parts in order, some of them at a time."""
    count = job.done()
    for start in range(0, count, GROUP):
        parts = [_as(pa.parquet.read_table(job.part(one)), schema) for one in range(start, min(start + GROUP, count))]
        yield pa.concat_tables(parts).combine_chunks()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(one.name).cast(one.type) if one.name in table.column_names else pa.nulls(len(table), one.type)
        for one in schema
    ]
    return pa.table(columns, schema=schema)
