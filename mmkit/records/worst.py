"""The worst errors of a run on test, with their samples: DIR/worst/ID.json, and small pictures in DIR/worst/pictures.

They are there where samples were asked for: a folder of records without them holds no value of a sample.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from mmkit.errors import DataError
from mmkit.system.files import write_json

FOLDER = "worst"
PICTURES = "pictures"
SCHEMA = 1
_PICTURE = re.compile(r"[0-9a-f]{32}\.(png|jpg)")


@dataclass(frozen=True)
class Shown:
    """A value of an input as a reader sees it.

    Args:
        kind: "text"; "picture", one file or, of a video, several; "curve", of a sound or a series; "table"; "missing";
            or "other", of which nothing but its type is shown.
        text: of a text, whether it was cut or not; of others a few words, such as a sound's length.
        pictures: names of files in DIR/worst/pictures.
        low: of each channel of a curve its lowest value in each of up to 200 stretches of equal length.
        high: likewise the highest.
        cells: of a row of a table, by column.
    """

    kind: Literal["text", "picture", "curve", "table", "missing", "other"]
    text: str = ""
    pictures: list[str] = field(default_factory=list)
    low: list[list[float]] = field(default_factory=list)
    high: list[list[float]] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WrongAnswer:
    """A sample of test and what the model made of it.

    Args:
        row: of the sample in its split, from 0.
        id: of the sample, as text.
        truth: as text.
        answer: as text.
        sure: the probability of the answer; None where answers have none.
        of_truth: the probability of the truth; None where there is none.
        loss: of the head.
        inputs: the sample.
    """

    row: int
    id: str
    truth: str
    answer: str
    sure: float | None
    of_truth: float | None
    loss: float
    inputs: dict[str, Shown]


@dataclass(frozen=True)
class Worst:
    """The worst errors of a run: of the answers that were wrong, or of all numbers, those with the greatest loss.

    Args:
        run: the id of its record.
        kind: of target.
        errors: the worst first.
    """

    run: str
    kind: str
    errors: list[WrongAnswer]

    def write(self, folder: Path) -> None:
        """Write DIR/worst/ID.json.

        Raises:
            OSError: it cannot be written.
        """
        (folder / FOLDER).mkdir(exist_ok=True)
        write_json(worst_file(folder, self.run), {"schema": SCHEMA, **asdict(self)}, indent=None)


def worst_file(folder: Path, run: str) -> Path:
    """Where the worst errors of a run are kept."""
    return folder / FOLDER / f"{run}.json"


def read_worst(folder: Path, runs: Sequence[str]) -> list[Worst]:
    """The worst errors of those of the runs that have them.

    Raises:
        DataError: a file is not what `Worst.write` writes.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 (heavy, and most suites have none)

    found = []
    for path in (worst_file(folder, run) for run in runs):
        if not path.is_file():
            continue
        try:
            document = json.loads(path.read_text("utf-8"))
            one = TypeAdapter(Worst).validate_python({name: document[name] for name in ("run", "kind", "errors")})
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise DataError(f"{path} holds no errors with samples ({error}); remove it to do without") from error
        found.append(one)
    return found


def picture(folder: Path, name: str) -> bytes:
    """The content of a picture.

    Raises:
        DataError: it is not there, or has another name than those that are written.
    """
    if not _PICTURE.fullmatch(name):
        raise DataError(f"{name!r} is no name of a picture in {folder / FOLDER / PICTURES}")
    try:
        return (folder / FOLDER / PICTURES / name).read_bytes()
    except OSError as error:
        raise DataError(f"{folder / FOLDER / PICTURES / name}: {error.strerror}; bring it back") from error
