"""Retrieval: given one input of a sample, is its other input found among those of all samples?

Frozen encoders -> vectors -> (a ridge map, where the encoders share no space) -> ranks -> figures
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
from mmkit.metrics.retrieval import AT, chance, figures, ranks
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
    """What holds for a whole question.

    Args:
        split: whose samples.
        map: "none" where both encoders share a space, else "ridge".
        seed: of encoders without pretrained weights.
        settings: device, precision, limit and on_error.

    Raises:
        UsageError: a setting that is not possible.
    """

    split: Split = "test"
    map: Map = "none"
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        for name, kind in (("split", Split), ("map", Map)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is {', '.join(get_args(kind))}; got {getattr(self, name)}")
        if self.seed < 0:
            raise UsageError(f"seed is 0 or more; got {self.seed}")

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"split": self.split, "map": self.map, "seed": self.seed, **self.settings.document()}


@dataclass(frozen=True, repr=False)
class Retrieval:
    """What was found.

    Args:
        task: with its options.
        asked: the settings.
        encoders: by input, in the order of the question.
        samples: that have both inputs, each a query and a candidate.
        left_out: samples that lack one of them.
        directions: figures by direction, "image -> title".
        chance: recall at 1 of answers drawn blindly, either way.
        strength: of the ridge map, chosen on validation; None without one.
        unread: values that could not be read and count as missing, by split.
        plugins: distributions of the components, with versions.
    """

    task: str
    asked: AlignmentOptions
    encoders: dict[str, str]
    samples: int
    left_out: int
    directions: dict[str, dict[str, float | None]]
    chance: float
    strength: float | None
    unread: dict[Split, list[str]]
    plugins: dict[str, str]

    def __repr__(self) -> str:
        found = ", ".join(f"{way} {share(figures['recall@1'])}" for way, figures in self.directions.items())
        return f"<Retrieval of {self.task}, recall at 1: {found}; by chance {share(self.chance)}>"

    def _repr_html_(self) -> str:
        return f"{table(self.sheet())}\n{paragraph(self.sentence())}"

    def sheet(self) -> Sheet:
        """The figures of both directions as text."""
        titles = [*(f"R@{k}" for k in AT), "MRR", "median rank", "R@1 by chance"]
        lines = []
        for direction, found in self.directions.items():
            shares = [share(found[name]) for name in (*(f"recall@{k}" for k in AT), "mrr")]
            lines.append([direction, *shares, f"{found['median_rank']:g}", share(self.chance)])
        return Sheet("", [""], titles, lines)

    def sentence(self) -> str:
        """Of which samples, and how they were brought together."""
        told = f"{self.samples} samples of the {self.asked.split} split of {self.task}"
        if self.left_out:
            told += f"; {self.left_out} lack an input"
        if self.strength is not None:
            told += f"; ridge map fitted on train, strength {self.strength:g} chosen on validation"
        return f"{told}."

    def document(self) -> dict[str, Any]:
        """As plain JSON values, with machine and software."""
        return {
            "schema": 1,
            **asdict(self),
            "asked": self.asked.document(),
            "machine": machine(),
            "software": software(),
        }


def measure_retrieval(
    catalog: Catalog,
    *,
    task: Named,
    encoders: Mapping[str, Named],
    asked: AlignmentOptions,
    shared: Shared | None = None,
) -> Retrieval:
    """Find each input by the other, both ways.

    Two samples are the same answer where their values of either input are the same; of texts, but for case and blanks.
    A ridge map is fitted on train, from the first encoder's vectors to the second's; its strength is the one that
    retrieves best on validation.

    Raises:
        UsageError: not two inputs, an unknown one, an encoder that is not frozen, or vectors of two widths without
            a map.
        DataError: values cannot be read, or too few samples have both inputs.
    """
    shared = shared or Shared()
    chosen = catalog.choose("task", task)
    splits = splits_of(chosen, catalog, asked.settings)
    choices = encoders_of(catalog, splits, encoders)
    if len(choices) != 2:
        raise UsageError(f"retrieval pairs two inputs; got encoders of {', '.join(choices) or 'none'}")
    a, b = (embedder_of(name, choice, splits, asked, shared) for name, choice in choices.items())
    check_widths(a, b, asked.map)
    mapped = best_map(a, b, splits) if asked.map == "ridge" else None
    found = with_both(splits(asked.split), a.name, b.name)
    same = sames(found, (a.name, b.name))
    vectors = [each(found.inputs[each.name], asked.split) for each in (a, b)]
    if mapped:
        vectors = [mapped.of_a(vectors[0]), mapped.of_b(vectors[1])]
    there, back = _both_ways(vectors[0], vectors[1], same)
    directions = {f"{a.name} -> {b.name}": figures(there), f"{b.name} -> {a.name}": figures(back)}
    return Retrieval(
        task=str(chosen),
        asked=asked,
        encoders={name: str(choice) for name, choice in choices.items()},
        samples=len(found),
        left_out=len(splits(asked.split)) - len(found),
        directions=directions,
        chance=chance(same),
        strength=mapped.strength if mapped else None,
        unread=splits.unread,
        plugins={**chosen.plugins, **{n: v for choice in choices.values() for n, v in choice.plugins.items()}},
    )


def encoders_of(catalog: Catalog, splits: Splits, encoders: Mapping[str, Named]) -> dict[str, Choice]:
    """The chosen encoder of each input, which may be named by its modality where that is of one input alone.

    Raises:
        UsageError: an unknown input, an ambiguous modality, or an encoder of another modality.
    """
    inputs = splits.task.inputs
    found: dict[str, Choice] = {}
    for given, named in encoders.items():
        of_modality = [name for name, modality in inputs.items() if modality == given]
        if given not in inputs and len(of_modality) != 1:
            if of_modality:
                raise UsageError(f"{given} is the modality of {', '.join(of_modality)}; name one input")
            raise UsageError(f"the task has no input {given}; {one_of([*inputs, *inputs.values()], given)}")
        name = given if given in inputs else of_modality[0]
        choice = catalog.choose("encoder", named)
        read = kinds_of(catalog, inputs[name])
        if isinstance(choice.spec, EncoderSpec) and choice.spec.modality not in read:
            raise UsageError(
                f"encoder {choice.name} reads {choice.spec.modality}, and input {name} is {' or '.join(sorted(read))}"
            )
        found[name] = choice
    return found


def embedder_of(name: str, choice: Choice, splits: Splits, asked: AlignmentOptions, shared: Shared) -> Embedder:
    """The encoder of an input, its transform fitted on the training split."""
    values = splits("train").inputs[name]
    return Embedder(name, choice, values, settings=asked.settings, seed=asked.seed, shared=shared)


def check_widths(a: Embedder, b: Embedder, how: Map) -> None:
    """Raise where vectors cannot be compared.

    Raises:
        UsageError: they have two widths, and no map is asked for.
    """
    if how == "none" and a.width != b.width:
        raise UsageError(
            f"vectors of {a.name} have {a.width} values and those of {b.name} {b.width}, which cannot be compared; "
            "take the two towers of one model (open-clip-image, open-clip-text), or --map ridge"
        )


def best_map(a: Embedder, b: Embedder, splits: Splits) -> RidgeMap:
    """The ridge map fitted on train whose strength retrieves best on validation, by mean reciprocal rank both ways."""
    train = with_both(splits("train"), a.name, b.name)
    maps = list(ridge_maps(a(train.inputs[a.name], "train"), b(train.inputs[b.name], "train")))
    held = with_both(splits("validation"), a.name, b.name)
    same = sames(held, (a.name, b.name))
    one, other = a(held.inputs[a.name], "validation"), b(held.inputs[b.name], "validation")

    def worth(mapped: RidgeMap) -> float:
        return sum(figures(places)["mrr"] or 0 for places in _both_ways(mapped.of_a(one), mapped.of_b(other), same))

    return max(maps, key=worth)


def with_both(samples: Samples, a: str, b: str) -> Samples:
    """The samples that have both inputs.

    Raises:
        DataError: there are fewer than two.
    """
    kept = [i for i in range(len(samples)) if samples.inputs[a][i] is not None and samples.inputs[b][i] is not None]
    if len(kept) < 2:
        raise DataError(f"{len(kept)} samples have both {a} and {b}; expected two or more")
    inputs = {name: [column[i] for i in kept] for name, column in samples.inputs.items()}
    return Samples([samples.ids[i] for i in kept], inputs, [samples.truth[i] for i in kept])


def sames(samples: Samples, inputs: Sequence[str]) -> Tensor:
    """[N L]: equal numbers where the values of an input are the same."""
    columns = []
    for name in inputs:
        seen: dict[str, int] = {}
        columns.append([seen.setdefault(_plain(value), len(seen)) for value in samples.inputs[name]])
    return torch.tensor(columns).T


def _plain(value: Any) -> str:
    return " ".join(value.casefold().split()) if isinstance(value, str) else digest(value)


def _both_ways(a: Tensor, b: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    return ranks(a, b, (same, same)), ranks(b, a, (same, same))
