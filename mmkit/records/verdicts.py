"""What a verdict hangs on beside the records of its runs, and the verdicts that a folder has seen.

DIR/verdicts.jsonl has a line a verdict, with the ids of the runs that it rests on. Asked again of the same runs, a
verdict is the same look at the test split; with other runs it is one more, and each look has a level of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmkit.errors import DataError
from mmkit.records.splits import read_groups
from mmkit.system.files import utf8

FILE = "verdicts.jsonl"
SCHEMA = 1
Protocol = Literal["quick", "full"]
"""How much is trained: enough for the closing sentence, or three seeds of every row and more where they tell more."""


@dataclass(frozen=True)
class Terms:
    """What a verdict hangs on beside records.

    Args:
        groups: of the test samples, by factor: [N] labels in the order of scores.
        same: what counts as the same, in points of a share, else in units of the metric; None is 1 point, or 2 % of the
            best single input.
        protocol: of the suite.
        look: which one it is at the test split of this folder, from 1.
    """

    groups: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    same: float | None = None
    protocol: Protocol = "quick"
    look: int = 1


def terms_of(folder: Path, runs: Sequence[str] | None = None) -> Terms:
    """The terms of the verdict that a folder has seen last: of the same runs, or of any.

    Args:
        folder: of a suite.
        runs: ids of the runs that the verdict rests on; None is the last verdict of all.

    Raises:
        DataError: the file of verdicts cannot be read.
    """
    groups, seen = read_groups(folder), read_verdicts(folder)
    found = [one for one in seen if runs is None or one["runs"] == sorted(runs)]
    if not found:
        return Terms(groups, look=len({one["look"] for one in seen}) + 1)
    return Terms(groups, found[-1]["same"], found[-1]["protocol"], found[-1]["look"])


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """The verdicts of a folder, the first one first; a last line that was half written is left out.

    Raises:
        DataError: a line is no verdict.
    """
    path = folder / FILE
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
            found.append({name: document[name] for name in ("schema", "look", "runs", "same", "protocol", "verdict")})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number} is no verdict ({error}); remove the line") from error
    return found


def add_verdict(folder: Path, terms: Terms, runs: Sequence[str], verdict: Mapping[str, Any]) -> None:
    """Add a verdict to those of a folder, unless the last of the same runs says the same.

    Raises:
        OSError: it cannot be written.
        DataError: the file of verdicts cannot be read.
    """
    document = {
        "schema": SCHEMA,
        "look": terms.look,
        "runs": sorted(runs),
        "same": terms.same,
        "protocol": terms.protocol,
        "verdict": dict(verdict),
    }
    plain = json.loads(json.dumps(document, allow_nan=False))
    if plain in read_verdicts(folder):
        return
    path = folder / FILE
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # what a process that was killed left half written
        file.write(utf8(json.dumps(plain, ensure_ascii=False)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
