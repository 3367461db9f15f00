"""What a budget affords, said before anything is trained; or that it is too small, and what it would have to be."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.errors import UsageError
from mmkit.experiments.forecast import Forecast, seconds_of_run
from mmkit.experiments.halving import Ladder, Price, cost, shortened
from mmkit.experiments.means import Means
from mmkit.experiments.option_search import FINALS, OptionSearch, budget_of
from mmkit.experiments.pace import once_for_all
from mmkit.experiments.plan import Plan
from mmkit.experiments.search import Searched
from mmkit.system.times import in_words

ROOM = 1.1
"""What a budget that is too small is told to have, above what was estimated."""
ORDINALS = ("second", "third")
"""Of the seeds of finals for which time is set aside."""


def means_of(plan: Plan, asked: str, forecast: Forecast, *, setup: float) -> Means:
    """The means of a budget, from the pace of combinations; one whose pace is not known is taken for a middling one.

    Args:
        plan: with the combinations that can be built.
        asked: `asked_of` the plan as it was asked for.
        forecast: has the paces.
        setup: seconds until the first training.
    """
    sizes, slow = forecast.sizes[0], forecast.slowdown
    whole = plan.training.plan(sizes.epoch)[0]
    prices: dict[str, Price] = {}
    for key, pace in forecast.paces.items():
        one, many = (
            slow * seconds_of_run(pace, shortened(plan.training, epochs, whole), sizes, "comparison")
            for epochs in (1, whole)
        )
        epoch = (many - one) / (whole - 1) if whole > 1 else 0.0
        prices[key] = Price(one - epoch, epoch)
    middling = Price(*(statistics.median(part) for part in zip(*prices.values(), strict=True)))
    every = {one.key: prices.get(one.key, middling) for one in plan.all}
    once = once_for_all(forecast.paces.values(), sizes.train, sizes.total)
    return Means(asked, setup, slow * once, sizes.epoch, every)


@dataclass(frozen=True)
class Outlook:
    """What a budget affords, as far as one can tell before the first training. All in seconds.

    Args:
        plan: with the combinations that can be built.
        budget: that there is.
        setup: until the first training, with what is done once.
        singles: of choosing learning rates and epochs of single inputs.
        confirm: of confirmation.
        candidates: combinations with a learning rate each.
        ladder: of the search; None where options are searched.
        cost: of the search.
        samples: of an epoch of training.
        each: of the trainings of each combination, single inputs included, where options are searched; else 0.
        trainings: that these are about, of all combinations.
    """

    plan: Plan
    budget: float
    setup: float
    singles: float
    confirm: float
    candidates: int
    ladder: Ladder | None
    cost: float
    samples: int
    each: float = 0.0
    trainings: int = 0

    def sentence(self) -> str:
        """In words."""
        parts = [f"{_said(self.setup)} to prepare"]
        if self.singles:
            parts.append(f"{_said(self.singles)} for the search of {_inputs(len(self.plan.baselines))} alone")
        parts.append(f"{_said(self.confirm)} set aside to confirm")
        told = f"of a budget of {_said(self.budget)} about {_listed(parts)}"
        if self.each:
            return (
                f"{told}; in what is left the options of {self.candidates} combinations are searched, single inputs "
                f"included, in {_said(self.each)} for each: about {self.trainings} trainings"
            )
        assert self.ladder is not None  # noqa: S101 (without `each` there is one)
        whole, last = self.plan.training.plan(self.samples)[0], self.ladder.epochs[-1]
        short = "" if last == whole else f"; a longer budget has time for trainings of {whole} epochs"
        if self.candidates < 2:
            return f"{told}, each training of {last} epoch{'s' * (last > 1)}{short}"
        rest = self.budget - self.setup - self.singles - self.confirm
        rungs = [
            f"{size} for {epochs} epoch{'s' * (epochs > 1)}"
            for size, epochs in zip(self.ladder.sizes, self.ladder.epochs, strict=True)
        ]
        rates = f" (combinations x {len(self.plan.rates)} learning rates)" if len(self.plan.rates) > 1 else ""
        finals = [
            f"the best {size} with a {each} seed" for size, each in zip(self.ladder.finals, ORDINALS, strict=False)
        ]
        told += f"; in {_said(rest)} that are left, {self.candidates} candidates{rates}: "
        told += ", then ".join([*rungs, *finals])
        out = self.candidates - self.ladder.sizes[0]
        return f"{told}{f'; {out} cannot be begun' if out else ''}{short}"

    def document(self) -> dict[str, Any]:
        """As plain values, in seconds: of rungs how many are trained for how many epochs, of finals how many again."""
        ladder = self.ladder if self.ladder and self.candidates > 1 else Ladder((), ())
        rungs = [list(one) for one in zip(ladder.sizes, ladder.epochs, strict=True)]
        parts = {"setup": self.setup, "singles": self.singles, "search": self.cost, "confirm": self.confirm}
        found = {"total": self.budget, **parts, "candidates": self.candidates, "rungs": rungs}
        found["finals"] = list(ladder.finals)
        return found | ({"each": self.each, "trainings": self.trainings} if self.each else {})


def outlook_of(plan: Plan, means: Means) -> Outlook:
    """What the budget of a plan affords.

    Raises:
        UsageError: not even confirmation, with the shortest search before it.
    """
    assert plan.budget is not None  # noqa: S101 (it is asked of plans with a budget)
    budget = budget_of(plan, means, Searched())
    if isinstance(budget, OptionSearch):
        return _of_options(budget, plan.budget)
    setup, several = means.setup + means.once, len(budget.candidates) > 1
    found = budget.rungs
    if found is None:
        rungs = Ladder((2 if several else 1,), (1,))
        prices = [means.prices[one.combination.key] for one in budget.candidates]
        least = cost(prices, rungs) if several else 0.0
        singles, confirm = budget.singles(rungs), budget.confirm(1)
        parts = [f"{_said(setup)} to prepare"]
        parts += [f"{_said(singles)} for the search of {_inputs(len(plan.baselines))} alone"] if singles else []
        parts += [f"{_said(confirm)} to confirm with {budget.seeds} seeds"]
        parts += [f"{_said(least)} to choose between two"] if least else []
        raise UsageError(
            f"--budget {_as_option(plan.budget)} is too small even for trainings of one epoch: it takes "
            f"{_listed(parts)}; give --budget {_as_option(ROOM * (setup + singles + confirm + least))} or more, or "
            "fewer --seeds or inputs"
        )
    prices = [means.prices[one.combination.key] for one in budget.candidates]
    spent = cost(prices, found) if several else 0.0
    confirm = budget.confirm(found.epochs[-1])
    return Outlook(plan, plan.budget, setup, budget.singles(found), confirm, len(prices), found, spent, means.samples)


def _of_options(search: OptionSearch, seconds: float) -> Outlook:
    """What a budget affords of a search for options.

    Raises:
        UsageError: confirmation, and one training of each combination before it.
    """
    setup = search.means.setup + search.means.once
    once = [search.means.prices[one.key].seconds(search.whole) for one in search.origins]
    least, confirm = len(once) * max(once) / (1 - FINALS), search.confirm(search.whole)
    if setup + confirm + least > seconds:
        enough = _as_option(ROOM * (setup + confirm + least))
        raise UsageError(
            f"--budget {_as_option(seconds)} is too small: it takes {_said(setup)} to prepare, {_said(confirm)} "
            f"to confirm with {search.seeds} seeds options that may be dearer, and {_said(least)} to train each of "
            f"{len(once)} combinations and more seeds of the best; give --budget {enough} or more, or fewer --seeds, "
            "--epochs or inputs, or leave out --search-options"
        )
    each = search.each
    trainings = sum(max(1, int(each / one)) for one in once)
    spent, samples = each * len(once), search.means.samples
    return Outlook(search.plan, seconds, setup, 0.0, confirm, len(once), None, spent, samples, each, trainings)


def _said(seconds: float) -> str:
    """A time in words, of short ones the seconds."""
    return f"{math.ceil(seconds)} s" if seconds < 10 else in_words(seconds)


def _inputs(count: int) -> str:
    return f"{count} input{'s' * (count != 1)}"


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _as_option(seconds: float) -> str:
    """A time as the option takes it, rounded up."""
    return f"{math.ceil(seconds)}s" if seconds < 120 else f"{math.ceil(seconds / 60)}m"
