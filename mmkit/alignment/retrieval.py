"""Retrieval: given one input of a sample, how high is its other input ranked among those of all samples?

Frozen encoders -> vectors -> (a ridge map, if the encoders share no space) -> ranks -> metrics
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mmkit.alignment.embedder import Embedder
from mmkit.alignment.ridge import RidgeMap, ridge_maps
from mmkit.contract import Samples, Split
from mmkit.data.splits import Splits, splits_of
from mmkit.errors import DataError, UsageError, one_of
from mmkit.experiments.plan import Named, kinds_of
from mmkit.features.sharing import Shared
from mmkit.metrics.ranking import AT, chance, rank_metrics, ranks
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.report.html import paragraph, table
from mmkit.report.sheets import Sheet, share
from mmkit.system.hashing import digest
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

Map = Literal["none", "ridge"]


@dataclass(frozen=True)
class AlignmentOptions:
    """Options of retrieval and of zero-shot classification.

    Args:
        split: its samples are used.
        map: "none" if both encoders share a space, else "ridge".
        seed: of the weights of encoders that have no pretrained ones.
        settings: device, precision, limit and on_error.

    Raises:
        UsageError: an option that is not allowed.
    """

    split: Split = "test"
    map: Map = "none"
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        for name, kind in (("split", Split), ("map", Map)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is one of {', '.join(get_args(kind))}; got {getattr(self, name)}")
        if self.seed < 0:
            raise UsageError(f"seed is 0 or more; got {self.seed}")

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"split": self.split, "map": self.map, "seed": self.seed, **self.settings.document()}


@dataclass(frozen=True, repr=False)
class Retrieval:
    """The result of a retrieval.

    Args:
        task: with its options.
        options: split, map, seed and settings.
        encoders: by input, in the order given.
        samples: number of samples that have both inputs, each a query and a candidate.
        left_out: number of samples that lack one of them.
        directions: metrics by direction, "image -> title".
        chance: recall at 1 of random answers, in either direction.
        strength: of the ridge map, chosen on validation; None without a map.
        unread: values that could not be read, by split.
        plugins: distributions of the components, with versions.
    """

    task: str
    options: AlignmentOptions
    encoders: dict[str, str]
    samples: int
    left_out: int
    directions: dict[str, dict[str, float | None]]
    chance: float
    strength: float | None
    unread: Mapping[Split, Sequence[str]]
    plugins: dict[str, str]

    def __repr__(self) -> str:
        recalls = ", ".join(f"{way} {share(metrics['recall@1'])}" for way, metrics in self.directions.items())
        return f"<Retrieval of {self.task}, recall at 1: {recalls}; by chance {share(self.chance)}>"

    def _repr_html_(self) -> str:
        return f"{table(self.sheet())}\n{paragraph(self.sentence())}"

    def sheet(self) -> Sheet:
        """The metrics of both directions as text."""
        titles = [*(f"R@{k}" for k in AT), "MRR", "median rank", "R@1 by chance"]
        lines = []
        for direction, metrics in self.directions.items():
            shares = [share(metrics[name]) for name in (*(f"recall@{k}" for k in AT), "mrr")]
            lines.append([direction, *shares, f"{metrics['median_rank']:g}", share(self.chance)])
        return Sheet("", [""], titles, lines)

    def sentence(self) -> str:
        """The samples that were used, and the ridge map if there is one."""
        sentence = f"{self.samples} samples of the {self.options.split} split of {self.task}"
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
    a_to_b, b_to_a = _ranks_both_ways(vectors[0], vectors[1], same)
    directions = {f"{a.name} -> {b.name}": rank_metrics(a_to_b), f"{b.name} -> {a.name}": rank_metrics(b_to_a)}
    return Retrieval(
        task=str(chosen_task),
        options=options,
        encoders={name: str(choice) for name, choice in choices.items()},
        samples=len(samples),
        left_out=len(splits(options.split)) - len(samples),
        directions=directions,
        chance=chance(same),
        strength=ridge_map.strength if ridge_map else None,
        unread=splits.unread,
        plugins={**chosen_task.plugins, **{n: v for choice in choices.values() for n, v in choice.plugins.items()}},
    )


def encoders_of(catalog: Catalog, splits: Splits, encoders: Mapping[str, Named]) -> dict[str, Choice]:
    """The chosen encoder of each input. An input may be named by its modality if no other input has that modality.

    Raises:
        UsageError: an unknown input, an ambiguous modality, or an encoder of another modality.
    """
    inputs = splits.task.inputs
    choices: dict[str, Choice] = {}
    for given, named in encoders.items():
        of_modality = [name for name, modality in inputs.items() if modality == given]
        if given not in inputs and len(of_modality) != 1:
            if of_modality:
                raise UsageError(f"{given} is the modality of several inputs, {', '.join(of_modality)}; name one input")
            raise UsageError(f"the task has no input {given}; {one_of([*inputs, *inputs.values()], given)}")
        name = given if given in inputs else of_modality[0]
        choice = catalog.choose("encoder", named)
        readable = kinds_of(catalog, inputs[name])
        if isinstance(choice.spec, EncoderSpec) and choice.spec.modality not in readable:
            raise UsageError(
                f"encoder {choice.name} reads {choice.spec.modality}, and input {name} is "
                f"{' or '.join(sorted(readable))}; choose another encoder"
            )
        choices[name] = choice
    return choices


def embedder_of(name: str, choice: Choice, splits: Splits, options: AlignmentOptions, shared: Shared) -> Embedder:
    """The embedder of an input, with its transform fitted on the training split."""
    values = splits("train").inputs[name]
    return Embedder(name, choice, values, settings=options.settings, seed=options.seed, shared=shared)


def check_widths(a: Embedder, b: Embedder, how: Map) -> None:
    """Check that the vectors of two embedders can be compared.

    Raises:
        UsageError: their widths differ, and there is no map.
    """
    if how == "none" and a.width != b.width:
        raise UsageError(
            f"vectors of {a.name} have {a.width} values and those of {b.name} {b.width}, which cannot be compared; "
            "take the two towers of one model (open-clip-image, open-clip-text), or --map ridge"
        )


def best_map(a: Embedder, b: Embedder, splits: Splits) -> RidgeMap:
    """The ridge map, fitted on train, of the strength with the best mean reciprocal rank on validation, both ways."""
    train = with_both(splits("train"), a.name, b.name)
    maps = list(ridge_maps(a(train.inputs[a.name], "train"), b(train.inputs[b.name], "train")))
    validation = with_both(splits("validation"), a.name, b.name)
    same = equal_values(validation, (a.name, b.name))
    of_a, of_b = a(validation.inputs[a.name], "validation"), b(validation.inputs[b.name], "validation")

    def score(ridge_map: RidgeMap) -> float:
        both_ways = _ranks_both_ways(ridge_map.of_a(of_a), ridge_map.of_b(of_b), same)
        return sum(rank_metrics(one_way)["mrr"] or 0 for one_way in both_ways)

    return max(maps, key=score)


def with_both(samples: Samples, a: str, b: str) -> Samples:
    """The samples that have both inputs.

    Raises:
        DataError: there are fewer than two.
    """
    kept = [i for i in range(len(samples)) if samples.inputs[a][i] is not None and samples.inputs[b][i] is not None]
    if len(kept) < 2:
        raise DataError(f"{len(kept)} samples have both inputs {a} and {b}; expected two or more")
    inputs = {name: [column[i] for i in kept] for name, column in samples.inputs.items()}
    return Samples([samples.ids[i] for i in kept], inputs, [samples.truth[i] for i in kept])


def equal_values(samples: Samples, inputs: Sequence[str]) -> Tensor:
    """[N L]: a number for each value of each of L inputs, the same for equal values."""
    columns = []
    for name in inputs:
        seen: dict[str, int] = {}
        columns.append([seen.setdefault(_plain(value), len(seen)) for value in samples.inputs[name]])
    return torch.tensor(columns).T


def _plain(value: Any) -> str:
    return " ".join(value.casefold().split()) if isinstance(value, str) else digest(value)


def _ranks_both_ways(a: Tensor, b: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    return ranks(a, b, (same, same)), ranks(b, a, (same, same))
