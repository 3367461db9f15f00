"""The file of `--config`, and what stands on the command line over it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mmkit.errors import UsageError, one_of

LISTS = frozenset({"encoder", "fusion", "head", "objective", "option"})
NUMBERS: dict[str, type] = {"seeds": int, "limit": int, "threads": int, "baselines": bool, "cost": bool}
"""Options of the configuration that are no strings: those that may be repeated, and those of another type."""


def merged(file: Path | None, given: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """The options of a file, with what was given put over them.

    Args:
        file: in TOML; None is none.
        given: options by name, all that there are; None or [] where one was not given.
        training: those of training that have names of their own; under "train" they join the table of the file.

    Raises:
        UsageError: the file cannot be read, or an option of it is not possible.
    """
    table = {} if file is None else _read(file)
    trained = table.pop("train", {})
    if not isinstance(trained, dict):
        raise UsageError(f"--config: train is a table of options; got {trained!r}")
    for name, value in table.items():
        if name not in given:
            raise UsageError(f"--config has no option {name}; {one_of([*given, 'train'], name)}")
        table[name] = [value] if name in LISTS and isinstance(value, str) else value
        wanted = list if name in LISTS else NUMBERS.get(name, str)
        if type(table[name]) is not wanted or (
            name in LISTS and not all(isinstance(item, str) for item in table[name])
        ):
            raise UsageError(f"--config: {name} takes {'strings' if name in LISTS else wanted.__name__}; got {value!r}")
    found: dict[str, Any] = {name: table.get(name) if value in (None, []) else value for name, value in given.items()}
    return found | {"train": trained | {name: value for name, value in training.items() if value is not None}}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is no TOML: {error}") from error
