"""What a run is known by: its document, the content of its data, and the code that can change without a version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4
from weakref import WeakKeyDictionary

import torch

from mmkit.contract import Split, Task
from mmkit.data.content import UNKNOWN
from mmkit.data.splits import Splits
from mmkit.errors import MmkitError, UsageError
from mmkit.model.combination import Combination
from mmkit.model.teachers import digests
from mmkit.records.content import changed_columns, same_hash
from mmkit.records.record import Fold, Record
from mmkit.records.splits import Row, id_as_text, read_splits
from mmkit.registry.options import Choice
from mmkit.system.code import code_of, code_of_core
from mmkit.system.hashing import digest_of_files, fingerprint

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CORE = "mmkit-core"


class Run(Protocol):
    """What is asked of a run here."""

    @property
    def task(self) -> Choice:
        """The chosen task."""

    @property
    def combination(self) -> Combination:
        """Encoders, fusion, head and objectives."""


_codes: WeakKeyDictionary[Splits, dict[tuple[type, ...], str]] = WeakKeyDictionary()
"""What has been hashed for a suite, whose runs share their splits."""
_unseen: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def identity(document: Mapping[str, Any], data: Mapping[Split, Mapping[str, str]], code: Mapping[str, str]) -> str:
    """The id of a run: a hash over all that determines its result.

    Args:
        document: of the run; without `threads` in it, those that torch has now count.
        data: from `data_of`.
        code: from `code_of_run`.
    """
    return fingerprint({"threads": torch.get_num_threads(), **document, "data": data, "code": code})


def data_of(splits: Splits) -> dict[Split, dict[str, str]]:
    """The fingerprint of each column of each split. Nothing is decoded, test least of all."""
    return {name: splits.content(name).columns for name in SPLITS}


def code_of_run(task: Choice, combination: Combination, splits: Splits) -> dict[str, str]:
    """A hash of the code of each component that can change without a new version, by kind and name.

    So have teachers, and files that options of encoders and heads name, such as weights, which training begins from. A
    component whose code cannot be seen has a hash that no other process has.
    """
    found = {CORE: code_of_core()}
    for choice in (one for chosen in (task, *combination.choices()) for one in chosen.whole):
        found[f"{choice.kind} {choice.name}"] = _code(splits, choice.factories)
    found |= digests(combination)
    found.update(_named_files(combination))
    kinds = getattr(splits.task, "inputs", {})
    for name, modality in splits.modalities.items():
        found[f"modality {kinds.get(name, name)}"] = _code(splits, (type(modality),))
    return {name: code for name, code in found.items() if code}


def _named_files(combination: Combination) -> Iterator[tuple[str, str]]:
    """The files, and folders of files, that options of encoders and heads name, each with a hash of the content."""
    for choice in (one for chosen in combination.choices() for one in chosen.whole):
        for name, value in choice.options.items() if choice.kind in {"encoder", "head"} else ():
            if isinstance(value, str) and os.path.exists(value):  # noqa: PTH110 (a text of any length is none)
                with contextlib.suppress(OSError):  # who needs it says so
                    yield f"{name}={value} of {choice.kind} {choice.name}", digest_of_files(Path(value))


def adopt_code(run: Run, splits: Splits, code: Mapping[str, str]) -> None:
    """Know the code of a run by the hashes that another process has found, where this one cannot find them.

    That is so for classes of a notebook or of the script that was started, which are sent to other processes, and for
    code that cannot be seen.

    Args:
        run: whose code it is.
        splits: of its task.
        code: what `code_of_run` gave there.

    Raises:
        MmkitError: code that both see differs.
    """
    kinds = getattr(splits.task, "inputs", {})
    factories = {
        f"{choice.kind} {choice.name}": choice.factories
        for chosen in (run.task, *run.combination.choices())
        for choice in chosen.whole
    }
    factories |= {f"modality {kinds.get(name, name)}": (type(one),) for name, one in splits.modalities.items()}
    here = code_of_run(run.task, run.combination, splits)
    for name in sorted(here.keys() | code.keys()):
        mine, theirs = here.get(name, ""), code.get(name, "")
        if mine == theirs:
            continue
        own = factories.get(name, ())
        if not own or not (same_hash(mine, theirs) or any(_is_sent(one) for one in own)):
            raise MmkitError(
                f"a worker has other code of {name} than the suite; give all machines the same files ({mine or 'none'} "
                f"and {theirs or 'none'})"
            )
        _codes.setdefault(splits, {})[own] = theirs


def _is_sent(component: type) -> bool:
    """Whether a class is of a notebook or of the script that was started, which no other process can import."""
    return component.__module__ == "__main__"


def known_by(task: Task) -> dict[str, str]:
    """What stands for the task in an id: its `identity`, where it has one, in place of its options."""
    known: str | None = getattr(task, "identity", None)
    return {} if known is None else {"task": known}


def fold_of(task: Task) -> Fold | None:
    """Which fold a task is; None where it has one split."""
    number: int = getattr(task, "fold", 0)
    return Fold(number, task.folds) if number else None  # type: ignore[attr-defined]  # a fold is one of several


def check_belongs(known: Mapping[str, Record], choice: Choice, task: Task, folder: Path) -> None:
    """Check that the records of a folder are of the task that is asked for.

    Of a task with an `identity`, whose data may have moved, the name is compared; `check_identity` compares the data.

    Raises:
        UsageError: they are of another.
    """
    fold = fold_of(task)
    for record in known.values():
        if (record.fold and record.fold.of) != (fold and fold.of):
            raise UsageError(
                f"{folder} holds records of {_folds(record.fold)}, and now it is {_folds(fold)}; choose another --out"
            )
        same = record.task.partition(":")[0] == choice.name if known_by(task) else record.task == str(choice)
        if not same:
            raise UsageError(
                f"{folder} holds records of the task {record.task}, and now it is {choice}; a folder belongs to one "
                "task: choose another --out"
            )


def check_identity(known: Iterable[Record], runs: Iterable[Run], splits: Splits, folder: Path) -> None:
    """Check that completed records are of the data and the code that runs would have now.

    Raises:
        UsageError: one is of other data or other code; the message says what has changed.
    """
    data = data_of(splits)
    code = {name: hash_ for run in runs for name, hash_ in code_of_run(run.task, run.combination, splits).items()}
    how = "choose another --out, or --mix to go on in this one"
    fold = fold_of(splits.task)
    for record in known:
        if record.status != "ok" or record.fold != fold:
            continue
        if changed := changed_columns(record.data, data):
            raise UsageError(
                f"{folder} holds records of other data: {_shown(changed, splits, folder)} changed; "
                f"{by_time(splits.task, changed)}{how}"
            )
        for name in record.code.keys() & code.keys():
            if not same_hash(record.code[name], code[name]):
                raise UsageError(f"{folder} holds records of other code: that of {name} changed; {how}")


def by_time(task: Task, changed: Mapping[Split, Sequence[str]]) -> str:
    """What to know where files changed that are known by their time: copied or touched, they are others; else empty.

    Args:
        task: that the files are of.
        changed: names of columns by split, as `changed_columns` gives them.
    """
    files = {f"input {name}" for name in getattr(task, "known_by_time", ())}
    if not files & {column for columns in changed.values() for column in columns}:
        return ""
    return (
        "files are known by size and time, so copied or touched ones count as others (with --deep from the first run "
        "on they are known by their content); "
    )


def warn_unseen(runs: Iterable[Run], splits: Splits, warn: Callable[[str], None]) -> None:
    """Warn once of data and code that cannot be known by their content; their runs are done again each time."""
    data = [f"{name}, {why}" for name in SPLITS for why in splits.content(name).unknown]
    code = {
        f"the code of {name}": None
        for run in runs
        for name, hash_ in code_of_run(run.task, run.combination, splits).items()
        if hash_.startswith(UNKNOWN)
    }
    if unseen := [*data, *code]:
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        warn(f"{unseen[0]}{more} cannot be compared by content, so no run is taken from an earlier suite")


def _folds(fold: Fold | None) -> str:
    return "one split" if fold is None else f"{fold.of} folds"


def _shown(changed: Mapping[Split, Sequence[str]], splits: Splits, folder: Path) -> str:
    """What has changed, and of how many samples where the folder knows them all."""
    fold = fold_of(splits.task)
    before = read_splits(folder, fold.number if fold else 0)
    parts = []
    for split, columns in changed.items():
        content, known = splits.content(split), before.get(split, {})
        now = {id_as_text(id_): Row(row, int(content.rows[row])) for row, id_ in enumerate(content.ids)}
        counts = {
            "changed": [id_ for id_ in now if id_ in known and known[id_].content != now[id_].content],
            "new": [id_ for id_ in now if id_ not in known],
            "gone": [id_ for id_ in known if id_ not in now],
        }
        if now.keys() == known.keys():
            counts["at another place"] = [id_ for id_ in now if known[id_].row != now[id_].row]
        told = [f"{len(ids)} {what}, the first is {ids[0]}" for what, ids in counts.items() if ids and known]
        parts.append(f"{' and '.join(columns)} of {split}" + (f" ({'; '.join(told)})" if told else ""))
    return ", ".join(parts)


def _code(splits: Splits, factories: tuple[type, ...]) -> str:
    known = _codes.setdefault(splits, {})
    if factories not in known:
        found = code_of(*factories)
        if found is None:
            found = _unseen.setdefault(factories[0], UNKNOWN + uuid4().hex[:16])
        known[factories] = found
    return known[factories]
