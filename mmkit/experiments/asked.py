"""What a training was asked for, of which data and code: the file `train.json`, and whether a folder holds the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkit.contract import Task
from mmkit.data.splits import Splits
from mmkit.errors import DataError, UsageError
from mmkit.experiments.identity import by_time, code_of_run, data_of, known_by
from mmkit.experiments.run import Run, surroundings
from mmkit.records.content import changed_columns, same_hash
from mmkit.system.ranks import ranks

ASKED = "train.json"
SCHEMA = 1
SURROUNDINGS = ("machine", "software", "plugins", "libraries")
"""What the bits of a result hang on, beside options, data and code."""


def asked_of(run: Run, splits: Splits, *, rates: Sequence[float], extends: bool, refit: bool) -> dict[str, Any]:
    """What is asked for, as plain JSON values.

    Args:
        run: the training; its learning rate is that of `rates` which is best, if there are any.
        splits: of its task.
        rates: that are searched.
        extends: whether the search may double the epochs.
        refit: whether it is trained again with validation.
    """
    around = surroundings(run)
    asked = {**run.document(), "ranks": ranks().world}
    if rates:
        asked["training"]["lr"] = f"the best of {', '.join(f'{rate:g}' for rate in rates)}"
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": asked,
        "task": known_by(splits.task).get("task", str(run.task)),
        "may_extend": extends,
        "refit": refit,
        "data": data_of(splits),
        "code": code_of_run(run.task, run.combination, splits),
        **{name: around[name] for name in SURROUNDINGS},
    }
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def read_asked(folder: Path) -> dict[str, Any] | None:
    """What the training in a folder was asked for; None without one.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / ASKED
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise DataError(f"{path} has schema {document['schema']}; this version of mmkit reads {SCHEMA}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}); choose another --out") from error
    return document


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path, task: Task) -> None:
    """Check that a folder holds a training with the options, the data and the code that are asked for now.

    Args:
        then: what `asked_of` gave for the folder.
        now: the same of what is asked for.
        folder: that holds it.
        task: that is trained for now.

    Raises:
        UsageError: it holds another; the message says what has changed.
    """
    changed = next(_changes(then, now), None)
    if changed is not None:
        why = by_time(task, changed_columns(then["data"], now["data"]))
        raise UsageError(f"{folder} holds another training: {changed}; {why}choose another --out, or remove the folder")


def check_alike(asked: Sequence[Mapping[str, Any]]) -> None:
    """Check that all ranks of a training are asked for the same.

    Args:
        asked: what `asked_of` gave on each of them.

    Raises:
        UsageError: the message says on which of them what is different.
    """
    called = {"run": "options", "task": "samples", "data": "data", "code": "code"} | {n: n for n in SURROUNDINGS[1:]}
    for rank, one in enumerate(asked):
        for name, what in called.items():
            if one[name] != asked[0][name]:
                raise UsageError(
                    f"rank {rank} of {len(asked)} has other {what} than rank 0; start the same command on the "
                    "same data, with the same versions, everywhere"
                )


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    same_task = then["task"] == now["task"]
    if not same_task and then["run"]["task"] != now["run"]["task"]:
        yield f"its task was {then['run']['task']}, and now it is {now['run']['task']}"
    for split, columns in changed_columns(then["data"], now["data"]).items():
        yield f"it is of other data: {' and '.join(columns)} of {split} changed"
    if not same_task:
        yield "it is of other data"
    for part in ("run", "may_extend", "refit"):
        yield from _different(then[part], now[part], "" if part == "run" else part)
    for name in then["code"].keys() & now["code"].keys():
        if not same_hash(then["code"][name], now["code"][name]):
            yield f"it is of other code: that of {name} changed"
    for part in SURROUNDINGS:
        for name in sorted(then[part].keys() & now[part].keys()):
            if then[part][name] != now[part][name]:
                yield f"{part} {name} was {then[part][name]}, and now it is {now[part][name]}"


def _different(then: Any, now: Any, name: str) -> Iterator[str]:
    """The options that differ, by the names that a user gives them; the task is compared by what it reads."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            if (name, key) != ("", "task"):
                called = {"training": "train", "options": name, "name": name}.get(key, f"{name}.{key}".lstrip("."))
                yield from _different(then.get(key), now.get(key), called)
    elif then != now:
        yield f"its {name} was {_shown(then)}, and now it is {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])
    return "none" if value is None else str(value)
