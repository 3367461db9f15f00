"""`hub:NAME` and `hub:NAME:CONFIGURATION`: a data set of the hub that `datasets` has downloaded to its cache.

The Arrow files of the cache are mapped, without `datasets` and without any access to a network.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmkit.errors import DataError, UsageError, one_of
from mmkit.sources.folders import named_classes
from mmkit.sources.formats import arrow_file, plain_file
from mmkit.sources.splitting import NAMES

PREFIX = "hub:"

_NAME = re.compile(r"([\w-][\w.-]*/)?([\w-][\w.-]*)")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})")


@dataclass(frozen=True)
class Cached:
    """A data set in the cache.

    Args:
        folder: of its Arrow files.
        files: of each split, in order.
        others: splits that are neither train, validation nor test.
    """

    folder: Path
    files: Mapping[str, list[Path]]
    others: tuple[str, ...]


def cache_of_datasets(environ: Mapping[str, str] | None = None) -> Path:
    """Where `datasets` keeps what it has downloaded: HF_DATASETS_CACHE, HF_HOME, or the user's cache folder."""
    environ = os.environ if environ is None else environ
    if environ.get("HF_DATASETS_CACHE"):
        return Path(environ["HF_DATASETS_CACHE"]).expanduser()
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home).expanduser() / "datasets"


def find(data: str) -> Cached:
    """The data set of a name in the cache; of several versions the one that was written last.

    Raises:
        UsageError: it is no name, or has several configurations and none is named.
        DataError: it is not in the cache, or damaged.
    """
    name, _, configuration = data.removeprefix(PREFIX).partition(":")
    found = _NAME.fullmatch(name)
    if found is None or ".." in name:
        raise UsageError(
            f"{data!r:.200} is no name of a data set; expected hub:NAME, hub:OWNER/NAME or hub:NAME:CONFIG"
        )
    cache = cache_of_datasets()
    folder = cache / "___".join([part for part in (found[1] or "").split("/") if part] + [_snake(found[2])])
    there = sorted({path.parent.parent.parent.name for path in folder.glob("*/*/*/dataset_info.json")})
    if not there or (configuration and configuration not in there):
        asked = f"{name!r}, {configuration!r}" if configuration else f"{name!r}"
        first = "" if importlib.util.find_spec("datasets") else "pip install 'mmkit-core[hub]', then "
        has = f" ({one_of(there, configuration)})" if there else ""
        raise DataError(
            f"{data} is not in the cache of datasets, {cache}{has}, and nothing is fetched here; where there is a "
            f'network: {first}python -c "import datasets; datasets.load_dataset({asked})"'
        )
    if not configuration and len(there) > 1:
        raise UsageError(f"{data} has several configurations: {', '.join(there)}; write {data}:{there[0]}")
    infos = folder.glob(f"{configuration or there[0]}/*/*/dataset_info.json")
    info = max(infos, key=lambda path: (path.stat().st_mtime_ns, str(path)))
    return _splits(info)


def read_hub(data: str) -> tuple[pa.Table, Path, bool, list[str]]:
    """The table of a data set, its folder, whether a column `split` was made, and what to know of how it was read.

    Raises:
        UsageError: as `find`.
        DataError: as `find`, or a file cannot be read.
    """
    cached = find(data)
    told = []
    if cached.others:
        told.append(f"{data} has splits that are not read: {', '.join(cached.others)}")
    by_split = {"train", "test"} <= cached.files.keys()
    if not by_split and len(cached.files) > 1:
        told.append(f"{data} has no split test: {' and '.join(cached.files)} are read as one table, and split anew")
    parts = []
    for name, files in cached.files.items():
        for path in files:
            part = _mapped(path)
            if by_split:
                if "split" in part.column_names:
                    raise DataError(f"{data} has several splits and a column 'split'")
                part = part.append_column("split", pa.array([name] * len(part), pa.string()))
            parts.append(part)
    return pa.concat_tables(parts, promote_options="permissive"), cached.folder, by_split, told


def _mapped(path: Path) -> pa.Table:
    plain_file(path)
    try:
        return named_classes(arrow_file(path))
    except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}; download it again") from error


def _splits(info: Path) -> Cached:
    try:
        note: Any = json.loads(info.read_text("utf-8"))
        names = list(note["splits"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{info} cannot be read: {error!r:.200}; download the data set again") from error
    files = {str(name): list(_files(info.parent, str(name))) for name in names}
    known = {name: paths for name, paths in files.items() if name.lower() in NAMES}
    if not known:
        raise DataError(f"{info.parent} has the splits {', '.join(files)}; none is train, validation or test")
    return Cached(info.parent, known, tuple(name for name in files if name not in known))


def _files(folder: Path, split: str) -> Iterator[Path]:
    """The Arrow files of a split: one, or several that are numbered.

    Raises:
        DataError: one is not there.
    """
    ends = {path: path.name.removesuffix(".arrow") for path in sorted(folder.glob("*.arrow"))}
    plain = [path for path, name in ends.items() if name.endswith(f"-{split}")]
    if plain:
        yield plain[0]
        return
    numbered = [
        path for path, name in ends.items() if _SHARD.sub("", name).endswith(f"-{split}") and _SHARD.search(name)
    ]
    counts = {int(match[2]) for path in numbered if (match := _SHARD.search(path.name))}
    if counts != {len(numbered)}:
        raise DataError(f"{folder} does not hold all files of the split {split}; download the data set again")
    yield from numbered


def _snake(name: str) -> str:
    """The name as `datasets` calls its folder: `my_data` of `MyData`."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()
