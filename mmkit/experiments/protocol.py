"""The runs of a comparison, in their order: a race among fusions on validation, then fresh seeds of what counts.

Several fusions race by successive halving: all are trained with one seed, then, round by round, the better half by the
mean on validation gets one seed more. The first of the last round is chosen. Where the user gives a budget of time, a
search within it (`budget.py`) takes the place of the race. With a search for learning rates, its best
training is a fusion's first run of the race. Runs of the race read no test.

The chosen fusion and every single input are then confirmed by fresh seeds, which choose nothing, and measured on test.

The full protocol measures every fusion on test: runs of the race read it as well, by which nothing is chosen, and
fusions that were not chosen get seeds until three were measured. Of the chosen one it measures what its answers hang
on, input by input, and of all that is confirmed how much the answers tell of the truth. After confirmation it adds
seeds once, as many for all, where the variance over seeds is large beside that over samples; it does not look at the
difference. Folds get no more.

A seed is made of the base that the user gives, of the ids of train and validation, of the phase and of an index. So the
seeds of two data sets differ, all combinations have the same ones, and corrected truth keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mmkit.data.splits import Splits
from mmkit.experiments.plan import Plan
from mmkit.experiments.run import Run
from mmkit.model.combination import Combination
from mmkit.records.choice import criterion
from mmkit.records.record import Record, Rung, Stage
from mmkit.records.splits import id_as_text
from mmkit.system.hashing import fingerprint
from mmkit.training.optimisation import Training

MEASURED = 3
"""Seeds of every fusion that the full protocol measures on test."""
MOST = 10
"""Seeds to which the full protocol brings confirmation at most."""


@dataclass(frozen=True)
class Attempt:
    """A run of the protocol.

    Args:
        run: what is trained.
        phase: "search" for the race, "confirm" for fresh seeds.
        index: of its seed in the phase.
        tested: whether test is read.
        controlled: whether it is measured there what the answers hang on.
        informed: whether it is measured there how much the answers tell of the truth.
        rung: the place in a search within a budget; None of other runs.
        kept: whether its answers are kept, to be blended.
    """

    run: Run
    phase: Stage
    index: int
    tested: bool
    controlled: bool = False
    informed: bool = False
    rung: Rung | None = None
    kept: bool = False


class Done(NamedTuple):
    """A run of the protocol that has ended; a promoted one was a training of the search for a learning rate."""

    attempt: Attempt
    record: Record
    promoted: bool = False


def seed_of(base: int, split: str, phase: Stage, index: int) -> int:
    """The seed of a run.

    Args:
        base: what the user gives.
        split: from `split_of`.
        phase: of the run.
        index: of the seed in the phase.
    """
    return int(fingerprint([base, split, phase, index])[:8], 16) >> 1


def split_of(splits: Splits) -> str:
    """A hash of the ids of train and validation alone."""
    return fingerprint([[id_as_text(one) for one in splits.content(name).ids] for name in ("train", "validation")])


def rounds(count: int) -> list[int]:
    """How many fusions are trained in each round of a race.

    >>> rounds(1), rounds(3), rounds(11)
    ([], [3, 2], [11, 6, 3, 2])
    """
    if count < 2:
        return []
    sizes = [count]
    while len(sizes) < (2 if count <= 3 else 3 if count <= 8 else 4):
        sizes.append(max(2, math.ceil(sizes[-1] / 2)))
    return sizes


@dataclass
class Protocol:
    """The protocol of one part of a plan.

    Args:
        plan: of the part; what chooses may put others in the place of its combinations.
        split: from `split_of`.
        training: that was chosen for combinations, by key; of others it is that of the plan.
        first: the best record of the search for a learning rate, by key.
        attempt: gives runs, none of which waits for another, with their records; failed ones, too.
        promote: makes a record of a search that of the first run of the race.
        expect: is told, when it changes, how many runs each combination still needs, by key.
        wanted: how many fresh seeds each confirmed combination should have, by what was done.
        choose: chooses the fusion in place of the race, and does the runs for it; None races.
    """

    plan: Plan
    split: str
    training: Mapping[str, Training]
    first: Mapping[str, Record]
    attempt: Callable[[Sequence[Attempt]], Iterable[tuple[Attempt, Record]]]
    promote: Callable[[Attempt, Record], Record]
    expect: Callable[[Mapping[str, float]], None]
    wanted: Callable[[Sequence[Done]], int]
    choose: Callable[[Protocol], Combination | None] | None = None
    done: list[Done] = field(default_factory=list)

    def carry_out(self) -> list[Done]:
        """All runs, in order."""
        if self.choose is not None:
            chosen = self.choose(self)
        elif len(self.plan.combinations) > 1:
            chosen = self._race()
        else:
            chosen = next(iter(self.plan.combinations), None)
        plan = self.plan
        confirmed = [*([] if chosen is None else [chosen]), *plan.baselines]
        full = plan.protocol == "full" and self.choose is None  # a budget measures what it has confirmed
        beside = [one for one in plan.combinations if one is not chosen] if full else []
        lacking = {one.key: max(0, MEASURED - self._measured(one)) for one in beside}
        self.expect({**lacking, **dict.fromkeys((one.key for one in confirmed), plan.seeds)})
        self.do_all([attempt for one in beside for attempt in self._measurements(one, lacking[one.key])])
        self._confirm(confirmed, range(plan.seeds))
        if plan.protocol == "full" and plan.seeds > 1 and chosen is not None and plan.baselines:
            most = self.wanted(self.done)
            if most > plan.seeds:
                self.expect(dict.fromkeys((one.key for one in confirmed), most - plan.seeds))
                self._confirm(confirmed, range(plan.seeds, most))
        return self.done

    def _race(self) -> Combination | None:
        """The fusion that is best on validation; None where none was completed."""
        left, records = list(self.plan.combinations), {one.key: list[Record]() for one in self.plan.combinations}
        # A search of tuned encoders stops before they are tuned, so its runs are compared with none.
        whole = all(not probed(record) for record in self.first.values())
        sizes = rounds(len(left))
        index = 0 if whole or not self.first else 1
        for number, size in enumerate(sizes):
            left = self._best(left, records)[:size]
            left = [one for one in left if all(record.status == "ok" for record in records[one.key])]
            if number and len(left) < 2:  # the others have failed
                break
            self._expect_of_race(left, sizes[number:])
            attempts = [self.of(one, "search", index, tested=self.plan.protocol == "full") for one in left]
            first = self.first if number == 0 and whole else {}
            for attempt in attempts:
                if (key := attempt.run.combination.key) in first:
                    records[key].append(self.take(attempt, first[key]))
            lacking = [attempt for attempt in attempts if attempt.run.combination.key not in first]
            for attempt, record in zip(lacking, self.do_all(lacking), strict=True):
                records[attempt.run.combination.key].append(record)
            index += 1
        found = [one for one in self._best(left, records) if all(record.status == "ok" for record in records[one.key])]
        return next(iter(found), None)

    def _best(self, left: list[Combination], records: Mapping[str, Sequence[Record]]) -> list[Combination]:
        """Those that are left, the best on validation first; before the first round as they are."""
        by = criterion(record for one in left for record in records[one.key])
        return sorted(left, key=lambda one: by.score(records[one.key]), reverse=True)

    def _expect_of_race(self, left: Sequence[Combination], sizes: Sequence[int]) -> None:
        """What is expected of each fusion before it is known which one is chosen, and of single inputs."""
        promoted = not self.done and self.plan.rates and not any(map(probed, self.first.values()))
        rest: float = sum(sizes) - (sizes[0] if promoted else 0) + self.plan.seeds
        if self.plan.protocol == "full":
            rest += MEASURED * (len(self.plan.combinations) - 1) / 2
        out = {one.key: 0.0 for one in self.plan.combinations}
        here = {one.key: rest / len(left) for one in left}
        self.expect({**out, **here, **{one.key: float(self.plan.seeds) for one in self.plan.baselines}})

    def _measured(self, combination: Combination) -> int:
        return sum(bool(one.record.metrics) for one in self.done if one.attempt.run.combination is combination)

    def _measurements(self, combination: Combination, count: int) -> list[Attempt]:
        """Runs of a fusion that was not chosen, for the table alone."""
        own = [one.attempt.index for one in self.done if one.attempt.run.combination is combination]
        first = max(own, default=-1) + 1
        return [self.of(combination, "search", index, tested=True) for index in range(first, first + count)]

    def _confirm(self, combinations: Sequence[Combination], indices: range) -> None:
        self.do_all([self.of(one, "confirm", index, tested=True) for index in indices for one in combinations])

    def of(self, combination: Combination, phase: Stage, index: int, *, tested: bool) -> Attempt:
        """A run of a combination with the seed of a phase and an index."""
        training = self.training.get(combination.key, self.plan.training)
        seed = seed_of(self.plan.base, self.split, phase, index)
        informed = self.plan.protocol == "full" and phase == "confirm"
        controlled = informed and combination in self.plan.combinations
        return Attempt(self.plan.run(combination, seed, training), phase, index, tested, controlled, informed)

    def do(self, attempt: Attempt) -> Record:
        """Do a run; its record."""
        return self.do_all([attempt])[0]

    def do_all(self, attempts: Sequence[Attempt]) -> list[Record]:
        """Do runs, none of which waits for another; their records."""
        found = []
        for attempt, record in self.attempt(attempts):
            self.done.append(Done(attempt, record))
            found.append(record)
        return found

    def take(self, attempt: Attempt, record: Record) -> Record:
        """Make a record of a search that of a run which is compared."""
        self.done.append(Done(attempt, self.promote(attempt, record), promoted=True))
        return self.done[-1].record


def probed(record: Record) -> bool:
    """Whether a search trained beside encoders as they came, which are tuned in other runs."""
    return bool(record.phases) and record.phases[-1].name == "probing"


def counted(plan: Plan, *, promoted: bool) -> int:
    """The number of runs of a plan, without those that the full protocol may add in the end.

    Args:
        plan: the plan.
        promoted: whether the search for learning rates has made the first runs of the race.
    """
    count = len(plan.combinations)
    sizes = rounds(count) if plan.budget is None else []  # how many runs a budget affords is known when it is measured
    race = sum(sizes) - (count if promoted and sizes else 0)
    confirmed = plan.seeds * (min(count, 1) + len(plan.baselines))
    beside = 0
    if plan.protocol == "full" and sizes:
        promotions = int(promoted)
        lasts = [size - later for size, later in zip(sizes, [*sizes[1:], 1], strict=True)]  # leave after each round
        beside = sum(out * max(0, MEASURED - (number - promotions)) for number, out in enumerate(lasts, start=1))
    return (race + beside + confirmed) * len(plan.parts)


class SoFar(NamedTuple):
    """What a folder holds of a protocol.

    Args:
        done: the runs that are done; those of single inputs wherever the race stands.
        left: how many runs are expected of each combination, by key.
        complete: whether nothing is left.
    """

    done: list[Done]
    left: dict[str, float]
    complete: bool


def so_far(
    plan: Plan,
    splits: Splits,
    known: Mapping[str, Record],
    training: Mapping[str, Training],
    first: Mapping[str, Record],
    wanted: Callable[[Sequence[Done]], int],
    choose: Callable[[Protocol], Combination | None] | None = None,
) -> SoFar:
    """What records say of the protocol of a part; the parameters are those of `Protocol`."""
    left: dict[str, float] = {}

    def attempt(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Record]]:
        complete = True
        for one in attempts:
            record = known.get(one.run.id(splits))
            if record is None or not is_done(record, one):
                complete = False
                continue
            left[one.run.combination.key] = max(0.0, left.get(one.run.combination.key, 0.0) - 1)
            yield one, record
        if not complete:
            raise _NotThereError

    def expect(count: Mapping[str, float]) -> None:
        left.clear()
        left.update(count)

    protocol = Protocol(
        plan, split_of(splits), training, first, attempt, lambda _, record: record, expect, wanted, choose
    )
    try:
        protocol.carry_out()
    except _NotThereError:
        there = [(one.attempt.run.combination.key, one.attempt.phase, one.attempt.index) for one in protocol.done]
        for index in range(plan.seeds):
            for one in protocol.plan.baselines:
                later = protocol.of(one, "confirm", index, tested=True)
                record = known.get(later.run.id(splits))
                if record is not None and is_done(record, later) and (one.key, "confirm", index) not in there:
                    protocol.done.append(Done(later, record))
                    left[one.key] = max(0.0, left.get(one.key, 0.0) - 1)
        return SoFar(protocol.done, left, complete=False)
    return SoFar(protocol.done, dict.fromkeys(left, 0.0), complete=True)


class _NotThereError(LookupError):
    """A run of the protocol has no record."""


def is_done(record: Record | None, attempt: Attempt) -> bool:
    """Whether a record is that of a completed run of the protocol, which has measured on test what it was to."""
    if record is None or record.status != "ok":
        return False
    if attempt.rung is not None and not attempt.tested:
        return not probed(record)
    if record.purpose != "comparison" and attempt.rung is None:
        return False
    if attempt.controlled and record.controls is None:
        return False
    return record.samples is not None and (record.samples.test is not None or not attempt.tested)
