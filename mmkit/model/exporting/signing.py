"""The signature of an exported folder: what its graph takes and gives, and hashes by which a change is seen.

What predictions hang on is hashed: the graph, the state of the transforms, and the signature itself. The README and the
samples beside them are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkit.errors import DataError
from mmkit.system.files import utf8

SCHEMA = 2
SIGNATURE = "signature.json"
FREE = frozenset({SIGNATURE, "README.md", "smoke.json", "smoke.npz"})
"""Files that answers do not hang on."""
_KINDS: Mapping[str, type] = {
    "digest": str,
    "files": dict,
    "format": str,
    "graph": str,
    "inputs": list,
    "outputs": list,
    "versions": dict,
}
_ADVICE = "export the model again"


def is_exported(directory: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (directory / SIGNATURE).is_file()


def signed(signature: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The signature with the hashes of the files of a folder, and that of itself."""
    files = {path.name: hash_of(path) for path in sorted(folder.iterdir()) if path.is_file() and _counts(path)}
    whole = {**signature, "files": files}
    return {"digest": _digest(whole), **whole}


def signature_in(directory: Path, *, whole: bool = True) -> dict[str, Any]:
    """The signature of a folder.

    Args:
        directory: the folder.
        whole: whether the other files are looked at, too.

    Raises:
        DataError: it cannot be read, or a file was changed after the export.
    """
    path = directory / SIGNATURE
    try:
        found = json.loads(path.read_text("utf-8"))
        schema = found["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no signature of an exported model ({error!r}); {_ADVICE}") from error
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema}, and this version of mmkit reads {SCHEMA}; {_ADVICE}")
    wrong = [name for name, kind in _KINDS.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise DataError(f"{path} is damaged: its {wrong[0]} is not what the export wrote; {_ADVICE}")
    if _digest(found) != found["digest"]:
        raise DataError(f"{path} was changed after the export: its hash is another; {_ADVICE}")
    for name, known in found["files"].items() if whole else ():
        try:
            now = hash_of(directory / name)
        except OSError as error:
            raise DataError(f"{directory / name} cannot be read: {error.strerror}; {_ADVICE}") from error
        if now != known:
            raise DataError(f"{directory / name} was changed after the export: its hash is another; {_ADVICE}")
    result: dict[str, Any] = found
    return result


def hash_of(file: Path) -> str:
    """The hash of the content of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _counts(path: Path) -> bool:
    return path.name not in FREE and not path.name.startswith(".")


def _digest(signature: Mapping[str, Any]) -> str:
    """A hash over all that predictions hang on."""
    parts = {name: part for name, part in signature.items() if name not in {"digest", "versions", "apart"}}
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(utf8(text), digest_size=16).hexdigest()
