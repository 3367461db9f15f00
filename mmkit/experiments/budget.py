"""The search within a budget: the fusion that is confirmed is found in the time that the user gives.

Candidates are combinations, each with each of the learning rates. They are thinned out (`halving.py`) by their score on
validation, from rung to rung with longer trainings; what goes no further is recorded as stopped, and compared with
nothing. The rates of every single input climb the same rungs.

Of the combinations that reached the last rung, any rate and any number of epochs that was tried may be what is found:
no training is longer than those of the last rung, and a shorter one may be the best. One seed may be lucky, so the best
of these settings meet in finals (`finals.py`), and so do those of every single input. With the setting that wins a
combination is confirmed, so what was chosen is what is measured.

The rungs and the finals are so chosen that there is time for confirmation: fresh seeds of the chosen fusion, taken for
the dearest, and of every single input. Where there is more time than was expected, the finals have more rounds.

All decisions follow from what was measured before the first training, which the folder keeps in `budget.json`, and from
the seconds in the records. So a search that was interrupted goes on as it would have gone on, and pays for what is
recorded once; the training that was cut off does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mmkit.experiments.finals import Setting, play, rounds
from mmkit.experiments.halving import Ladder, Ledger, cost, ladder, lengths, shortened, thinned, with_finals
from mmkit.experiments.means import Means
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import MOST, Attempt, Protocol, seed_of
from mmkit.experiments.search import Searched, end_of, tried_of
from mmkit.model.combination import Combination
from mmkit.records.choice import criterion
from mmkit.records.record import RateSearch, Record, Rung
from mmkit.training.optimisation import Training


class Candidate(NamedTuple):
    """A combination with the options of a whole training of it."""

    combination: Combination
    training: Training


@dataclass
class Budget:
    """A search within a budget, which a protocol calls to choose its fusion.

    Args:
        plan: has the budget.
        means: by which it is spent.
        searched: gets the training that was chosen for each combination that is confirmed.
        rewrite: writes a record again, with what became known after it.
        expect: is told how many trainings are expected in all, when that changes.
    """

    plan: Plan
    means: Means
    searched: Searched
    rewrite: Callable[[Record], Record] = lambda record: record
    expect: Callable[[int], None] = lambda _: None
    ledger: Ledger = field(init=False)
    rungs: Ladder | None = field(init=False)
    """Those that the budget affords; None where it affords none."""
    _once: float = field(init=False)
    _tried: dict[str, tuple[Candidate, Record]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        assert self.plan.budget is not None  # noqa: S101 (only plans with one come here)
        self._once = self.means.once
        self.ledger = Ledger(self.plan.budget, self.means.setup, self._once)
        self.rungs = self._ladder()

    @property
    def whole(self) -> int:
        """Epochs of a whole training."""
        return self._epochs(self.plan.training)

    @property
    def seeds(self) -> int:
        """Fresh seeds for which time is set aside."""
        return MOST if self.plan.protocol == "full" and self.plan.seeds > 1 else self.plan.seeds

    def confirm(self, epochs: int) -> float:
        """Seconds that are set aside to confirm the chosen fusion and every single input, with so many epochs."""
        dearest = max((self._price(one, epochs) for one in self.combinations), default=0.0)
        return self.seeds * (dearest + sum(self._price(one, epochs) for one in self.plan.baselines))

    def singles(self, rungs: Ladder) -> float:
        """Seconds that are set aside to choose learning rates and epochs of single inputs, by the rungs of fusions."""
        prices = (self.means.prices[one.key] for one in self.alone)
        own = self._of_one(rungs)
        return sum(cost([price] * own.sizes[0], own) for price in prices) if self._chooses(own) else 0.0

    def aside(self, rungs: Ladder) -> float:
        """Seconds that are set aside beside a search."""
        return self.singles(rungs) + self.confirm(rungs.epochs[-1])

    def _ladder(self) -> Ladder | None:
        """The rungs; one candidate is not searched for, and gets as many epochs as there is time for."""
        prices = [self.means.prices[one.combination.key] for one in self.candidates]
        seconds = self.ledger.left  # what is done once is still set aside, and the first training pays for it
        if len(prices) > 1:
            return ladder(prices, self.whole, seconds, self.aside)
        alone = [Ladder((len(prices),), (epochs,)) for epochs in lengths(self.whole)]
        return max((one for one in alone if self.aside(one) <= seconds), key=lambda one: one.epochs, default=None)

    @property
    def combinations(self) -> list[Combination]:
        """The fusions that can be built."""
        return [one for one in self.plan.combinations if one.key in self.means.prices]

    @property
    def alone(self) -> list[Combination]:
        """The single inputs that can be built."""
        return [one for one in self.plan.baselines if one.key in self.means.prices]

    @property
    def candidates(self) -> list[Candidate]:
        """Those of the search: all combinations with the middle rate first, since the last ones may not be begun."""
        rates, training = self.plan.rates, self.plan.training
        if not rates:
            return [Candidate(one, training) for one in self.combinations]
        by_distance = sorted(rates, key=lambda rate: abs(rates.index(rate) - len(rates) // 2))
        return [Candidate(one, replace(training, lr=rate)) for rate in by_distance for one in self.combinations]

    def __call__(self, protocol: Protocol) -> Combination | None:
        """The fusion that is chosen; the runs of the search are done for it."""
        candidates = self.candidates
        found = self.rungs or Ladder((min(len(candidates), 2),), (1,))
        self.ledger.reserved += self.aside(found)
        own = self._of_one(found)
        expected = sum([*own.sizes, *own.finals]) * len(self.alone) * self._chooses(own)
        self._expect(protocol, expected + sum([*found.sizes, *found.finals]) * (len(candidates) > 1))
        for one in self.alone:
            self._single(protocol, one, own)
        if len(candidates) < 2:
            self._expect(protocol, 0)
            if not candidates:
                return None
            (only,) = candidates
            self._only_shortened(protocol, only, found)
            return only.combination
        last = self._climb(protocol, candidates[: found.sizes[0]], found)
        self._fail()
        settings = self._settings({one.combination.key for one in last})
        return self._finals(protocol, settings)

    def _of_one(self, rungs: Ladder) -> Ladder:
        """The rungs of the learning rates of one single input, of which about a half go on; and its finals."""
        own = Ladder(thinned(max(1, len(self.plan.rates)), len(rungs.epochs), 2, 2), rungs.epochs)
        return with_finals(own, rungs.finals)

    def _chooses(self, own: Ladder) -> bool:
        """Whether there is anything to choose for a single input."""
        return sum(own.sizes) > 1

    def passed(self, record: Record) -> None:
        """Note that a run of the confirmation has ended, for what is shown."""
        took = record.seconds or 0.0
        self.ledger.spent += took
        self.ledger.reserved = max(0.0, self.ledger.reserved - took / self.ledger.ratio)

    def _epochs(self, training: Training) -> int:
        return training.plan(self.means.samples)[0]

    def _price(self, one: Combination, epochs: int) -> float:
        return self.means.prices[one.key].seconds(epochs) if one.key in self.means.prices else 0.0

    def _attempt(
        self, protocol: Protocol, one: Candidate, rung: Rung, index: int = 0, *, last: bool, tests: bool = True
    ) -> Record:
        """A training of the search, which is paid from the ledger; the full protocol has it read test, if it may."""
        seed = seed_of(self.plan.base, protocol.split, "search", index)
        tested = tests and last and self.plan.protocol == "full" and one.combination in self.plan.combinations
        training = shortened(one.training, rung.epochs, self.whole)
        run = protocol.plan.run(one.combination, seed, training)
        record = protocol.do(Attempt(run, "search", index, tested=tested, rung=rung, kept=last))
        self.ledger.paid(self._price(one.combination, rung.epochs), record.seconds or 0.0)
        self.ledger.reserved -= self._once
        self._once = 0.0
        self._tried[record.id] = one, record
        return record

    def _single(self, protocol: Protocol, one: Combination, rungs: Ladder) -> None:
        """The training of a single input: the best of its rates and epochs."""
        if not self._chooses(rungs):
            self._only_shortened(protocol, Candidate(one, self.plan.training), rungs)
            return
        rates = self.plan.rates or (self.plan.training.lr,)
        candidates = [Candidate(one, replace(self.plan.training, lr=rate)) for rate in rates]
        self.ledger.reserved -= cost([self.means.prices[one.key]] * len(candidates), rungs)
        self._climb(protocol, candidates, rungs)
        if settings := self._settings({one.key}):
            best = self._more_seeds(protocol, settings, rungs.finals)[0]
            self._found(protocol, best)
            shorter = self._price(one, rungs.epochs[-1]) - self._price(one, self._epochs(best.training))
            self.ledger.reserved -= self.seeds * shorter

    def _only_shortened(self, protocol: Protocol, one: Candidate, rungs: Ladder) -> None:
        """Note the training of a combination of which the budget chooses the length alone."""
        training = shortened(one.training, rungs.epochs[-1], self.whole)
        seed = seed_of(self.plan.base, protocol.split, "search", 0)
        chosen = RateSearch(seed, "", [], training.lr, self._epochs(training), None)
        self.searched.add(one.combination.key, training, chosen)

    def _settings(self, keys: Collection[str]) -> list[Setting]:
        """What was tried of some combinations and completed, each with its record."""
        return [
            Setting(one.combination, shortened(one.training, record.rung.epochs, self.whole), [record])
            for one, record in self._tried.values()
            if one.combination.key in keys and record.status == "ok" and record.rung is not None
        ]

    def _climb(self, protocol: Protocol, candidates: Sequence[Candidate], plan: Ladder) -> list[Candidate]:
        """Do the rungs; those that are left on the last one."""
        left = list(candidates)
        last: dict[tuple[str, float], tuple[Candidate, Record]] = {}
        for number, epochs in enumerate(plan.epochs):
            self._expect(protocol, sum([len(left), *plan.sizes[number + 1 :], *plan.finals]))
            now: list[tuple[Candidate, Record]] = []
            for one in left:
                if len(now) > 1 and not self.ledger.affords(self._price(one.combination, epochs)):
                    break
                rung = Rung(number + 1, len(plan.epochs), epochs, self.whole)
                now.append((one, self._attempt(protocol, one, rung, last=rung.number == rung.of)))
                last[_key(one)] = now[-1]
            left = _best(now)
            if number + 1 < len(plan.epochs):
                left = left[: self._affordable(left, plan, number + 1)]
            on = [_key(one) for one in left]
            last = {key: (one, self._marked(record, stopped=key not in on)) for key, (one, record) in last.items()}
            if len(left) < min(2, len(candidates)):
                break
        return left

    def _affordable(self, left: Sequence[Candidate], plan: Ladder, number: int) -> int:
        """How many of those that are left can go on to a rung: as planned, or fewer, where trainings took longer."""
        for count in range(min(plan.sizes[number], len(left)), 1, -1):
            sizes = [count]
            for size in plan.sizes[number + 1 :]:
                sizes.append(min(size, sizes[-1]))
            prices = [self.means.prices[one.combination.key] for one in left]
            if self.ledger.affords(cost(prices, Ladder(tuple(sizes), plan.epochs[number:], plan.finals))):
                return count
        return 1

    def _more_seeds(self, protocol: Protocol, settings: Sequence[Setting], sizes: Sequence[int]) -> list[Setting]:
        """The finals of settings; the winner first."""

        def affords(several: Sequence[Setting]) -> bool:
            return self.ledger.affords(sum(self._price(one.combination, self._epochs(one.training)) for one in several))

        def train(several: Sequence[Setting], index: int) -> list[Record]:
            self._expect(protocol, len(several))
            return [self._again(protocol, one, index) for one in several]

        return play(settings, sizes, affords, train)

    def _again(self, protocol: Protocol, one: Setting, index: int) -> Record:
        """A training of a setting with one more seed."""
        candidate, record = self._tried[one.records[0].id]
        assert record.rung is not None  # noqa: S101 (trainings of a search have one)
        return self._attempt(protocol, candidate, replace(record.rung, stopped=False), index, last=True)

    def _finals(self, protocol: Protocol, settings: Sequence[Setting]) -> Combination | None:
        """The combination that wins the finals; of each, the trainings of its best setting are compared."""
        best: dict[str, Setting] = {}
        for one in self._more_seeds(protocol, settings, rounds()):
            best.setdefault(one.combination.key, one)
        for one in best.values():
            self._found(protocol, one)
            for index, record in enumerate(one.records):
                protocol.take(protocol.of(one.combination, "search", index, tested=bool(record.metrics)), record)
        return next((one.combination for one in best.values()), None)

    def _found(self, protocol: Protocol, one: Setting) -> None:
        """Note the training of a combination, and how its rate and epochs were chosen."""
        key, lr = one.combination.key, one.training.lr
        one.records = [self._marked(record, stopped=False) for record in one.records]
        tried = [(other, record) for other, record in self._tried.values() if other.combination.key == key]
        by = criterion(record for _, record in tried)
        each = [
            tried_of(record, other.training.lr, self.whole if record.rung is None else record.rung.epochs, by)
            for other, record in tried
        ]
        end = end_of(lr, self.plan.rates) if self.plan.rates else None
        seed = seed_of(self.plan.base, protocol.split, "search", 0)
        self.searched.add(key, one.training, RateSearch(seed, by.metric, each, lr, self._epochs(one.training), end))

    def _marked(self, record: Record, *, stopped: bool) -> Record:
        """A record that says whether its candidate was stopped: a larger budget may take up one that was."""
        if record.status != "ok" or record.rung is None or record.rung.stopped == stopped:
            return record
        told = self.rewrite(replace(record, rung=replace(record.rung, stopped=stopped)))
        self._tried[record.id] = self._tried[record.id][0], told
        return told

    def _fail(self) -> None:
        """Record a combination as failed where all of its trainings have failed."""
        of: dict[str, list[Record]] = {}
        for one, record in self._tried.values():
            of.setdefault(one.combination.key, []).append(record)
        for records in of.values():
            if all(record.status != "ok" for record in records) and records[-1].purpose == "search":
                self.rewrite(replace(records[-1], purpose="comparison"))

    def _expect(self, protocol: Protocol, search: int) -> None:
        """Tell how many trainings are expected: those that are done, of the search so many more, and confirmation."""
        done = sum(not one.promoted for one in protocol.done)
        self.expect(done + search + self.plan.seeds * (1 + len(self.plan.baselines)))


def _key(one: Candidate) -> tuple[str, float]:
    return one.combination.key, one.training.lr


def _best(tried: Sequence[tuple[Candidate, Record]]) -> list[Candidate]:
    """Those that were completed, the best on validation first."""
    good = [one for one in tried if one[1].status == "ok"]
    by = criterion(record for _, record in good)
    return [one for one, record in sorted(good, key=lambda one: by.score([one[1]]), reverse=True)]
