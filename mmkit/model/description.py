"""What `model.json` says of a saved model: read, checked and signed.

The description has a hash of the weights, and one of itself: what predictions hang on cannot change unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from mmkit.errors import DataError
from mmkit.model.exporting.signing import hash_of, is_exported, signature_in
from mmkit.model.missing import Kind
from mmkit.model.temperature import has_temperature
from mmkit.system.files import meant, utf8
from mmkit.system.precision import Precision

SCHEMA = 4
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"


def checked(directory: Path) -> dict[str, Any]:
    """The description of the model in a folder, which nothing has changed since; components are not looked at.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
    """
    description = described(directory)
    _check_unchanged(description, directory)
    return description


def digest_of(directory: Path) -> str:
    """The hash of the saved or exported model in a folder: of all that predictions hang on.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
    """
    found = signature_in(directory, whole=False) if is_exported(directory) else described(directory)
    digest: str = found["digest"]
    return digest


@contextmanager
def unchanged(directory: Path) -> Iterator[str]:
    """The digest of the model in a folder that is loaded inside: what is loaded is what it says.

    Raises:
        DataError: another model was saved to the folder meanwhile; or as `digest_of`.
    """
    before = digest_of(directory)
    yield before
    if digest_of(directory) != before:
        raise DataError(f"another model was saved to {directory} while it was loaded; try again")


def combination_in(directory: Path) -> dict[str, Any]:
    """The combination of the model in a folder, as a document; weights and components are not looked at.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
    """
    combination: dict[str, Any] = described(directory)["combination"]
    return combination


def described(directory: Path) -> dict[str, Any]:
    """The description of the saved model in a folder.

    Raises:
        DataError: there is none, or it is damaged or has another schema; or the model is an exported one.
    """
    if is_exported(directory):
        raise DataError(
            f"{directory} holds an exported model, which is one graph for predict, evaluate and serve; give the folder "
            "of the saved model"
        )
    description = description_in(directory)
    for name in ("digest", "weights"):
        if not isinstance(description.get(name), str):
            raise DataError(f"{directory / DESCRIPTION} is damaged: its {name} is not what `save` wrote")
    return description


def description_in(directory: Path) -> dict[str, Any]:
    """What `model.json` says of a model, saved or exported.

    Raises:
        DataError: there is none, or it is damaged or has another schema.
    """
    if not os.path.exists(directory):  # noqa: PTH110 (which no name can make raise)
        raise DataError(f"there is no folder {directory}{meant(directory)}")
    names = ("inputs", "combination", "plugins", "code", "transforms", "truth")
    kinds = {**dict.fromkeys(names, dict), **dict.fromkeys(("target", "precision"), str)}
    try:
        description = json.loads((directory / DESCRIPTION).read_text("utf-8"), parse_constant=_refuse)
        schema = description["schema"]
        wrong = [name for name, kind in kinds.items() if schema == SCHEMA and not isinstance(description[name], kind)]
        wrong += ["layout"] if schema == SCHEMA and not isinstance(description["layout"], dict | None) else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it has no {DESCRIPTION}" if isinstance(error, FileNotFoundError) else repr(error)
        found = sorted(one.parent for one in directory.glob(f"*/{DESCRIPTION}"))[:1]
        what = f"did you mean {found[0]}?" if found else "give a folder that `save` wrote"
        raise DataError(f"{directory} holds no readable model of mmkit ({why}); {what}") from error
    if schema != SCHEMA:
        raise DataError(f"{directory} has schema {schema}; this version of mmkit reads {SCHEMA}")
    if description["precision"] not in get_args(Precision):
        wrong = ["precision"]
    if not _is_temperature(description.get("temperature", ""), description["target"]):
        wrong = ["temperature"]
    if description.get("missing") not in get_args(Kind):
        wrong = ["missing"]
    if wrong:
        raise DataError(f"{directory / DESCRIPTION} is damaged: its {wrong[0]} is not what `save` wrote")
    return cast(dict[str, Any], description)


def _is_temperature(value: object, target: str) -> bool:
    return value is None or (has_temperature(target) and isinstance(value, float) and value > 0)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def signed(description: Mapping[str, Any], weights: str) -> str:
    """The description as text, with the hash of the weights and that of itself."""
    whole = {**{name: part for name, part in description.items() if name != "digest"}, "weights": weights}
    return json.dumps({"digest": _digest(whole), **whole}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _digest(description: Mapping[str, Any]) -> str:
    """A hash over all that predictions hang on, in its order: the weights, too, by their own hash."""
    parts = {name: part for name, part in description.items() if name not in {"digest", "plugins"}}
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(utf8(text), digest_size=16).hexdigest()


def _check_unchanged(description: Mapping[str, Any], directory: Path) -> None:
    """Check that both files are what `write` has written.

    Raises:
        DataError: one of them is not; the message names it.
    """
    advice = "give a model as `save` wrote it"
    if _digest(description) != description["digest"]:
        raise DataError(f"{directory / DESCRIPTION} was changed after it was saved: its hash is another; {advice}")
    weights = directory / WEIGHTS
    try:
        found = hash_of(weights)
    except OSError as error:
        raise DataError(f"{weights} cannot be read: {error.strerror}; {advice}") from error
    if found != description["weights"]:
        raise DataError(f"{weights} does not fit {DESCRIPTION} beside it: it is damaged, or of another model; {advice}")
