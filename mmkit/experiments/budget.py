"""The search within a budget: the fusion that is confirmed is found in the time that the user gives.

Candidates are combinations, each with each of the learning rates. They are thinned out (`halving.py`) by their score on
validation, from rung to rung with longer trainings; what goes no further is recorded as stopped, and compared with
nothing. The rates of every single input climb the same rungs. The rungs are so chosen that there is time for
confirmation: fresh seeds of the chosen fusion, taken for the dearest, and of every single input.

Of a combination that reached the last rung the rate and the number of epochs count that are best on validation, and so
of every single input: no training is longer than those of the last rung, and a shorter one may be the best. With these
it is confirmed, so what was chosen is what is measured. While there is time, the better half of the combinations of the
last rung gets one seed more, as in a race, and the best mean is chosen.

All decisions follow from what was measured before the first training, which the folder keeps in `budget.json`, and from
the seconds in the records. So a search that was interrupted goes on as it would have gone on, and pays for what is
recorded once; the training that was cut off does not count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mmkit.experiments.halving import FACTORS, Ladder, Ledger, Price, cost, ladder, lengths, shortened, thinned
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import MOST, Attempt, Protocol, seed_of
from mmkit.experiments.search import Searched, end_of, tried_of
from mmkit.model.combination import Combination
from mmkit.records.choice import criterion
from mmkit.records.record import RateSearch, Record, Rung
from mmkit.system.files import write_json
from mmkit.system.hashing import fingerprint
from mmkit.training.optimisation import Training

FILE = "budget.json"
SCHEMA = 1
SEEDS = 5
"""Seeds of the best combinations of a search, at most."""


class Candidate(NamedTuple):
    """A combination with the options of a whole training of it."""

    combination: Combination
    training: Training


@dataclass(frozen=True)
class Means:
    """What was measured before the first training, by which a budget is spent.

    Args:
        asked: what `asked_of` gives of the plan.
        setup: seconds until the first training.
        once: seconds of what is done once for all trainings, such as features of frozen encoders.
        samples: of train.
        prices: of each combination that can be built, by key.
    """

    asked: str
    setup: float
    once: float
    samples: int
    prices: Mapping[str, Price]

    @staticmethod
    def read(folder: Path, asked: str) -> Means | None:
        """Those of a folder; None where it holds none of this plan, or they are damaged: then they are measured."""
        try:
            document = json.loads((folder / FILE).read_text("utf-8"))
            if document["schema"] != SCHEMA or document["asked"] != asked:
                return None
            prices = {key: Price(*map(float, price)) for key, price in document["prices"].items()}
            return Means(asked, float(document["setup"]), float(document["once"]), int(document["samples"]), prices)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep them in a folder.

        Raises:
            OSError: it cannot be written.
        """
        prices = {key: list(price) for key, price in self.prices.items()}
        write_json(folder / FILE, {"schema": SCHEMA, **asdict(self), "prices": prices})


def asked_of(plan: Plan) -> str:
    """A hash of what determines how long trainings take; not of the budget, which may be raised in the same folder."""
    asked = [[one.key for one in plan.all], asdict(plan.training), plan.settings.document(), str(plan.task)]
    return fingerprint([*asked, *(["options"] if plan.search_options else [])])


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
        prices = (self.means.prices[one.key] for one in self.plan.baselines if one.key in self.means.prices)
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
        expected = sum(own.sizes) * len(self.plan.baselines) * self._chooses(own)
        self._expect(protocol, expected + sum(found.sizes) * (len(candidates) > 1))
        for one in self.plan.baselines:
            self._single(protocol, one, own)
        if len(candidates) < 2:
            self._expect(protocol, 0)
            if not candidates:
                return None
            (only,) = candidates
            training = shortened(only.training, found.epochs[-1], self.whole)
            self.searched.training[only.combination.key] = training
            return only.combination
        last = self._climb(protocol, candidates[: found.sizes[0]], found)
        self._fail()
        reached = dict.fromkeys(one.combination.key for one, _ in last)
        best = [self._best_of(protocol, key) for key in reached]
        return self._finals(protocol, _ranked(best)) if best else None

    def _of_one(self, rungs: Ladder) -> Ladder:
        """The rungs of the learning rates of one single input."""
        return Ladder(thinned(max(1, len(self.plan.rates)), len(rungs.epochs), FACTORS[0]), rungs.epochs)

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
        self, protocol: Protocol, one: Candidate, rung: Rung | None, index: int = 0, *, tests: bool = True
    ) -> Record:
        """A training of the search, which is paid from the ledger; the full protocol has it read test, if it may."""
        seed = seed_of(self.plan.base, protocol.split, "search", index)
        last = rung is None or rung.number == rung.of
        tested = tests and last and self.plan.protocol == "full" and one.combination in self.plan.combinations
        training = one.training if rung is None else shortened(one.training, rung.epochs, self.whole)
        run = protocol.plan.run(one.combination, seed, training)
        record = protocol.do(Attempt(run, "search", index, tested=tested, rung=rung, kept=last))
        self.ledger.paid(self._price(one.combination, self._epochs(training)), record.seconds or 0.0)
        self.ledger.reserved -= self._once
        self._once = 0.0
        self._tried[record.id] = one, record
        return record

    def _single(self, protocol: Protocol, one: Combination, rungs: Ladder) -> None:
        """The training of a single input: the best of its rates and epochs."""
        if not self._chooses(rungs):
            self.searched.training[one.key] = shortened(self.plan.training, rungs.epochs[-1], self.whole)
            return
        rates = self.plan.rates or (self.plan.training.lr,)
        candidates = [Candidate(one, replace(self.plan.training, lr=rate)) for rate in rates]
        self.ledger.reserved -= cost([self.means.prices[one.key]] * len(candidates), rungs)
        if self._climb(protocol, candidates, rungs):
            best, _ = self._best_of(protocol, one.key)
            shorter = self._price(one, rungs.epochs[-1]) - self._price(one, self._epochs(best.training))
            self.ledger.reserved -= self.seeds * shorter

    def _best_of(self, protocol: Protocol, key: str) -> tuple[Candidate, Record]:
        """The training of a combination that is best on validation, of all of its rates and epochs; it is noted."""
        tried = [(one, record) for one, record in self._tried.values() if one.combination.key == key]
        one, record = _ranked(tried)[0]
        epochs = self.whole if record.rung is None else record.rung.epochs
        chosen = Candidate(one.combination, shortened(one.training, epochs, self.whole))
        self._found(protocol, chosen, tried)
        return chosen, self._marked(record, stopped=False)

    def _climb(
        self, protocol: Protocol, candidates: Sequence[Candidate], plan: Ladder
    ) -> list[tuple[Candidate, Record]]:
        """Do the rungs; those that are left on the last one, the best first, with their record there."""
        left = list(candidates)
        last: dict[tuple[str, float], tuple[Candidate, Record]] = {}
        for number, epochs in enumerate(plan.epochs):
            self._expect(protocol, sum([len(left), *plan.sizes[number + 1 :]]))
            now: list[tuple[Candidate, Record]] = []
            for one in left:
                if len(now) > 1 and not self.ledger.affords(self._price(one.combination, epochs)):
                    break
                now.append((one, self._attempt(protocol, one, Rung(number + 1, len(plan.epochs), epochs, self.whole))))
                last[_key(one)] = now[-1]
            left = [one for one, _ in _ranked(now)]
            if number + 1 < len(plan.epochs):
                left = left[: self._affordable(left, plan, number + 1)]
            on = [_key(one) for one in left]
            last = {key: (one, self._marked(record, stopped=key not in on)) for key, (one, record) in last.items()}
            if len(left) < min(2, len(candidates)):
                break
        return [last[_key(one)] for one in left]

    def _affordable(self, left: Sequence[Candidate], plan: Ladder, number: int) -> int:
        """How many of those that are left can go on to a rung: as planned, or fewer, where trainings took longer."""
        for count in range(min(plan.sizes[number], len(left)), 1, -1):
            sizes = [count]
            for size in plan.sizes[number + 1 :]:
                sizes.append(min(size, sizes[-1]))
            prices = [self.means.prices[one.combination.key] for one in left]
            if self.ledger.affords(cost(prices, Ladder(tuple(sizes), plan.epochs[number:]))):
                return count
        return 1

    def _finals(self, protocol: Protocol, found: Sequence[tuple[Candidate, Record]]) -> Combination | None:
        """More seeds of the best combinations, each with its best rate, while there is time; the best mean."""
        records: dict[str, list[Record]] = {}
        for one, record in found:
            attempt = protocol.of(one.combination, "search", 0, tested=bool(record.metrics))
            records[one.combination.key] = [protocol.take(attempt, record)]
        left, index = [one for one, _ in found], 1
        while len(left) > 1 and index < SEEDS:
            left = _best(left, records)[: max(2, math.ceil(len(left) / 2))]
            prices = (self._price(one.combination, self._epochs(one.training)) for one in left)
            if not self.ledger.affords(sum(prices)):
                break
            self._expect(protocol, len(left))
            for one in left:
                records[one.combination.key].append(self._attempt(protocol, one, None, index))
            left = [one for one in left if records[one.combination.key][-1].status == "ok"]
            index += 1
        good = [
            one for one in _best(left, records) if all(each.status == "ok" for each in records[one.combination.key])
        ]
        return good[0].combination if good else None

    def _found(self, protocol: Protocol, one: Candidate, tried: Sequence[tuple[Candidate, Record]]) -> None:
        """Note the training of a combination, and how its rate and epochs were chosen."""
        by = criterion(record for _, record in tried)
        each = [
            tried_of(record, other.training.lr, self.whole if record.rung is None else record.rung.epochs, by)
            for other, record in tried
        ]
        seed, lr = seed_of(self.plan.base, protocol.split, "search", 0), one.training.lr
        end = end_of(lr, self.plan.rates) if self.plan.rates else None
        told = RateSearch(seed, by.metric, each, lr, self._epochs(one.training), end)
        self.searched.add(one.combination.key, one.training, told)

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


def _ranked(found: Sequence[tuple[Candidate, Record]]) -> list[tuple[Candidate, Record]]:
    """Those that were completed, the best on validation first."""
    good = [one for one in found if one[1].status == "ok"]
    by = criterion(record for _, record in good)
    return sorted(good, key=lambda one: by.score([one[1]]), reverse=True)


def _best(left: Sequence[Candidate], records: Mapping[str, Sequence[Record]]) -> list[Candidate]:
    """The candidates, the best mean on validation first."""
    by = criterion(record for one in left for record in records[one.combination.key])
    return sorted(left, key=lambda one: by.score(records[one.combination.key]), reverse=True)
