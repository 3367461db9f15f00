"""The comparison of two suites on the same data: what has changed, and whether that breaks a condition.

Combinations are matched by their components, and seeds by number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmkit.errors import UsageError, one_of
from mmkit.records.reading import Read, groups_of_test
from mmkit.records.record import Record
from mmkit.report.change_tables import as_line, as_words, listed, said, sheet_of, told
from mmkit.report.changes import SIZES, TIMES, Change, has, metric_change, size_change, time_change
from mmkit.report.conditions import Check, Condition, exit_code, level_of
from mmkit.report.html import paragraph, table
from mmkit.report.sheet import Sheet
from mmkit.report.sides import Side, paired
from mmkit.report.summary import Cell, Row, names, rows


@dataclass(frozen=True)
class Failure:
    """A combination whose runs failed with every seed.

    Args:
        combination: its name.
        where: "A", "B", or "A and B".
        error: the first.
    """

    combination: str
    where: str
    error: str


@dataclass(frozen=True, repr=False)
class SuiteComparison:
    """What has changed from suite A to suite B.

    Args:
        a: where A is.
        b: where B is.
        changes: of each combination that both have, quantity by quantity.
        only_a: combinations that only A has.
        only_b: combinations that only B has.
        failed: combinations that both have, whose runs all failed on one side.
        one_sided: names of combinations of which one side alone has a quantity, by quantity.
        notes: what else a reader has to know.
        checks: the conditions, on each combination.
    """

    a: str
    b: str
    changes: list[Change]
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    one_sided: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<SuiteComparison of {self.a} and {self.b}: {self.sentence}>"

    def _repr_html_(self) -> str:
        return "\n".join([*map(table, self.sheets()), *map(paragraph, [*self.lines(), self.sentence])])

    @property
    def quantities(self) -> list[str]:
        """The metrics, times and sizes that are compared."""
        return list(dict.fromkeys(change.quantity for change in self.changes))

    @property
    def sentence(self) -> str:
        """The answer: what is better or worse in B, what is the same, and what cannot be told."""
        if all(change.same for change in self.changes):
            count = len({change.combination for change in self.changes})
            what = ", ".join(told(name) for name in self.quantities)
            of = f"all {count} combinations" if count > 1 else self.changes[0].combination
            return f"B is the same as A: {what} of {of}, to the last digit."
        return " ".join(said(name, self._of(name)) for name in self.quantities if name not in SIZES)

    @property
    def exit_code(self) -> int:
        """0 where all conditions are kept, 1 where one is surely broken, else 5."""
        return exit_code(self.checks)

    def table(self) -> list[dict[str, Cell]]:
        """One row per combination and quantity as plain values: `pandas.DataFrame(comparison.table())`."""
        return [as_line(change) for change in self.changes]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "schema": 1,
            "a": self.a,
            "b": self.b,
            "sentence": self.sentence,
            "changes": self.table(),
            "only_a": self.only_a,
            "only_b": self.only_b,
            "failed": [asdict(one) for one in self.failed],
            "one_sided": self.one_sided,
            "notes": self.notes,
            "checks": [
                {"fail_if": one.condition.text, "combination": one.combination, "outcome": one.outcome, "why": one.why}
                for one in self.checks
            ],
            "exit_code": self.exit_code,
        }

    def sheets(self) -> list[Sheet]:
        """A table for each quantity."""
        return [sheet_of(name, self._of(name)) for name in self.quantities if name not in SIZES or self._asked(name)]

    def lines(self) -> list[str]:
        """What stands below the tables: what is not compared, and the outcome of each condition."""
        found = [f"Only in {side}: {', '.join(of)}." for side, of in (("A", self.only_a), ("B", self.only_b)) if of]
        found += [f"Only one side has the {told(what)} of {', '.join(of)}." for what, of in self.one_sided.items()]
        found += [f"{one.combination} failed in {one.where}: {one.error}" for one in self.failed]
        return [*found, *self.notes, *self._outcomes()]

    def _of(self, quantity: str) -> list[Change]:
        return [change for change in self.changes if change.quantity == quantity]

    def _asked(self, quantity: str) -> bool:
        return any(check.condition.quantity == quantity for check in self.checks) or any(
            not change.same for change in self._of(quantity)
        )

    def _outcomes(self) -> Iterator[str]:
        for text in dict.fromkeys(check.condition.text for check in self.checks):
            of = [check for check in self.checks if check.condition.text == text]
            parts = []
            for outcome, words in (("broken", "broken by"), ("unclear", "too noisy to tell for")):
                if found := [f"{one.combination} ({one.why})" for one in of if one.outcome == outcome]:
                    parts.append(f"{words} {listed(found)}")
            yield f"{text}: {'; '.join(parts) or 'kept'}."
        if len(self.checks) > 2 and self.exit_code:  # of one or two they are those of the tables
            yield f"Intervals of conditions are wide enough for {len(self.checks)} checks together."


def compare(
    a: Sequence[Read],
    b: Sequence[Read],
    called: tuple[str, str],
    *,
    fail_if: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> SuiteComparison:
    """Compare two suites, or several by their data.

    Args:
        a: what is there.
        b: what is new.
        called: where they are.
        fail_if: conditions on the change from A to B, such as "time>5%" or "accuracy<-1".
        metrics: on test, beside the one that ranks and those of conditions.

    Raises:
        UsageError: they are of different data, share no combination, or a name or a condition is not possible.
    """
    pairs, left = paired(a, b, called)
    known = sorted({name for pair in pairs for side in pair for record in side.records for name in record.metrics})
    conditions = [Condition.of(text, known) for text in fail_if]
    for name in metrics:
        if name not in known:
            raise UsageError(f"no run has a metric {name}; {one_of(known, name)}")
    asked = [*metrics, *(one.quantity for one in conditions if one.quantity in known)]
    whole = SuiteComparison(*called, [], notes=left)
    for pair in pairs:
        _compare(pair, asked, whole, prefix=len(pairs) > 1)
    if not whole.changes:
        raise UsageError(
            f"{called[0]} and {called[1]} share no combination with a result; A has "
            f"{', '.join(whole.only_a) or 'none other'}, B has {', '.join(whole.only_b) or 'none other'}"
        )
    whole.checks.extend(_checks(conditions, whole))
    return whole


def _compare(pair: tuple[Side, Side], asked: Sequence[str], whole: SuiteComparison, *, prefix: bool) -> None:
    """Add what has changed between two suites of the same data to a comparison."""
    sides = [{_key(row): row for row in rows(side.records)} for side in pair]
    every = [*sides[0], *(key for key in sides[1] if key not in sides[0])]
    union = [sides[0].get(key) or sides[1][key] for key in every]
    task = pair[0].records[0].task.partition(":")[0]
    called = dict(zip(every, (f"{task}: {name}" if prefix else name for name in names(union)), strict=True))
    first = next((record for record in pair[0].records if record.status == "ok"), pair[0].records[0])
    why_not = _surroundings(pair)
    groups = groups_of_test(pair[0].read.folder)
    before = len(whole.changes)
    found: dict[str, list[Change | None]] = {}
    for key, name in called.items():
        one, other = sides[0].get(key), sides[1].get(key)
        if one is None or other is None:
            (whole.only_b if one is None else whole.only_a).append(name)
            continue
        if not one.records or not other.records:
            where = "A and B" if one.records == other.records else "B" if one.records else "A"
            errors = (one if where == "A" else other).errors
            whole.failed.append(Failure(name, where, errors[0] if errors else "not all of its folds ended"))
            continue
        for side, row in (("A", one), ("B", other)):
            if row.errors:
                runs = f"{len(row.errors)} of {len(row.errors) + len(row.records)} runs"
                whole.notes.append(f"{name}: {runs} failed in {side}, and are left out: {row.errors[0]}")
        new: dict[str, Change | None] = {
            metric: metric_change(name, metric, one, other, groups) for metric in dict.fromkeys([first.metric, *asked])
        }
        new |= {quantity: time_change(name, quantity, one, other, why_not) for quantity in TIMES}
        new |= {quantity: size_change(name, quantity, one, other) for quantity in SIZES}
        for quantity, change in new.items():
            found.setdefault(quantity, []).append(change)
            if change is None and has(one, quantity) != has(other, quantity):
                whole.one_sided.setdefault(quantity, []).append(name)
    whole.changes.extend(change for of in found.values() for change in of if change is not None)
    added = whole.changes[before:]
    if why_not and any(change.quantity in TIMES for change in added):
        whole.notes.append(f"Times are not compared: {why_not}.")
    whole.notes.extend(_notes(pair, added))


def _key(row: Row) -> str:
    return json.dumps([row.encoders, row.fusion, row.head, row.objectives], sort_keys=True)


def _surroundings(pair: tuple[Side, Side]) -> str:
    """Why times of two suites cannot be compared; empty where they can."""
    then, now = (_timed(side) for side in pair)
    for what, before, after in (("device", then.device, now.device), ("precision", then.precision, now.precision)):
        if before != after:
            return f"A ran on {what} {before}, B on {after}"
    if changed := _differing(then.machine, now.machine):
        return f"A and B ran on different machines ({changed})"
    return ""


def _timed(side: Side) -> Record:
    return next((record for record in side.records if record.throughput), side.records[0])


def _differing(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between two tables of plain values, the first two entries."""
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    return ", ".join(f"{key} {then.get(key)} and {now.get(key)}" for key in keys[:2])


def _notes(pair: tuple[Side, Side], changes: Sequence[Change]) -> Iterator[str]:
    then, now = (_timed(side) for side in pair)
    if changed := _differing({**then.software, **then.libraries}, {**now.software, **now.libraries}):
        yield f"Versions differ: {changed}."
    measured = [change for change in changes if change.quantity not in {*TIMES, *SIZES} and not change.same]
    alone = dict.fromkeys(told(one.quantity) for one in measured if not one.samples)
    if alone:
        yield f"Intervals of {', '.join(alone)} are over seeds alone: they hold for these test samples, not for others."
    for what, why in dict.fromkeys((one.quantity, one.widened) for one in measured if one.widened):
        yield f"Intervals of {told(what)} are wider, as {why}."
    unknown = [
        f"{told(one.quantity)} of {one.combination}, {one.difference.unknown}"
        for one in measured
        if one.difference.unknown
    ]
    if unknown:
        yield f"No interval of {listed(unknown, '; ')}."
    if any(not one.paired for one in measured):
        yield "A and B share fewer than two seeds, so all seeds of one are compared with all of the other."


def _checks(conditions: Sequence[Condition], whole: SuiteComparison) -> Iterator[Check]:
    """Each condition on each combination."""
    partly = [name for of in whole.one_sided.values() for name in of]
    combinations = list(dict.fromkeys([*(change.combination for change in whole.changes), *partly]))
    count = max(len(conditions) * len(combinations), 1)
    for condition in conditions:
        of = {change.combination: change for change in whole.changes if change.quantity == condition.quantity}
        for name in combinations:
            if name not in of:
                # What neither side has of this combination, and both have of others, was not meant to be there.
                if not of or name in whole.one_sided.get(condition.quantity, ()):
                    yield Check(condition, name, "unclear", "not measured on both sides")
                continue
            outcome = condition.outcome(of[name], count)
            yield Check(condition, name, outcome, as_words(of[name], level_of(count)))
        for failure in whole.failed:
            if failure.where == "B":
                yield Check(condition, failure.combination, "broken", f"it failed: {failure.error}")
