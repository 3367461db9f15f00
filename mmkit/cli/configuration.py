"""The configuration file of `--config`, overridden by options of the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mmkit.cli.own_data import OPTIONS
from mmkit.errors import UsageError, one_of
from mmkit.system.files import at_home

LISTS = frozenset({"encoder", "fusion", "head", "objective", "balance", "option", "column", "group"})
"""Options that can be repeated."""
TYPES: dict[str, type] = {
    "seeds": int,
    "same_within": float,
    "search_options": bool,
    "limit": int,
    "threads": int,
    "workers": int,
    "ranks": int,
    "baselines": bool,
    "cost": bool,
    "save": bool,
    "split_seed": int,
    "folds": int,
    "outside": bool,
    "deep": bool,
    "yardsticks": bool,
    "seed": int,
    "refit": bool,
    "tensorboard": bool,
    "profile": bool,
    "with_samples": bool,
    "modes": bool,
    "checkpoint_minutes": float,
    "checkpoint_epochs": int,
}
"""Types of the other options that are no strings."""


def merged(file: Path | None, given: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """The options of a configuration file, overridden by those of the command line.

    A task of the command line takes the place of the file's own data with all that is said of it, and --data that of
    the file's task.

    Args:
        file: in TOML; None is no file.
        given: all options of the command line by name; None or [] if not given.
        training: options of training of the command line; they override the table `train` of the file.

    Raises:
        UsageError: the file cannot be read, or has a wrong option.
    """
    table = {} if file is None else _read(file)
    train = table.pop("train", {})
    if not isinstance(train, dict):
        raise UsageError(f"--config: train is a table of options; got {train!r}")
    for name, value in table.items():
        if name not in given:
            raise UsageError(f"--config has no option {name}; {one_of([*given, 'train'], name)}")
        table[name] = [value] if name in LISTS and isinstance(value, str) else value
        expected = list if name in LISTS else TYPES.get(name, str)
        if expected is float and type(value) is int:
            table[name] = float(value)
        if type(table[name]) is not expected or (
            name in LISTS and not all(isinstance(item, str) for item in table[name])
        ):
            kind = "a string or a list of strings" if name in LISTS else expected.__name__
            raise UsageError(f"--config: {name} takes {kind}; got {value!r}")
    if given.get("data") is not None:
        table.pop("task", None)
    elif given.get("task") is not None:
        table = {name: value for name, value in table.items() if name not in OPTIONS}
    options: dict[str, Any] = {name: table.get(name) if value in (None, []) else value for name, value in given.items()}
    given_training = {name: value for name, value in training.items() if value is not None}
    overridden = {*given_training, *(["rates"] if "lr" in given_training else [])}  # a rate overrides those of the file
    train = {name: value for name, value in train.items() if name not in overridden}
    if options.get("option") and not given["option"]:
        names = {f"train.{name}" for name in overridden}
        options["option"] = [text for text in options["option"] if text.partition("=")[0].strip() not in names]
    return options | {"train": train | given_training}


def _read(path: Path) -> dict[str, Any]:
    path = at_home(path)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error
