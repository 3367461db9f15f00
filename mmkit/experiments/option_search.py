"""The search for options within a budget: each combination, single inputs included, gets the same time for its own.

Time for confirmation is set aside first: twice what it takes with the options that there are, for the chosen ones may
be dearer, and none is chosen that took more than twice. A quarter of the rest is for more seeds of the best
combinations. The other trainings are divided equally: the next one is always of the combination that has had the least
time, as long as another fits its share. All are trained to the end, with one seed, and scored on validation; they read
no test. The best setting of each combination takes its place in what follows.

Nothing but the records is kept: `studies.py` is told what they say, and asks for the same settings again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mmkit.experiments.budget import Budget, Candidate
from mmkit.experiments.finals import Setting
from mmkit.experiments.halving import Price
from mmkit.experiments.means import Means
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import Protocol, seed_of
from mmkit.experiments.ranges import RATE, ranges_of, with_options
from mmkit.experiments.search import Searched, end_of, tried_of
from mmkit.experiments.studies import Study
from mmkit.model.combination import Combination
from mmkit.records.choice import criterion
from mmkit.records.record import RateSearch, Record, Rung
from mmkit.system.hashing import fingerprint

DEARER = 2
"""The times by which chosen options may be dearer than the ones that there were."""
FINALS = 0.25
"""The share of the time for more seeds of the best combinations."""


@dataclass
class Track:
    """The search for the options of one combination.

    Args:
        origin: the combination with the options that there are.
        study: proposes settings.
        tried: its trainings with their records, in order.
        ended: whether there is no other setting.
    """

    origin: Combination
    study: Study
    tried: list[tuple[Candidate, Record]] = field(default_factory=list)
    ended: bool = False

    @property
    def spent(self) -> float:
        """Seconds of its trainings."""
        return sum(record.seconds or 0.0 for _, record in self.tried)

    def expected(self, price: float) -> float:
        """Seconds of the next training: the mean of those that were, or a price."""
        return statistics.fmean(record.seconds or 0.0 for _, record in self.tried) if self.tried else price

    def best(self, price: float) -> tuple[Candidate, Record] | None:
        """The best on validation of those that are not too dear; None where none was completed."""
        most = DEARER * max(price, self.tried[0][1].seconds or 0.0) if self.tried else 0.0
        good = [one for one in self.tried if one[1].status == "ok" and (one[1].seconds or 0.0) <= most]
        by = criterion(record for _, record in good)
        return max(good, key=lambda one: by.score([one[1]]), default=None)


@dataclass
class OptionSearch(Budget):
    """A search within a budget for the options of every combination; see `Budget`."""

    _chosen: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ledger.reserved += self.confirm(self.whole)

    def confirm(self, epochs: int) -> float:
        """Seconds that are set aside to confirm; before options are chosen more, for they may be dearer."""
        return super().confirm(epochs) * (1 if self._chosen else DEARER)

    @property
    def origins(self) -> list[Combination]:
        """The combinations that can be built, single inputs included."""
        return [one for one in self.plan.all if one.key in self.means.prices]

    @property
    def each(self) -> float:
        """Seconds that the trainings of one combination may take, before the first one."""
        return self._share(0.0)

    def __call__(self, protocol: Protocol) -> Combination | None:
        """The fusion that is chosen; the plan of the protocol gets the options that were chosen for each."""
        tracks = [Track(one, Study(ranges_of(one, self.plan.rates), self._seed(protocol, one))) for one in self.origins]
        while (track := self._next(tracks)) is not None:
            self._train(protocol, track, tracks)
        return self._finals(protocol, self._settle(protocol, tracks))

    def _seed(self, protocol: Protocol, one: Combination) -> int:
        """Of a study."""
        return int(fingerprint([self.plan.base, protocol.split, "options", one.key])[:8], 16) >> 1

    def _share(self, spent: float) -> float:
        """Seconds of each combination, when so many are spent on all of them."""
        left = self.ledger.budget - self.ledger.spent - self.ledger.reserved * self.ledger.ratio
        return (1 - FINALS) * (spent + left) / len(self.origins)

    def _next(self, tracks: Sequence[Track]) -> Track | None:
        """The one that gets the next training: each gets one, then the one that had the least time."""
        share = self._share(sum(one.spent for one in tracks))
        fits = [
            one
            for one in tracks
            if not one.ended and (not one.tried or one.spent + one.expected(self._now(one.origin)) <= share)
        ]
        return min(fits, key=lambda one: (bool(one.tried), one.spent), default=None)

    def _now(self, one: Combination) -> float:
        """The seconds that a training of a combination takes on this machine, as it turned out."""
        return self._price(one, self.whole) * self.ledger.ratio

    def _train(self, protocol: Protocol, track: Track, tracks: Sequence[Track]) -> None:
        """The next training of a combination, if there is another setting."""
        values = track.study.ask()
        if values is None:
            track.ended = True
            return
        combination = with_options(track.origin, values)
        training = replace(self.plan.training, lr=values[RATE]) if RATE in values else self.plan.training
        if RATE not in values and self.plan.rates:
            training = replace(training, lr=self.plan.rates[0])
        self._priced(combination, self.means.prices[track.origin.key])
        self._expect(protocol, self._more(tracks))
        candidate = Candidate(combination, training)
        rung = Rung(1, 1, self.whole, self.whole)
        record = self._attempt(protocol, candidate, rung, last=True, tests=False)
        track.tried.append((candidate, record))
        track.study.tell(criterion([record]).score([record]) if record.status == "ok" else None)

    def _more(self, tracks: Sequence[Track]) -> int:
        """About how many trainings there will be yet."""
        share = self._share(sum(one.spent for one in tracks))
        more = 0
        for one in tracks:
            expected = one.expected(self._now(one.origin))
            afforded = 0 if expected <= 0 else max(0, int((share - one.spent) / expected))
            more += min(afforded, one.study.left)
        return max(1, more)

    def _priced(self, one: Combination, price: Price) -> None:
        self.means = replace(self.means, prices={**self.means.prices, one.key: price})

    def _settle(self, protocol: Protocol, tracks: Sequence[Track]) -> list[Setting]:
        """Put the best setting of each combination in its place; those of fusions."""
        places: dict[str, Combination] = {}
        found: dict[str, Setting] = {}
        for track in tracks:
            best = track.best(self._now(track.origin))
            if best is None:
                self._failed(track)
                continue
            one, record = best
            took, expected = record.seconds or 0.0, self._now(track.origin)
            start, epoch = self.means.prices[track.origin.key]
            dearer = took / expected if expected > 0 else 1.0
            self._priced(one.combination, Price(start * dearer, epoch * dearer))
            places[track.origin.key] = one.combination
            self._told(protocol, one, track)
            if track.origin.fusion is not None:
                found.setdefault(one.combination.key, Setting(one.combination, one.training, [record]))
        self.plan = protocol.plan = placed(self.plan, places.get)
        self._chosen = True
        self.ledger.reserved = self.confirm(self.whole)
        return list(found.values())

    def _found(self, protocol: Protocol, one: Setting) -> None:
        """Nothing more to note: how the options of a combination were chosen is told when it is settled."""

    def _failed(self, track: Track) -> None:
        """Record a fusion as failed of which all trainings have failed; a single input is tried again to confirm."""
        if track.origin.fusion is not None and track.tried[-1][1].purpose == "search":
            self.rewrite(replace(track.tried[-1][1], purpose="comparison"))

    def _told(self, protocol: Protocol, one: Candidate, track: Track) -> None:
        """Note the training of a combination, and how its options were chosen."""
        by = criterion(record for _, record in track.tried)
        each = [tried_of(record, other.training.lr, self.whole, by) for other, record in track.tried]
        seed, lr = seed_of(self.plan.base, protocol.split, "search", 0), one.training.lr
        end = end_of(lr, self.plan.rates) if self.plan.rates else None
        told = RateSearch(seed, by.metric, each, lr, self.whole, end)
        self.searched.add(one.combination.key, one.training, told)


def placed(plan: Plan, place: Callable[[str], Combination | None]) -> Plan:
    """A plan with other combinations in place of some, by key; of two that become the same there is one."""

    def each(combinations: Sequence[Combination]) -> tuple[Combination, ...]:
        found = [place(one.key) or one for one in combinations]
        return tuple({one.key: one for one in found}.values())

    return replace(plan, combinations=each(plan.combinations), baselines=each(plan.baselines))


def budget_of(
    plan: Plan,
    means: Means,
    searched: Searched,
    rewrite: Callable[[Record], Record] = lambda record: record,
    expect: Callable[[int], None] = lambda _: None,
) -> Budget:
    """The search within the budget of a plan: for options, or for combinations and rates alone; see `Budget`."""
    return (OptionSearch if plan.search_options else Budget)(plan, means, searched, rewrite, expect)
