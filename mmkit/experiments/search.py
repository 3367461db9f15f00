"""The search for a learning rate: every combination, single inputs included, gets the best of one short list.

A rate that suits fusions may be far from what suits a single input, and a comparison at one rate then compares rates.
So each combination is trained once with each rate of `train.rates`, with one seed that no confirmed run has, and the
rate that is best on validation is the rate of its runs. A search reads train and validation only. It is skipped where
the rate is given, or where the task recommends one. Where encoders are tuned after probing, a search probes alone: the
rate acts there and nowhere else, and tuning takes most of the time.

The number of epochs is not searched. But where the best epoch is among the last tenth, the chosen rate is tried once
more with twice the epochs, from the start: the rate decays along a cosine to zero, so a training cannot just go on. The
longer one is taken if it is better on validation. It is not tried where the number of epochs is given, or without a
search; there `still_improving` of a record says what the best epoch says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mmkit.data.splits import Splits
from mmkit.experiments.plan import Plan
from mmkit.experiments.run import Run
from mmkit.model.combination import Combination
from mmkit.records.choice import Criterion, criterion
from mmkit.records.record import RateSearch, Record, Tried
from mmkit.training.optimisation import Training


@dataclass(frozen=True)
class Searched:
    """The training that was chosen for each combination, by its key.

    Args:
        training: the options of its runs.
        records: what goes into the records of its runs.
    """

    training: dict[str, Training] = field(default_factory=dict)
    records: dict[str, RateSearch] = field(default_factory=dict)

    def add(self, key: str, training: Training, record: RateSearch) -> None:
        """Add what was chosen for a combination."""
        self.training[key] = training
        self.records[key] = record

    def first(self, known: Mapping[str, Record]) -> dict[str, Record]:
        """The record of the training that was best, by key."""
        best: dict[str, Record] = {}
        for key, found in self.records.items():
            ids = [one.id for one in found.tried if (one.lr, one.epochs) == (found.lr, found.epochs)]
            best.update((key, known[id_]) for id_ in ids if known[id_].status == "ok")
        return best


def rate_runs(plan: Plan, combination: Combination, seed: int) -> list[Run]:
    """A run for each rate, the lowest first; none where the rate is not searched."""
    return [plan.run(combination, seed, replace(plan.training, lr=rate)) for rate in plan.rates]


def search_runs(plan: Plan) -> tuple[int, int]:
    """The smallest and the greatest number of search runs of a plan."""
    searched = len(plan.all) * len(plan.parts)
    least = searched * len(plan.rates)
    return least, least + searched * bool(plan.rates and plan.may_extend)


def search(
    plan: Plan, combinations: Sequence[Combination], attempt: Callable[[Sequence[Run]], Sequence[Record]], seed: int
) -> dict[str, tuple[Training, RateSearch]]:
    """Choose the training of combinations on validation.

    Args:
        plan: has the rates.
        combinations: that are trained.
        attempt: the records of search runs, none of which waits for another; of failed ones, too.
        seed: of their trainings.

    Returns:
        By key the training and how it was chosen, without combinations of which no training of the search was
        completed.
    """
    runs = [run for one in combinations for run in rate_runs(plan, one, seed)]
    tried: dict[str, list[tuple[Run, Record]]] = {}
    for run, record in zip(runs, attempt(runs), strict=True):
        tried.setdefault(run.combination.key, []).append((run, record))
    by = {key: criterion(record for _, record in of) for key, of in tried.items()}
    best: dict[str, tuple[Run, Record]] = {}
    for key, of in tried.items():
        if completed := [one for one in of if one[1].status == "ok"]:
            best[key] = max(completed, key=lambda one, key=key: by[key].score([one[1]]))  # type: ignore[misc]
    rising = [run for run, record in best.values() if record.still_improving and not record.tuned]
    improving = rising if plan.may_extend else []
    longer = [replace(run, training=_twice(run.training)) for run in improving]
    for run, record in zip(longer, attempt(longer), strict=True) if longer else ():
        key = run.combination.key
        tried[key].append((run, record))
        if record.status == "ok" and by[key].score([record]) > by[key].score([best[key][1]]):
            best[key] = run, record
    return {key: (run.training, _told(plan, run.training, tried[key], by[key], seed)) for key, (run, _) in best.items()}


def _told(plan: Plan, training: Training, tried: Sequence[tuple[Run, Record]], by: Criterion, seed: int) -> RateSearch:
    """How a training was chosen."""
    return RateSearch(
        seed,
        by.metric,
        [tried_of(found, one.training.lr, one.training.epochs, by) for one, found in tried],
        training.lr,
        training.epochs,
        end_of(training.lr, plan.rates),
    )


def known_search(
    plan: Plan, combination: Combination, known: Mapping[str, Record], splits: Splits, seed: int
) -> tuple[Training, RateSearch] | None:
    """What records say that was chosen for a combination; None if a training of its search is not there."""

    def attempt(runs: Sequence[Run]) -> list[Record]:
        ids = [run.id(splits) for run in runs]
        if lacking := [id_ for id_ in ids if id_ not in known]:
            raise _NotThereError(lacking[0])
        return [known[id_] for id_ in ids]

    try:
        return search(plan, [combination], attempt, seed).get(combination.key)
    except _NotThereError:
        return None


class _NotThereError(LookupError):
    """The record of a search run has not been made."""


def _twice(training: Training) -> Training:
    return replace(training, epochs=2 * training.epochs, min_steps=2 * training.min_steps)


def tried_of(record: Record, rate: float, epochs: int, by: Criterion) -> Tried:
    """A training of a search, by its record and the metric that chooses."""
    return Tried(record.id, rate, epochs, record.validation.get(by.metric))


def end_of(rate: float, rates: Sequence[float]) -> Literal["lowest", "highest"] | None:
    """Whether a rate is the lowest or the highest of several."""
    if len(rates) == 1 or rates[0] < rate < rates[-1]:
        return None
    return "lowest" if rate == rates[0] else "highest"
