"""A folder as a table: files of one table, files whose sub-folder is their class, or what `datasets` saved.

Nothing but plain files is read, and no link is followed out of the folder.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmkit.errors import DataError
from mmkit.sources.formats import EXTENSIONS, arrow_file, extension, plain_file, read_file, unique

SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names of folders that say to which split their files belong."""


def read_folder(
    folder: Path, media: Mapping[str, Sequence[str]], *, outside: bool = False, labelled: bool = True
) -> tuple[pa.Table, frozenset[str]]:
    """The table of a folder, and the columns that are made of names of folders: `label`, `split`.

    A folder of images, sounds or videos gives a column by the name of its modality, with the paths of the files in it,
    and a column `label`, the name of the sub-folder; where all those at the top are names of splits, a column `split`
    as well, and the class is the folder below.

    Args:
        folder: to be read, all its sub-folders included.
        media: the extensions of files of each modality, by modality.
        outside: True where links that lead out of the folder are followed.
        labelled: False where files need no class, and may be in no sub-folder.

    Raises:
        DataError: there is nothing to read, or files that do not go together.
    """
    if (folder / "dataset_dict.json").is_file():
        return _several(folder), frozenset({"split"})
    if (folder / "state.json").is_file():
        return _saved(folder), frozenset()
    files = sorted(files_in(folder, outside=outside))
    tables = [file for file in files if extension(file) in EXTENSIONS]
    if tables:
        return joined(folder, tables), frozenset()
    kinds = {one: kind for kind, extensions in media.items() for one in extensions}
    of_kind = [(file, kind) for file in files if (kind := kinds.get(extension(file)))]
    if not of_kind:
        raise DataError(
            f"{folder} holds no table ({', '.join(EXTENSIONS)}) and no file of {', '.join(media) or 'a modality'}"
        )
    table = _by_class(folder, of_kind, labelled=labelled)
    return table, frozenset(table.column_names) & {"label", "split"}


def files_in(folder: Path, *, outside: bool) -> Iterator[Path]:
    """Plain files, at any depth; those whose names begin with a dot or `_` are notes of programs."""
    inside = folder.resolve()
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        for name in names:
            path = Path(here, name)
            if name[0] in "._" or not path.is_file():
                continue
            if outside or not path.is_symlink() or path.resolve().is_relative_to(inside):
                yield path


def joined(where: object, files: Sequence[Path]) -> pa.Table:
    """The table that files of the same columns are, one after the other.

    Raises:
        DataError: one cannot be read, or they do not have the same columns.
    """
    tables = [read_file(file) for file in files]
    first = tables[0].column_names
    for file, table in zip(files, tables, strict=True):
        unique(table.column_names, file)
        if other := set(first) ^ set(table.column_names):
            raise DataError(
                f"the tables in {where} do not go together: {file.name} and {files[0].name} do not both have the "
                f"column {min(other)!r}; give one of them"
            )
    try:
        return pa.concat_tables([table.select(first) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"the tables in {where} do not go together: {' '.join(str(error).split())}") from error


def _by_class(folder: Path, files: Iterable[tuple[Path, str]], *, labelled: bool) -> pa.Table:
    rows = [(file.relative_to(folder), kind) for file, kind in files]
    counts = Counter(kind for _, kind in rows)
    kind = counts.most_common(1)[0][0]
    if len(counts) > 1:
        raise DataError(
            f"{folder} holds files of several modalities ({', '.join(sorted(counts))}); write a table that says which "
            "of them belong together, with a column of names for each"
        )
    top = [path for path, _ in rows if len(path.parts) == 1]
    if top and not labelled:
        return pa.table({kind: [path.as_posix() for path, _ in rows]})
    if top:
        raise DataError(f"{top[0]} is in no sub-folder of {folder}; the sub-folder is the class of a file")
    split = {path.parts[0].lower() for path, _ in rows} <= SPLIT_FOLDERS
    if split and any(len(path.parts) < 3 for path, _ in rows):
        raise DataError(f"{folder} has folders of splits; expected SPLIT/CLASS/FILE")
    columns = {
        kind: [path.as_posix() for path, _ in rows],
        "label": [path.parts[1 if split else 0] for path, _ in rows],
    }
    if split:
        columns["split"] = [path.parts[0].lower() for path, _ in rows]
    try:
        return pa.table(columns)
    except UnicodeEncodeError as error:
        raise DataError(f"{folder} holds a file whose name is not UTF-8: {error.object!r}; rename it") from error


def _several(folder: Path) -> pa.Table:
    """The splits that `datasets` saved side by side, one after the other, with a column that names them."""
    names = _note(folder / "dataset_dict.json").get("splits") or []
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / 'dataset_dict.json'} names no splits")
    if strange := [name for name in names if name.lower() not in SPLIT_FOLDERS or not (folder / name).is_dir()]:
        raise DataError(
            f"{folder} holds {strange[0]!r}, which is no split; give one of its folders: {', '.join(names)}"
        )
    parts = [_saved(folder / name) for name in names]
    if "split" in parts[0].column_names:
        raise DataError(f"{folder} holds several splits and a column 'split'; give one of its folders")
    return pa.concat_tables(
        [part.append_column("split", pa.array([name] * len(part))) for name, part in zip(names, parts, strict=True)],
        promote_options="permissive",
    )


def _saved(folder: Path) -> pa.Table:
    """What `datasets.Dataset.save_to_disk` wrote; classes are their names. It is read without `datasets`."""
    state = _note(folder / "state.json")
    names = [str(one.get("filename", "")) for one in state.get("_data_files") or () if isinstance(one, dict)]
    if not names or any(Path(name).name != name or not name for name in names):
        raise DataError(f"{folder / 'state.json'} names no file of the data set beside it")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} holds a choice of rows beside its data; save it again after `flatten_indices()`")
    tables = []
    for name in names:
        plain_file(folder / name)
        try:
            tables.append(arrow_file(folder / name))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{folder / name} cannot be read: {' '.join(str(error).split())}") from error
    return named_classes(pa.concat_tables(tables))


def named_classes(table: pa.Table) -> pa.Table:
    """A table as `datasets` writes it, with the names of its classes in place of their numbers."""
    noted = (table.schema.metadata or {}).get(b"huggingface")
    features = json.loads(noted).get("info", {}).get("features", {}) if noted else {}
    for place, name in enumerate(table.column_names):
        feature = features.get(name)
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            table = table.set_column(place, name, _named(table.column(name), feature["names"]))
    return table.replace_schema_metadata(None)


def _named(column: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    """A column of numbers of classes as one of their names; -1 is a missing one."""
    words = pa.array(names, pa.string())
    chunks = []
    for chunk in column.chunks:
        numbers = [None if one is None or not 0 <= one < len(names) else one for one in chunk.to_pylist()]
        chunks.append(words.take(pa.array(numbers, pa.int64())))
    return pa.chunked_array(chunks, pa.string())


def _note(path: Path) -> dict[str, Any]:
    plain_file(path)
    try:
        note = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return note if isinstance(note, dict) else {}
