"""The parts of a suite: one, or a fold each. A part is trained and chosen for itself, in the folder of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmkit.data.splits import Splits, splits_of
from mmkit.errors import UsageError
from mmkit.experiments.identity import check_belongs, check_identity, data_of, fold_of
from mmkit.experiments.means import Means, asked_of
from mmkit.experiments.option_search import budget_of
from mmkit.experiments.plan import Plan
from mmkit.experiments.protocol import MOST, Done, SoFar, seed_of, so_far, split_of
from mmkit.experiments.run import Run, surroundings
from mmkit.experiments.search import Searched, known_search
from mmkit.records.record import Record
from mmkit.records.verdicts import Terms
from mmkit.registry.catalog import Catalog
from mmkit.report.summary import rows
from mmkit.report.verdict import seeds_wanted

COMPARED = ("machine", "software", "plugins", "libraries")


@dataclass(frozen=True)
class Part:
    """A part of a suite that is trained and chosen for itself: all of it, or one fold.

    Args:
        plan: of the part.
        splits: of its task.
        searched: what was chosen for its combinations.
        means: by which a budget is spent; None without one, or where they are not measured yet.
    """

    plan: Plan
    splits: Splits
    searched: Searched
    means: Means | None = None

    @staticmethod
    def of(plan: Plan, catalog: Catalog, known: Mapping[str, Record], folder: Path, *, mix: bool) -> Part:
        """A part with what the folder holds of it.

        Raises:
            UsageError: the records of the folder may not be continued.
        """
        splits = splits_of(plan.task, catalog, plan.settings)
        _check_folder(plan, known, splits, folder, mix=mix)
        if plan.budget is not None:
            return Part(plan, splits, Searched(), Means.read(folder, asked_of(plan, data_of(splits))))
        return Part(plan, splits, _known_searches(plan, known, splits))

    @property
    def unsearched(self) -> set[str]:
        """The keys of combinations whose learning rate is still to be chosen."""
        if not self.plan.rates or self.plan.budget is not None:
            return set()
        return {one.key for one in self.plan.all if one.key not in self.searched.training}

    def state(self, known: Mapping[str, Record], terms: Terms) -> SoFar:
        """What records say of the runs of the part."""
        searched = self.searched
        wanted = partial(seeds_of_all, self, terms)
        if self.plan.budget is None:
            return so_far(self.plan, self.splits, known, searched.training, searched.first(known), wanted)
        if self.means is None:
            return SoFar([], dict.fromkeys((one.key for one in self.plan.all), 1.0), complete=False)
        budget = budget_of(self.plan, self.means, searched)
        found = so_far(self.plan, self.splits, known, searched.training, {}, wanted, budget)
        if found.complete:
            return found
        return found._replace(left={one.key: 1.0 for one in self.plan.all if one.key in self.means.prices})


def seeds_of_all(part: Part, terms: Terms, done: Sequence[Done]) -> int:
    """How many fresh seeds the chosen fusion and the single inputs should have; folds get no more than they have."""
    if fold_of(part.splits.task):
        return 0
    return seeds_wanted(rows([one.record for one in done]), terms, MOST)


def _check_folder(plan: Plan, known: Mapping[str, Record], splits: Splits, folder: Path, *, mix: bool) -> None:
    """Check that the records of a folder may be continued.

    Raises:
        UsageError: they are of another task; or, without `mix`, of another machine, other versions, data or code.
    """
    check_belongs(known, plan.task, splits.task, folder)
    if not mix:
        for record in known.values():
            _check_surroundings(record, plan.runs()[0], folder)
        check_identity(known.values(), plan.runs(), splits, folder)


def _known_searches(plan: Plan, known: Mapping[str, Record], splits: Splits) -> Searched:
    """The searches for a learning rate that the folder holds."""
    searched = Searched()
    seed = seed_of(plan.base, split_of(splits), "search", 0)
    for combination in plan.all if plan.rates else ():
        found = known_search(plan, combination, known, splits, seed)
        if found:
            searched.add(combination.key, *found)
    return searched


def _check_surroundings(known: Record, run: Run, folder: Path) -> None:
    """Check that the environment is that of an existing record.

    Raises:
        UsageError: it differs.
    """
    current = surroundings(run)
    for part in COMPARED:
        then, now = getattr(known, part), current[part]
        for name in then.keys() & now.keys():
            if then[name] != now[name]:
                raise UsageError(
                    f"{folder} holds records with {part} {name} {then[name]}, and now it is {now[name]}; "
                    "choose another --out, or --mix to continue in this one"
                )
