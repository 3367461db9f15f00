"""Descriptions of large tables are kept in the cache, so that the next command on the same table begins at once.

FOLDER/KEY/state.json   kinds and reasons, inputs, target, findings: all but the rows
FOLDER/KEY/*.npy        split of each row, folds, truth; truth that is no number is `truth.arrow`
FOLDER/KEY/about.json   of what it was made; written last, so an entry without it is unfinished

The key is what was asked, and where; what the entry was made of is the size and the time of each file, the code and
the versions. What has changed is described anew, in place of the old entry. The rows themselves are not in it: the
source is read again, of which large tables are mapped.

Axes: N rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from mmkit.errors import UsageError
from mmkit.sources.description import Description, Request
from mmkit.sources.findings import Finding
from mmkit.sources.guess import Guess
from mmkit.sources.inputs import Input
from mmkit.sources.memory import PREFIX
from mmkit.sources.reading import Source
from mmkit.sources.target import Target
from mmkit.system.cache_folder import ABOUT, LOCKS, default_folder
from mmkit.system.code import code_of, code_of_core
from mmkit.system.files import owned, replacing, write_json
from mmkit.system.hashing import fingerprint
from mmkit.system.machine import software

ROWS = 10_000
"""Rows from which on a description is kept: fewer are described in a second."""
LAYOUT = 1
"""Of what is kept: another number makes old entries new ones."""

_STATE, _TRUTH = "state.json", "truth.arrow"


@dataclass(frozen=True)
class Asked:
    """What a description is known by.

    Args:
        request: what the user said.
        of: sizes and times of all files, and the modalities that are installed; plain JSON values.
        decoder: gives what reads the values of a modality, of which the code counts.
    """

    request: Request
    of: Mapping[str, Any]
    decoder: Callable[[str], Any]

    @property
    def key(self) -> str:
        """The name of the entry: names of files may be relative, so the folder counts in which they are."""
        return fingerprint(["description", asdict(self.request), str(Path.cwd())])

    def made_of(self, modalities: list[str]) -> dict[str, Any] | None:
        """All that the content hangs on beside the request; None where code cannot be seen."""
        codes = {}
        for modality in sorted(modalities):
            owner = getattr(self.decoder(modality), "__self__", None)
            code = None if owner is None else code_of(type(owner))
            if code is None:
                return None
            codes[modality] = code
        known = {"files": fingerprint(self.of), "layout": LAYOUT, "code": code_of_core(), "decoders": codes}
        return known | {"software": software(), "pyarrow": pa.__version__}


Named = Callable[[Request, Source], Mapping[str, Any]]
"""Gives the names of rows and of their groups, which the source has itself: `ids` and `groups`."""


def kept(
    asked: Asked, source: Source, named: Named, named_files: Callable[[Description], list[str]]
) -> Description | None:
    """The description that is kept of the same; None where there is none, or it is damaged or of something else.

    Args:
        asked: what was asked.
        source: as it was read.
        named: gives the names of its rows.
        named_files: what changes when the files change that cells name.
    """
    if not _worthwhile(asked, source):
        return None
    home = default_folder() / asked.key
    try:
        about = json.loads((home / ABOUT).read_text("utf-8"))
        if about["samples"] != source.rows or about["of"] != asked.made_of(list(about["of"]["decoders"])):
            return None
        state = json.loads((home / _STATE).read_text("utf-8"))
        found = _restored(home, state, source, named)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return found if state["named files"] == named_files(found) else None


def keep(asked: Asked, found: Description, named_files: Callable[[Description], list[str]]) -> None:
    """Keep a description; where the cache cannot be written to, it is made anew the next time."""
    modalities = [one.modality for one in found.inputs]
    made_of = asked.made_of(modalities) if _worthwhile(asked, found.source) else None
    if made_of is None:
        return
    folder, key = default_folder(), asked.key
    try:
        (folder / LOCKS / key).mkdir(parents=True, exist_ok=True)
        with owned(folder / LOCKS / key, wait=True):
            _write(folder / key, found, {**_state(found), "named files": named_files(found)})
            about = {"samples": found.source.rows, "made": time.time(), "input": "description", "of": made_of}
            write_json(folder / key / ABOUT, {**about, "split": Path(found.source.name).name}, indent=None)
    except (OSError, UsageError):
        return


def _worthwhile(asked: Asked, source: Source) -> bool:
    return source.rows >= ROWS and not asked.request.data.startswith(PREFIX) and PREFIX not in asked.request.splits


def _state(found: Description) -> dict[str, Any]:
    target = found.target
    return {
        "request": asdict(found.request),
        "guesses": {name: asdict(one) for name, one in found.guesses.items()},
        "roles": dict(found.roles),
        "inputs": [asdict(one) for one in found.inputs],
        "how": found.how,
        "findings": [asdict(one) for one in found.findings],
        "problems": list(found.problems),
        "target": None if target is None else {**_plain(target), "counts": [int(one) for one in target.counts]},
        "chunked": target is not None and isinstance(target.values, pa.ChunkedArray),
        "arrays": [name for name, array in _arrays(found).items() if array is not None],
    }


def _plain(target: Target) -> dict[str, Any]:
    return {name: getattr(target, name) for name in ("kind", "names", "missing", "metric", "reason", "rare")}


def _arrays(found: Description) -> dict[str, Any]:
    values = None if found.target is None else found.target.values
    truth = values if isinstance(values, np.ndarray) else None
    return {"sides": found.sides, "folds": found.folds, "truth": truth}


def _write(home: Path, found: Description, state: Mapping[str, Any]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / ABOUT).unlink(missing_ok=True)
    for name, array in _arrays(found).items():
        if array is not None:
            with replacing(home / f"{name}.npy") as (fresh,), fresh.open("wb") as stream:
                np.save(stream, array)
    if found.target is not None and not isinstance(found.target.values, np.ndarray):
        table = pa.table({"": found.target.values})
        with replacing(home / _TRUTH) as (fresh,), pa.ipc.new_stream(str(fresh), table.schema) as stream:
            stream.write_table(table)
    write_json(home / _STATE, state, indent=None)


def _restored(home: Path, state: Mapping[str, Any], source: Source, named: Named) -> Description:
    arrays = {name: np.load(home / f"{name}.npy") for name in state["arrays"]}
    told, target = state["target"], None
    if told is not None:
        values = arrays.get("truth")
        if values is None:
            with pa.ipc.open_stream(str(home / _TRUTH)) as stream:
                column = stream.read_all().column(0)
            values = column if state["chunked"] else column.combine_chunks()
        target = Target(**{name: _tuple(one) for name, one in told.items()}, values=values)
    request = Request(**{name: _tuple(one) for name, one in state["request"].items()})
    return Description(
        request,
        source,
        {name: Guess(**{key: _tuple(one) for key, one in of.items()}) for name, of in state["guesses"].items()},
        state["roles"],
        [Input(one["name"], one["modality"], tuple(one["columns"])) for one in state["inputs"]],
        target,
        arrays.get("sides"),
        **named(request, source),
        how=state["how"],
        findings=[Finding(one["level"], one["text"], tuple(one["columns"])) for one in state["findings"]],
        problems=state["problems"],
        folds=arrays.get("folds"),
    )


def _tuple(value: Any) -> Any:
    """Lists of JSON as the tuples that they were, those within them too."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
