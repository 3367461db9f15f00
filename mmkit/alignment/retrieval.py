"""Retrieval: given one input of a sample, how high is its other input ranked among those of all samples?

Frozen encoders -> vectors -> (a ridge map, if the encoders share no space) -> ranks -> metrics
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmkit.alignment.embedder import embedder_of, encoders_of
from mmkit.alignment.mapping import best_map, check_widths
from mmkit.alignment.options import AlignmentOptions
from mmkit.alignment.pairs import equal_values, queries_of, ranks_both_ways, with_both
from mmkit.contract import Split
from mmkit.data.splits import splits_of
from mmkit.errors import UsageError
from mmkit.experiments.plan import Named
from mmkit.features.sharing import Shared
from mmkit.metrics.intervals import intervals
from mmkit.metrics.ranking import AT, Ranked, chance, rank_metrics
from mmkit.registry.catalog import Catalog
from mmkit.report.html import paragraph, table
from mmkit.report.sheet import Sheet, between, independent, share
from mmkit.system.machine import machine, software
from mmkit.system.state import own_state


@dataclass(frozen=True, repr=False)
class Retrieval:
    """The result of a retrieval.

    Args:
        task: with its options.
        options: split, map, seed and settings.
        encoders: by input, in the order given.
        samples: number of samples that have both inputs, each a candidate.
        queries: how many of them are also queries: all, or 10,000 that are drawn with seed 0.
        left_out: number of samples that lack one of them.
        directions: metrics by direction, "image -> title".
        intervals: of them, 95 %, over queries or the groups that these are in; candidates stay as they are.
        chance: recall at 1 of random answers, in either direction.
        strength: of the ridge map, chosen on validation; None without a map.
        unread: values that could not be read, by split.
        plugins: distributions of the components, with versions.
        intervals_over: the factors whose groups were drawn for them; empty where queries were.
    """

    task: str
    options: AlignmentOptions
    encoders: dict[str, str]
    samples: int
    queries: int
    left_out: int
    directions: dict[str, dict[str, float | None]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    chance: float
    strength: float | None
    unread: Mapping[Split, Sequence[str]]
    plugins: dict[str, str]
    intervals_over: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        recalls = ", ".join(f"{way} {share(metrics['recall@1'])}" for way, metrics in self.directions.items())
        return f"<Retrieval of {self.task}, recall at 1: {recalls}; by chance {share(self.chance)}>"

    def _repr_html_(self) -> str:
        return f"{table(self.sheet())}\n{paragraph(self.sentence())}"

    def sheet(self) -> Sheet:
        """The metrics of both directions as text."""
        first, *others = (f"R@{k}" for k in AT)
        titles = [f"{first} [95 %]", *others, "MRR", "median rank", "R@1 by chance"]
        lines = []
        for direction, metrics in self.directions.items():
            first, *others = (share(metrics[name]) for name in (*(f"recall@{k}" for k in AT), "mrr"))
            first += between(self.intervals.get(direction, {}).get("recall@1"))
            lines.append([direction, first, *others, f"{metrics['median_rank']:g}", share(self.chance)])
        return Sheet("", [""], titles, lines)

    def sentence(self) -> str:
        """The samples that were used, what the intervals are over, and the ridge map if there is one."""
        sentence = f"{self.samples} samples of the {self.options.split} split of {self.task}"
        if any(self.intervals.values()):
            drawn = independent(self.intervals_over, "queries")
            sentence += f"; the interval is over {drawn}, among these candidates"
        if self.queries < self.samples:
            sentence += f", {self.queries:,} of them, drawn with seed 0, are queries"
        if self.left_out:
            sentence += f"; {self.left_out} lack an input"
        if self.strength is not None:
            sentence += f"; ridge map fitted on train, strength {self.strength:g} chosen on validation"
        return f"{sentence}."

    def document(self) -> dict[str, Any]:
        """As plain JSON values, with machine and software."""
        return {
            "schema": 1,
            **asdict(self),
            "options": self.options.document(),
            "machine": machine(),
            "software": software(),
        }


@own_state(seed=0)
def measure_retrieval(
    catalog: Catalog,
    *,
    task: Named,
    encoders: Mapping[str, Named],
    options: AlignmentOptions,
    shared: Shared | None = None,
) -> Retrieval:
    """Retrieve each of two inputs by the other.

    Samples that have an equal value in either input are all right answers to each other; equal texts may differ in case
    and spaces. A ridge map is fitted on train, from the first encoder's vectors to the second's; its strength is the
    one with the best mean reciprocal rank on validation.

    Raises:
        UsageError: other than two inputs, an unknown input, an encoder that is not frozen, or vectors of different
            widths without a map.
        DataError: values cannot be read, or too few samples have both inputs.
    """
    shared = shared or Shared()
    chosen_task = catalog.choose("task", task)
    splits = splits_of(chosen_task, catalog, options.settings)
    choices = encoders_of(catalog, splits, encoders)
    if len(choices) != 2:
        raise UsageError(f"retrieval takes encoders of two inputs; got those of {', '.join(choices) or 'none'}")
    a, b = (embedder_of(name, choice, splits, options, shared) for name, choice in choices.items())
    check_widths(a, b, options.map)
    ridge_map = best_map(a, b, splits) if options.map == "ridge" else None
    samples = with_both(splits(options.split), a.name, b.name)
    same = equal_values(samples, (a.name, b.name))
    vectors = [embedder(samples.inputs[embedder.name], options.split) for embedder in (a, b)]
    if ridge_map:
        vectors = [ridge_map.of_a(vectors[0]), ridge_map.of_b(vectors[1])]
    a_to_b, b_to_a = ranks_both_ways(vectors[0], vectors[1], same)
    ranks = {f"{a.name} -> {b.name}": a_to_b, f"{b.name} -> {a.name}": b_to_a}
    queries = queries_of(len(samples))
    groups = [[labels[place] for place in queries.tolist()] for labels in samples.factors.values()]
    return Retrieval(
        task=str(chosen_task),
        options=options,
        encoders={name: str(choice) for name, choice in choices.items()},
        samples=len(samples),
        queries=len(queries),
        left_out=len(splits(options.split)) - len(samples),
        directions={way: rank_metrics(found) for way, found in ranks.items()},
        intervals={way: intervals(Ranked(found), groups) for way, found in ranks.items()},
        chance=chance(same, queries),
        strength=ridge_map.strength if ridge_map else None,
        unread=splits.unread,
        plugins={**chosen_task.plugins, **{n: v for choice in choices.values() for n, v in choice.plugins.items()}},
        intervals_over=list(samples.factors),
    )
