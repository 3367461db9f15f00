"""With how many threads each run of a suite computes."""

from __future__ import annotations

from pathlib import Path

from mmkit.records.file import read_records
from mmkit.system.executors.choosing import share_of
from mmkit.system.files import at_home


def threads_of(threads: int | None, workers: int, folder: Path | None) -> int | None:
    """The threads of each run: those that are asked for; else those of the records of the folder; else a fair share.

    Args:
        threads: that are asked for.
        workers: runs at once.
        folder: of the suite; None is a new one.

    Raises:
        DataError: a record cannot be read.
    """
    if threads is not None:
        return threads
    path = None if folder is None else at_home(folder) / "records.jsonl"
    for record in read_records(path).values() if path is not None and path.is_file() else ():
        known: int | None = record.machine.get("threads")
        return known
    return None if workers == 1 else share_of(workers)
