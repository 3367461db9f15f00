"""What inputs tell of the truth, in words: redundant, unique, synergistic.

The information of each input is that of a model that was trained on it alone, and the joint information that of the
fusion: bits that such models can use, see `experiments/information.py`. A fused model with inputs taken away would not
do: it has never learnt to answer without them, so what it lacks then says how it was trained, not what they tell. For
this reason there are no pairs of three and more inputs, whose models nobody trained: of these the whole is told.

With the joint information J of two inputs and A, B alone, J = R + U + V + S and A = R + U, B = R + V: redundant, unique
and synergistic parts (Williams and Beer, "Nonnegative Decomposition of Multivariate Information", 2010,
https://arxiv.org/abs/1004.2515). These are three equations with four unknowns. What scores tell is A + B - J = R - S
(the interaction information of McGill, "Multivariate Information Transmission", Psychometrika 19, 1954), so the least
decomposition is told: of redundancy and synergy one is zero, and what is found of the other is there at least. As much
as is hidden of both is missing in the unique parts.

An interval (95 %) has a part of seeds and a part of samples, each with its own t quantile, as a verdict's margin.

Axes: S seeds, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mmkit.records.record import Record
from mmkit.records.verdicts import Terms
from mmkit.report.jackknife import Array
from mmkit.report.labels import ALONE, plain
from mmkit.report.statistics import LEVEL, of_samples, of_seeds, t_quantile
from mmkit.report.summary import Row

SMALL = 0.05
"""The share of the largest information below which a part is not worth a word."""


@dataclass(frozen=True)
class Bits:
    """An amount of information.

    Args:
        value: in bits a sample.
        low: lower end of its 95 % interval; None with one seed, and where samples are of too few groups.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def there(self) -> bool:
        """Whether it is more than chance; without an interval whether it is more than nothing."""
        return self.value > 0 if self.low is None else self.low > 0

    @property
    def negative(self) -> Bits:
        """The same with its sign turned."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Bits(-self.value, low, high)

    def text(self) -> str:
        """With its interval."""
        if self.low is None or self.high is None:
            return f"{self.value:z.2f}"
        return f"{self.value:z.2f} ({self.low:z.2f} to {self.high:z.2f})"


@dataclass(frozen=True)
class Structure:
    """How the information of inputs is made up.

    Args:
        fusion: by which the joint information is measured.
        alone: information of each input.
        joint: of all of them.
        overlap: what is said more than once less what is said together alone: the sum of `alone` less `joint`.
        unique: of two inputs what each tells that the other does not; empty for more.
        seeds: of the fusion.
        samples: of test.
    """

    fusion: str
    alone: Mapping[str, Bits]
    joint: Bits
    overlap: Bits
    unique: Mapping[str, Bits]
    seeds: int
    samples: int

    @property
    def words(self) -> list[Literal["redundant", "unique", "synergistic"]]:
        """What is there, from what the most of it is."""
        parts = {"redundant": self.overlap, "synergistic": self.overlap.negative}
        sizes = {name: part.value for name, part in parts.items() if self._counts(part)}
        own = [part.value for part in self.unique.values() if self._counts(part)]
        if not self.unique and not sizes and self._counts(self.joint):
            own = [one.value for one in self.alone.values() if self._counts(one)]
        if own:
            sizes["unique"] = sum(own)
        return sorted(sizes, key=lambda name: -sizes[name])  # type: ignore[arg-type]

    def sentence(self) -> str:
        """In words, with intervals."""
        told = ", ".join(f"{plain(name)} {one.text()}" for name, one in self.alone.items())
        how = "both" if len(self.alone) == 2 else f"all {len(self.alone)}"
        known = f"Information of the inputs on test, in bits a sample: {told}, {how} by {plain(self.fusion)} "
        known += f"{self.joint.text()}."
        words = self.words
        if not words:
            return f"{known} Too little can be seen to say what is redundant, unique or synergistic."
        said = [_title(words), *(getattr(self, f"_{word}") for word in words)]
        if "redundant" not in words and "synergistic" not in words:
            said.append(
                "Redundant and synergistic parts are nothing, or as much of one as of the other: "
                f"{self.overlap.text()} is their difference."
            )
        return " ".join([known, *said])

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **asdict(self),
            "words": self.words,
            "sentence": self.sentence(),
        }

    def _counts(self, part: Bits) -> bool:
        largest = max([self.joint.value, *(one.value for one in self.alone.values())])
        return part.there and part.value >= SMALL * largest

    @property
    def _redundant(self) -> str:
        if self.joint.value <= max(one.value for one in self.alone.values()):
            return (
                f"Redundant: together they tell no more than the best alone; {self.overlap.text()} is told again. Or "
                f"{plain(self.fusion)} makes nothing of what they tell together; a better one would show it."
            )
        return f"Redundant: {self.overlap.text()} at least is told by more than one input."

    @property
    def _synergistic(self) -> str:
        return f"Synergistic: {self.overlap.negative.text()} at least is told by inputs together and by none alone."

    @property
    def _unique(self) -> str:
        if not self.unique:
            return "Unique: each input tells what no other does."
        parts = [f"{part.text()} of {plain(name)}" for name, part in self.unique.items() if self._counts(part)]
        return f"Unique: {' and '.join(parts)} {'is' if len(parts) == 1 else 'are'} told by no other input."


def _title(words: Sequence[str]) -> str:
    if len(words) == 1:
        return f"They are {words[0]}."
    return f"They are mostly {words[0]}, in part {' and '.join(words[1:])}."


def structure(found: Sequence[Row], terms: Terms | None = None) -> Structure | None:
    """The structure of the inputs of the fusion whose runs have bits; None where it or an input alone has none.

    Args:
        found: rows of a suite.
        terms: groups of test samples; None is none.
    """
    informed = [row for row in found if row.records and all(record.bits for record in row.records)]
    row = next((row for row in informed if not row.alone), None)
    if row is None:
        return None
    singles = {one.fusion.removeprefix(ALONE): one for one in informed if one.alone}
    if len(row.encoders) < 2 or any(singles.get(name) is None for name in row.encoders):
        return None
    rows = {"": row, **{name: singles[name] for name in row.encoders}}
    records = [record for one in rows.values() for record in one.records]
    if any(record.data.get("test") != records[0].data.get("test") for record in records):
        return None
    tables = _tables({name: one.records for name, one in rows.items()})
    if tables is None:
        return None
    bits, shared = tables
    labels = [of[shared] for of in (terms or Terms()).groups.values() if len(of) == len(shared)]

    def sum_of(**weights: float) -> Bits:
        return combined({name: (weight, bits[name]) for name, weight in weights.items()}, labels)

    names = list(row.encoders)
    alone = {name: sum_of(**{name: 1.0}) for name in names}
    overlap = sum_of(**{**dict.fromkeys(names, 1.0), "": -1.0})
    unique = {}
    if len(names) == 2:
        for name, other in (names, reversed(names)):
            unique[name] = sum_of(**{"": 1.0, other: -1.0}) if overlap.value > 0 else alone[name]
    return Structure(row.fusion, alone, sum_of(**{"": 1.0}), overlap, unique, len(row.records), int(shared.sum()))


def _tables(of: Mapping[str, Sequence[Record]]) -> tuple[dict[str, Array], Array] | None:
    """The bits [S N] by name, of the samples that all runs have; and which those are. None of different samples."""
    values = {name: [record.bits.values for record in records if record.bits] for name, records in of.items()}
    if len({len(one) for each in values.values() for one in each}) != 1:
        return None
    tables = {name: np.stack(each).astype(np.float64) for name, each in values.items()}
    shared = ~np.any([np.isnan(table).any(0) for table in tables.values()], axis=0)
    if int(shared.sum()) < 2:
        return None
    return {name: table[:, shared] for name, table in tables.items()}, shared


def combined(parts: Mapping[str, tuple[float, Array]], groups: Sequence[Array] = ()) -> Bits:
    """A weighted sum of means with its interval.

    Args:
        parts: a weight and [S N] values of each, of the same samples; seeds of different parts are independent.
        groups: of each factor [N] labels.
    """
    of_all = np.sum([weight * values.mean(0) for weight, values in parts.values()], axis=0)  # [N]
    value = float(of_all.mean())
    seeds = [of_seeds(weight * values) for weight, values in parts.values()]
    samples = of_samples(of_all, groups)
    if any(part is None for part in seeds) or any(part.freedom <= 0 for part in samples):
        return Bits(value, None, None)
    known = [part for part in seeds if part is not None and part.variance > 0]
    by_seeds = 0.0
    if known:
        variance = sum(part.variance for part in known)
        freedom = variance**2 / sum(part.variance**2 / part.freedom for part in known)
        by_seeds = t_quantile(1 - LEVEL / 2, freedom) ** 2 * variance
    squares = [t_quantile(1 - LEVEL / 2, one.freedom) ** 2 * one.variance if one.variance else 0.0 for one in samples]
    half = math.sqrt(by_seeds + max(sum(squares), *squares))
    return Bits(value, value - half, value + half)
