"""How long a plan will take: said before it starts, and corrected as its runs end.

A run takes its steps and its evaluations, as many as its options ask for at most: one that stops early takes less, and
twice the epochs, where a search finds them better, takes more. What is done once for all runs (values that are
transformed, features of frozen encoders, augmented copies among them) is counted once, also where the cache holds it:
to know that, all values would have to be read. Yardsticks are not counted. In the full protocol measuring what answers
hang on counts, and what predictions cost in detail, but for compiling, of which nobody knows before how long it takes.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmkit.experiments.controls import ORDERS, SHARES
from mmkit.experiments.identity import SPLITS
from mmkit.experiments.pace import Batches, Pace, once_for_all, paces
from mmkit.experiments.parts import Part
from mmkit.experiments.protocol import SoFar
from mmkit.experiments.run import Run
from mmkit.explain.shapley import EXACT
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.record import Purpose
from mmkit.system.times import in_words
from mmkit.training.optimisation import Training

BATCH = 256
"""Samples of a batch of predictions, as `predictions` takes them."""
SHORT = 10.0
"""Seconds below which nothing is said before the first run."""


@dataclass(frozen=True)
class Sizes:
    """The samples of the splits of one part of a plan.

    Args:
        train: of the training split.
        validation: of the validation split.
        test: of the test split.
        drawn: in an epoch of training, where the sampler draws more or fewer than there are; None is all of them.
    """

    train: int
    validation: int
    test: int
    drawn: int | None = None

    @property
    def epoch(self) -> int:
        """Of an epoch of training."""
        return self.train if self.drawn is None else self.drawn

    @property
    def total(self) -> int:
        """Of all splits."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class Estimate:
    """The seconds of the parts of a plan.

    Args:
        costs: measuring what combinations cost.
        once: transforming and encoding what all runs read.
        search: choosing learning rates.
        runs: the runs that are compared.
        controls: measuring what their answers hang on.
        detail: measuring what predictions of the chosen fusion cost in detail.
    """

    costs: float
    once: float
    search: float
    runs: float
    controls: float = 0.0
    detail: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self._parts().values())

    def sentence(self) -> str:
        """In words, with the parts that count."""
        parts = self._parts()
        told = ", ".join(f"{name} {in_words(part)}" for name, part in parts.items() if part >= self.total / 20)
        about = in_words(self.total)
        if self.total < SHORT:
            return f"it will take {about}"
        return f"it will take about {about}, less where training stops early ({told})"

    def document(self) -> dict[str, float]:
        """As plain values, in seconds."""
        return {"total": self.total, **self._parts()}

    def _parts(self) -> dict[str, float]:
        return {
            "costs": self.costs,
            "features": self.once,
            "search": self.search,
            "runs": self.runs,
            "controls": self.controls,
            "costs in detail": self.detail,
        }


def seconds_of_run(pace: Pace, training: Training, sizes: Sizes, purpose: Purpose) -> float:
    """The seconds of one run, if it does not stop early."""
    search = purpose == "search"

    def predicted(samples: int) -> float:
        return pace.predict.seconds(math.ceil(samples / BATCH), samples)

    def phase(options: Training, each: Batches) -> float:
        epochs, steps = options.plan(sizes.epoch)
        return epochs * (each.seconds(steps, sizes.epoch) + predicted(sizes.validation) + pace.epoch)

    seconds = pace.start + predicted(sizes.validation) + pace.metrics
    if not search:
        seconds += predicted(sizes.test) + pace.metrics
    if pace.probe is None:
        return seconds + phase(training, pace.train)
    if training.probe:
        seconds += phase(training, pace.probe)
    if not (search and training.probe):
        seconds += phase(training.tuning(divisible=True), pace.train)
    return seconds


def seconds_of_controls(pace: Pace, sizes: Sizes, inputs: int) -> float:
    """The seconds that a confirmed run of the full protocol takes beside: of bits, and of a fusion's controls.

    Args:
        pace: of its combination.
        sizes: of the splits.
        inputs: of a fusion; 1 of an input alone, which has bits only.
    """

    def predicted(samples: int) -> float:
        return pace.predict.seconds(math.ceil(samples / BATCH), samples)

    passes = 0
    if inputs > 1:
        subsets = 2**inputs - 1 if inputs <= EXACT else ORDERS * (inputs - 1) + inputs
        passes = subsets + len(SHARES) * inputs
    return (1 + passes) * predicted(sizes.test) + predicted(sizes.validation)


@dataclass
class _Left:
    """The trainings of one combination in one part that are still to be done."""

    training: Training
    searches: int
    runs: float


@dataclass
class Forecast:
    """The time that is left of a plan.

    Args:
        paces: of each combination, by key.
        sizes: of each part of the plan.
        costs: wall time that measuring costs takes.
        slowdown: the wall time of a second of the paces, as long as no run has ended.
        inputs: of each combination whose confirmed runs are measured further, by key.
        confirmed: of each part the runs of its chosen fusion that will be.
        detail: wall time that measuring predictions in detail takes.
        workers: how many runs are computed at once.
        start: wall time that starting the workers took.
    """

    paces: Mapping[str, Pace]
    sizes: list[Sizes]
    costs: float = 0.0
    slowdown: float = 1.0
    inputs: Mapping[str, int] = field(default_factory=dict)
    confirmed: dict[int, float] = field(default_factory=dict)
    detail: float = 0.0
    workers: int = 1
    start: float = 0.0
    _left: dict[tuple[int, str], _Left] = field(default_factory=dict, init=False)
    _begun: set[int] = field(default_factory=set, init=False)
    _shares: list[float] = field(default_factory=list, init=False)
    _took: dict[tuple[str, Purpose, int], list[float]] = field(default_factory=lambda: defaultdict(list), init=False)

    def add(self, part: int, key: str, training: Training, *, searches: int, runs: float) -> None:
        """Add the trainings of a combination in a part of the plan; none of one whose pace is not known."""
        if key in self.paces:
            self._left[part, key] = _Left(training, searches, runs)

    def expect(self, part: int, runs: Mapping[str, float]) -> None:
        """Set how many runs of combinations are expected in a part, by key; before a choice it is a mean."""
        for key, count in runs.items():
            if left := self._left.get((part, key)):
                left.runs = count

    def chosen(self, part: int, key: str, training: Training) -> None:
        """Note that the search for a combination has ended, and with which options."""
        if left := self._left.get((part, key)):
            left.searches, left.training = 0, training

    def ended(self, part: int, run: Run, purpose: Purpose, seconds: float | None, *, confirmed: bool = False) -> None:
        """Note that a run has ended, and how long it took; None where it failed.

        Args:
            part: of the plan.
            run: that ended.
            purpose: of its record.
            seconds: that it took.
            confirmed: whether it was measured further, as the full protocol does.
        """
        key = run.combination.key
        if confirmed and self.inputs.get(key, 1) > 1:
            self.confirmed[part] = max(0.0, self.confirmed.get(part, 0.0) - 1)
        self._begun.add(part)
        if left := self._left.get((part, key)):
            if purpose == "search":
                left.searches = max(0, left.searches - 1)
            else:
                left.runs = max(0.0, left.runs - 1)
        if seconds is not None and key in self.paces:
            plain = seconds_of_run(self.paces[key], run.training, self.sizes[part], purpose)
            further = self._further(part, key) if confirmed else 0.0
            share = seconds / (plain + further)
            self._shares.append(share)
            self._took[key, purpose, run.training.epochs].append(seconds if not further else share * plain)

    def left(self) -> float:
        """The seconds that are left, by what ended so far."""
        estimate = self.estimate()
        return estimate.total - estimate.costs

    def estimate(self) -> Estimate:
        """The seconds of all that is left."""
        search = sum(one.searches * self._each(*at, one, "search") for at, one in self._left.items())
        runs = sum(one.runs * self._each(*at, one, "comparison") for at, one in self._left.items())
        parts = {part for (part, _), one in self._left.items() if one.searches or one.runs}
        once = sum(self._once(part) for part in parts - self._begun)
        at_once, controls = self._at_once(), self._share * self._controls()
        return Estimate(
            self.costs, self.slowdown * once, search / at_once, runs / at_once, controls / at_once, self.detail
        )

    def of_workers(self) -> str:
        """What to say where several workers save no more time than they took to start; else nothing."""
        if self.workers == 1 or not self._left:
            return ""
        estimate = self.estimate()
        shared = estimate.search + estimate.runs + estimate.controls
        saved = (self._at_once() - 1) * shared
        if saved > self.start:
            return ""
        return (
            f"so small a suite is done as soon without workers: starting {self.workers} took {self.start:.0f} s, and "
            f"they save about {saved:.0f} s"
        )

    def _at_once(self) -> float:
        """How many runs are computed at once, where there are so many."""
        left = sum(one.searches + one.runs for one in self._left.values())
        return max(1.0, min(float(self.workers), left))

    @property
    def _share(self) -> float:
        """The wall time of a second of the paces."""
        return statistics.median(self._shares) if self._shares else self.slowdown

    def _further(self, part: int, key: str) -> float:
        """What measuring a confirmed run further takes, in seconds of the paces."""
        if key not in self.inputs:
            return 0.0
        return seconds_of_controls(self.paces[key], self.sizes[part], self.inputs[key])

    def _controls(self) -> float:
        """Of all that is left: inputs alone have confirmed runs only; of the fusions nobody knows yet which it is."""
        alone = sum(one.runs * self._further(*at) for at, one in self._left.items() if self.inputs.get(at[1]) == 1)
        for part, count in self.confirmed.items():
            of = [self._further(part, key) for key, inputs in self.inputs.items() if inputs > 1 and key in self.paces]
            alone += count * statistics.fmean(of) if of else 0.0
        return alone

    def _once(self, part: int) -> float:
        """The seconds of what is done once for all runs of a part."""
        keys = [key for (at, key), one in self._left.items() if at == part and (one.searches or one.runs)]
        sizes = self.sizes[part]
        return once_for_all((self.paces[key] for key in keys), sizes.train, sizes.total)

    def _each(self, part: int, key: str, left: _Left, purpose: Purpose) -> float:
        """The seconds of one run: as those of its combination took, else as expected, corrected by what all took."""
        if took := self._took.get((key, purpose, left.training.epochs)):
            return statistics.median(took)
        return self._share * seconds_of_run(self.paces[key], left.training, self.sizes[part], purpose)


def forecast_of(
    parts: Sequence[Part],
    combinations: Mapping[str, Combination],
    states: Sequence[SoFar],
    shared: Shared,
    *,
    cost: bool,
    detailed: bool = False,
    workers: int = 1,
    start: float = 0.0,
) -> Forecast:
    """The forecast of what is left of a suite; paces are measured on its first part.

    Args:
        parts: of the suite.
        combinations: with trainings that are left, by key.
        states: of the parts: how many runs are left.
        shared: what the runs share.
        cost: whether costs will be measured.
        detailed: whether those of the chosen fusion will be in detail.
        workers: how many runs are computed at once.
        start: wall time that starting the workers took.
    """
    plan, splits = parts[0].plan, parts[0].splits
    found = paces(combinations, splits, plan.training, plan.settings, shared)
    costs = found.costs if cost else 0.0
    full = plan.protocol == "full"
    inputs = {key: len(one.encoders) for key, one in combinations.items() if full and key in found.of}
    sizes = [_sizes(part, found.drawn) for part in parts]
    forecast = Forecast(found.of, sizes, costs, found.slowdown, inputs, workers=workers, start=start)
    if full and detailed:
        fusions = [found.of[key].detail(count) for key, count in inputs.items() if count > 1]
        forecast.detail = found.slowdown * statistics.fmean(fusions) if fusions else 0.0
    for number, (part, state) in enumerate(zip(parts, states, strict=True)):
        unsearched = part.unsearched
        if full and plan.combinations:
            forecast.confirmed[number] = plan.seeds - sum(one.attempt.controlled for one in state.done)
        for key in combinations:
            searches = len(plan.rates) if key in unsearched else 0
            training = part.searched.training.get(key, part.plan.training)
            forecast.add(number, key, training, searches=searches, runs=state.left.get(key, 0.0))
    return forecast


def _sizes(part: Part, drawn: float) -> Sizes:
    train, validation, test = (len(part.splits.content(name).ids) for name in SPLITS)
    limit = part.plan.settings.limit
    train = train if limit is None else min(train, limit)
    return Sizes(train, validation, test, round(drawn * train))
