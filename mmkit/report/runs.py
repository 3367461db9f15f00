"""The runs of suites as a list: filtered by what their records say, and sorted by what they reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.errors import UsageError, one_of
from mmkit.records.reading import Read
from mmkit.records.record import Record
from mmkit.report.values import written

STATUSES = ("ok", "failed", "stopped")
VALIDATION = "validation."
SHORTHAND = {"train.": "run.training.", "encoder.": "encoders."}
"""How users name what stands elsewhere in a record: as on the command line."""
_HIDDEN = (
    "history",
    "confusion",
    "never",
    "scores",
    "intervals",
    "data",
    "code",
    "names",
    "search",
    "phases",
    "calibrated",
)
_MISSING = object()


@dataclass(frozen=True)
class Listed:
    """One run of a list.

    Args:
        suite: folder of its suite.
        record: of the run.
    """

    suite: str
    record: Record


def listed_runs(
    suites: Sequence[Read], *, status: str | None = None, where: Sequence[str] = (), sort: str | None = None
) -> list[Listed]:
    """The runs of suites, those of a suite in the order in which they began to be written.

    Args:
        suites: where to look.
        status: "ok", "failed", or "stopped" by a budget before its end; None is all.
        where: KEY=VALUE, of a field of the record; of tables in it with dots: "fold.number=2", "train.lr=0.002".
        sort: a metric on test, "validation.METRIC" or "seconds"; the best comes first, and of seconds the fewest. Runs
            without a value come last.

    Raises:
        UsageError: a status, a key or a metric that there is not.
    """
    found = [Listed(str(suite.folder), record) for suite in suites for record in suite.records]
    if status is not None and status not in STATUSES:
        raise UsageError(f"unknown --status {status}; {one_of(STATUSES, status)}")
    tests = [_test(text, found) for text in where]
    chosen = [one for one in found if status in {None, _status(one.record)} and all(test(one.record) for test in tests)]
    return chosen if sort is None else _sorted(chosen, found, sort)


def _test(text: str, among: Sequence[Listed]) -> Callable[[Record], bool]:
    """Whether a record is as KEY=VALUE says."""
    key, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--where takes KEY=VALUE, such as fusion=attention; got {text!r}")
    path = _path(key)
    if all(_value(one.record, path) is _MISSING for one in among):
        possible = dict.fromkeys(name for one in among for name in _keys(one.record))
        raise UsageError(f"--where {text!r}: no run has {key}; {one_of(possible, key)}")
    return lambda record: _equal(_value(record, path), value)


def absent(suites: Sequence[Read], where: Sequence[str]) -> Iterator[str]:
    """A line for each KEY=VALUE that no run has, with the values that there are."""
    found = [Listed(str(suite.folder), record) for suite in suites for record in suite.records]
    for text in where:
        if not any(map(_test(text, found), (one.record for one in found))):
            key, _, value = text.partition("=")
            there = (_value(one.record, _path(key)) for one in found)
            yield f"no run has {text}; {one_of(dict.fromkeys(each for one in there for each in _texts(one)), value)}"


def _texts(value: Any) -> Iterator[str]:
    """A value as it is written in KEY=VALUE; each of several."""
    if isinstance(value, list):
        yield from (text for one in value for text in _texts(one))
    elif value is None or isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, int | float | str):
        yield f"{value:g}" if isinstance(value, float) else str(value)


def _path(key: str) -> str:
    """Where a key that a user writes stands in a record."""
    return next((long + key.removeprefix(short) for short, long in SHORTHAND.items() if key.startswith(short)), key)


def _value(record: Record, path: str) -> Any:
    """What stands at a path of names; a name may hold dots itself."""
    found: Any = record.document()
    parts = path.split(".")
    while parts:
        if not isinstance(found, Mapping):
            return _MISSING
        for count in range(len(parts), 0, -1):
            if (name := ".".join(parts[:count])) in found:
                found, parts = found[name], parts[count:]
                break
        else:
            return _MISSING
    return found


def _equal(value: Any, text: str) -> bool:
    if value is _MISSING or isinstance(value, Mapping):
        return False
    if isinstance(value, list):
        return any(_equal(one, text) for one in value)
    if value is None or isinstance(value, bool):
        return str(value).lower() == text.lower()
    if isinstance(value, int | float):
        try:
            return math.isclose(value, float(text), rel_tol=1e-9)
        except ValueError:
            return False
    return bool(value == text)


def _keys(record: Record) -> Iterator[str]:
    """The keys that a user would choose by."""
    for name, value in record.document().items():
        if name == "run":
            yield from (f"train.{each}" for each in value.get("training", {}))
        elif isinstance(value, Mapping) and name not in _HIDDEN:
            short = "encoder" if name == "encoders" else name
            yield from (f"{short}.{each}" for each in value)
        elif name not in _HIDDEN:
            yield name


def _sorted(chosen: Sequence[Listed], among: Sequence[Listed], sort: str) -> list[Listed]:
    possible = dict.fromkeys(["seconds"])
    for one in among:
        possible |= dict.fromkeys([*one.record.metrics, *(f"{VALIDATION}{name}" for name in one.record.validation)])
    if sort not in possible:
        raise UsageError(f"--sort {sort}: no run has it; {one_of(possible, sort)}")
    metric = sort.removeprefix(VALIDATION)

    def rank(one: Listed) -> float:
        record = one.record
        of: Mapping[str, float | None] = (
            {"seconds": None if record.beside else record.seconds}
            if sort == "seconds"
            else record.validation
            if metric != sort
            else record.metrics
        )
        value = of.get(metric)
        if value is None:
            return math.inf
        return -value if sort != "seconds" and record.more_is_better(metric) else value

    return sorted(chosen, key=rank)


def lines_of(found: Sequence[Listed]) -> tuple[list[str], list[list[str]], list[str]]:
    """Titles, a line a run, and which of the titles are of names.

    What all runs share is left out, but for the fusion, the seed and the status.
    """
    records = [one.record for one in found]
    inputs = list(dict.fromkeys(name for record in records for name in record.encoders))
    of: dict[str, list[str]] = {"fusion": [record.fusion for record in records]}
    of |= {f"encoder of {name}": [record.encoders.get(name, "-") for record in records] for name in inputs}
    of |= {
        "head": [record.head for record in records],
        "suite": [one.suite for one in found],
        "purpose": [record.purpose for record in records],
    }
    named = [title for title, texts in of.items() if title == "fusion" or len(set(texts) - {"-"}) > 1]
    folds = any(record.fold for record in records)
    figures = {
        "fold": [_fold(record) for record in records],
        "seed": [str(record.seed) for record in records],
        "status": [_status(record) for record in records],
        "rate": [_rate(record) for record in records],
        **_scores(records),
        "seconds": [_seconds(record) for record in records],
        "id": [record.id[:8] for record in records],
    }
    if not folds:
        del figures["fold"]
    columns = [*(of[title] for title in named), *figures.values()]
    return [*named, *figures], [list(line) for line in zip(*columns, strict=True)], named


def piped(found: Sequence[Listed]) -> Iterator[list[str]]:
    """The titles, then the cells of each run: the same columns whatever the runs are, for a program that reads them."""
    yield [
        *("fusion", "encoders", "head", "suite", "purpose", "fold", "seed", "status", "rate"),
        *("metric", "validation", "test", "seconds", "id", "error"),
    ]
    for one in found:
        record = one.record
        yield [
            record.fusion,
            " ".join(f"{name}={choice}" for name, choice in record.encoders.items()),
            record.head,
            one.suite,
            record.purpose,
            _fold(record),
            str(record.seed),
            _status(record),
            _rate(record),
            record.metric or "-",
            _told(record, record.validation),
            _told(record, record.metrics),
            _seconds(record),
            record.id[:8],
            " ".join((record.error or "").split()),
        ]


def _fold(record: Record) -> str:
    return "-" if record.fold is None else f"{record.fold.number} of {record.fold.of}"


def _status(record: Record) -> str:
    return "stopped" if record.stopped else record.status


def _seconds(record: Record) -> str:
    return "-" if record.seconds is None or record.beside else f"{record.seconds:.1f}"


def _told(record: Record, of: Mapping[str, float | None]) -> str:
    value = of.get(record.metric)
    return "-" if value is None else written(value, record.metric)


def _rate(record: Record) -> str:
    rate = record.run.get("training", {}).get("lr")
    return "-" if rate is None else f"{rate:g}"


def _scores(records: Sequence[Record]) -> dict[str, list[str]]:
    """The metric that ranks, on validation and on test; of several tasks each record's own."""
    metrics = dict.fromkeys(record.metric for record in records if record.metric)
    name = next(iter(metrics)) if len(metrics) == 1 else "metric"
    return {
        f"validation {name}": [_told(record, record.validation) for record in records],
        f"test {name}": [_told(record, record.metrics) for record in records],
    }
