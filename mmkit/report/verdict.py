"""The verdict: did the fusion that was chosen on validation score above every single input?

The fusion and every single input are trained again with fresh seeds, by which nothing was chosen, and compared on test.
The margin accounts for the variance over these seeds and over the samples of the test split, or their groups, see
`statistics.py`. Where a margin cannot be had there is no verdict, and the sentence says why.

Of folds, where every row is tested once, each fold chooses by its own validation, and the scores of what the folds
chose are joined, run by run. The models of the folds share most of their training rows, so the margin is of these rows
alone.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmkit.records.folds import join
from mmkit.records.record import Record
from mmkit.records.support import Support, support
from mmkit.records.verdicts import Terms
from mmkit.report.jackknife import Array
from mmkit.report.labels import ALONE
from mmkit.report.statistics import Comparison, Finding, can_show, compare, level_of_look, not_beaten
from mmkit.report.statistics import seeds_wanted as wanted_by
from mmkit.report.summary import Row, names, tied
from mmkit.report.values import is_share, written
from mmkit.titles import title_of

OF_THESE = "This is of these rows: the training rows of the folds overlap, so the margin does not hold for other data."
SAME, SAME_SHARE = 0.02, 0.01
"""What counts as the same where nobody says it: 2 % of the best single input, and of shares 1 point."""
FEWEST = 3
"""The fewest seeds of each row by which a table says which rows cannot be told from the best."""


@dataclass(frozen=True, repr=False)
class Verdict:
    """The comparison of the chosen fusion with every single input on test.

    Args:
        fusion: that was chosen on validation.
        single: the single input that is hardest to beat; without a verdict the best on validation.
        finding: "above" every single input, "below" the best, "equal" within `same`, "unclear", or "none".
        scores: mean of the metric on test of the two, over the fresh seeds.
        difference: by how much the fusion is better than `single`, in units of the metric; negative if it is worse.
        margin: of the difference; None without a verdict.
        of_seeds: the part of the margin due to seeds.
        of_samples: the part due to samples.
        low: the gain over the best single input is at least that; None without a verdict.
        high: at most that.
        can_show: the difference that such a run finds in four of five cases, and what more seeds alone could make it.
        same: what counts as the same.
        seeds: fresh seeds of the fusion.
        samples: test samples that both have scores of.
        groups: number of groups of the test samples, by factor.
        singles: number of single inputs.
        fusions: number of fusions among which was chosen.
        folds: in how many folds the rows were tested; 0 with one test split.
        look: which look at this test split it is.
        protocol: "quick" or "full".
        widened: which class or label has so few test samples that the margin is wider by it, and how many; else empty.
        why: why there is no verdict; empty if there is one.
        runs: ids of the runs that it rests on.
    """

    fusion: Row
    single: Row
    finding: Finding
    scores: tuple[float, float]
    difference: float
    margin: float | None = None
    of_seeds: float | None = None
    of_samples: float | None = None
    low: float | None = None
    high: float | None = None
    can_show: tuple[float, float] | None = None
    same: float = SAME_SHARE
    seeds: int = 0
    samples: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    singles: int = 1
    fusions: int = 1
    folds: int = 0
    look: int = 1
    protocol: str = "quick"
    widened: str = ""
    why: str = ""
    runs: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Verdict: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.sentence())}</p>"

    def sentence(self) -> str:
        """The verdict in words: the finding, its margin, and what the run could have seen."""
        metric, fusion, single = self.fusion.metric, self.fusion.fusion, self.single.fusion
        one, other = (written(score, metric) for score in self.scores)
        on = f"On {'these rows' if self.folds else 'test'}, {fusion}"
        figures, gain = f"{title_of(metric)} {one} against {other}", self._signed(self.difference)
        if self.finding == "none":
            parts = [f"No verdict: {self.why}.", f"{on} reached {figures} of {single}, {gain}."]
        elif self.finding == "unclear":
            best = f"the best single input, {single}"
            # Of several inputs another may be the best one: a margin to the nearest alone does not make it "below".
            beyond = self.margin is not None and abs(self.difference) > self.margin
            to_best = f"; over the best input, whichever it is, {self._between}" if beyond else ""
            parts = [f"{on} cannot be told from {best}: {figures}, {gain} ({self._margin}){to_best}.", self._sight]
        else:
            better = "beats" if self.protocol == "full" else "scored above"
            result = {
                "above": f"{better} {'every' if self.singles > 1 else 'the'} single input",
                "below": "scored below the best single input",
                "equal": f"is as good as the best single input, within {self._sized(self.same)}",
            }[self.finding]
            nearest = f", the nearest of {self.singles}" if self.singles > 1 and self.finding == "above" else ""
            parts = [f"{on} {result}: {figures} of {single}{nearest}; {self._by(gain)}."]
        if self.folds:
            parts.append(f"Chosen on validation in each of {self.folds} folds.")
        elif self.fusions > 1:
            parts.append(f"Chosen among {self.fusions} fusions on validation.")
        if self.look > 1:
            parts.append(f"Look {self.look} at this test split: margin widened.")
        if self.widened and self.finding != "none":
            parts.append(f"Margin widened: {self.widened}.")
        return " ".join([*parts, *([OF_THESE] if self.folds else [])])

    def _by(self, gain: str) -> str:
        """The difference to the nearest input with its margin, and the interval of that to the best one."""
        if self.finding == "equal":
            best = "to the best input, whichever it is, " if self.singles > 1 else ""
            return f"{best}{self._between} ({self._margin})"
        if self.singles == 1:
            return f"{gain}, {self._between} ({self._margin})"
        over = "over" if self.finding == "above" else "behind"
        return f"{gain} ({self._margin}); {over} the best input, whichever it is, {self._between}"

    @property
    def _margin(self) -> str:
        """The margin and its parts."""
        assert self.margin is not None  # noqa: S101 (there is a verdict)
        metric = self.fusion.metric
        total, seeds, samples = (written(part or 0.0, metric) for part in (self.margin, self.of_seeds, self.of_samples))
        return (
            f"margin {total}: {seeds} of {self.seeds} fresh seeds, {samples} of {self.samples} samples{self._grouped}"
        )

    @property
    def _grouped(self) -> str:
        if not self.groups:
            return ""
        named = [f"{count} {'groups' if name == 'group' else f'by {name}'}" for name, count in self.groups.items()]
        return f" in {named[0]}" if list(self.groups) == ["group"] else f" in groups, {' and '.join(named)}"

    @property
    def _between(self) -> str:
        """The interval of the gain over the best single input, in words."""
        assert self.low is not None  # noqa: S101 (there is a verdict)
        assert self.high is not None  # noqa: S101
        metric = self.fusion.metric
        if self.low < 0 < self.high:
            return f"between {written(-self.low, metric)} worse and {written(self.high, metric)} better"
        ends = sorted(map(abs, (self.low, self.high)))
        return f"between {written(ends[0], metric)} and {written(ends[1], metric)}"

    @property
    def _sight(self) -> str:
        """What the run could have seen."""
        assert self.can_show is not None  # noqa: S101 (there is a verdict)
        whole, seeds = (written(value, self.fusion.metric) for value in self.can_show)
        points = " points" if is_share(self.fusion.metric) else ""
        counted = f"{self.samples} samples and {self.seeds} seeds"
        more = f"; more seeds alone, {seeds}" if seeds != whole else "; more seeds alone change nothing"
        if points and self.can_show[0] > 1:  # more than there is
            more = f"one of {seeds}{points}" if self.can_show[1] <= 1 else "neither"
            return f"{counted} can show no difference at all; more seeds alone, {more}."
        return f"{counted} can show a difference of {whole}{points}{more}."

    def _signed(self, difference: float) -> str:
        return f"{self._sized(abs(difference), always=True)} {'worse' if difference < 0 else 'better'}"

    def _sized(self, value: float, *, always: bool = False) -> str:
        metric = self.fusion.metric
        if not is_share(metric):
            return written(value, metric)
        text = written(value, metric) if always else f"{100 * value:.3g}"
        return f"{text} point{'s' * (text not in {'1', '1.0'})}"

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "fusion": self.fusion.fusion,
            "single": self.single.fusion,
            "metric": self.fusion.metric,
            "finding": self.finding,
            "scores": list(self.scores),
            "difference": self.difference,
            "margin": self.margin,
            "of_seeds": self.of_seeds,
            "of_samples": self.of_samples,
            "gain_from": self.low,
            "gain_to": self.high,
            "can_show": None if self.can_show is None else list(self.can_show),
            "same_within": self.same,
            "seeds": self.seeds,
            "samples": self.samples,
            "groups": dict(self.groups),
            "singles": self.singles,
            "fusions": self.fusions,
            "folds": self.folds,
            "look": self.look,
            "protocol": self.protocol,
            "widened": self.widened,
            "why": self.why,
            "runs": list(self.runs),
            "sentence": self.sentence(),
        }


def verdict(rows: Sequence[Row], terms: Terms | None = None) -> Verdict | None:
    """Compare the fusion that was chosen and confirmed with every single input.

    None if there is no fusion or no single input with a completed run.

    Args:
        rows: of a suite.
        terms: groups, what counts as the same, and which look it is; None is none, the default, and the first.
    """
    terms = terms or Terms()
    folds = folds_of(rows)
    fusion = chosen(rows, folds)
    singles = [row for row in rows if row.alone and (row.confirmed or (row.errors and not row.records))]
    completed = [row for row in singles if row.records]
    if fusion is None or not completed:
        return None
    metric, best = fusion.metric, (tied(completed) or completed)[0]
    known: dict[str, Any] = {
        "fusion": fusion,
        "seeds": len(fusion.records),
        "singles": len(singles),
        "fusions": sum(not row.alone and not row.yardstick for row in rows),
        "folds": folds,
        "look": terms.look,
        "protocol": terms.protocol,
        "runs": tuple(sorted(record.id for row in (fusion, *completed) for record in row.records)),
    }
    means = {id(row): row.spread(metric) for row in (fusion, *completed)}
    first, second = means[id(fusion)], means[id(best)]
    sign = 1 if fusion.higher_is_better else -1

    def none(why: str) -> Verdict | None:
        if first is None or second is None:
            values = [_defined(fusion, metric), _defined(best, metric)]
            if not all(values):
                return None
            scores = float(np.mean(values[0])), float(np.mean(values[1]))
        else:
            scores = first.mean, second.mean
        return Verdict(
            single=best, finding="none", scores=scores, difference=sign * (scores[0] - scores[1]), why=why, **known
        )

    one_seed = "one seed; --seeds 5 gives one" if len(fusion.records) == 1 else ""
    if why := _missing([fusion, *singles], metric) or one_seed or _not_there(rows, fusion, singles):
        return none(why)
    called = {id(row): name for row, name in zip(rows, names(rows), strict=True)}
    tables = _tables([fusion, *completed], terms)
    if isinstance(tables, str):
        return none(tables)
    whole, shared, labels = tables
    arrays = {called[id(row)]: sign * whole[id(row)] for row in completed}
    same = _same(terms, metric, abs(max(float(array.mean()) for array in arrays.values())))
    few = _support([fusion, *completed])
    found = compare(
        sign * whole[id(fusion)],
        arrays,
        same=same,
        searched=_searched(fusion, metric, sign),
        groups=list(labels.values()),
        unseen=few.unseen,
        level=level_of_look(terms.look),
    )
    known |= {"samples": int(shared.sum()), "groups": {name: len(np.unique(of)) for name, of in labels.items()}}
    known["widened"] = few.why
    if found.finding == "none":
        return none(_why_none(found, labels))
    nearest = found.margins[found.nearest]
    single = next(row for row in completed if called[id(row)] == found.nearest)
    low, high = found.within if found.finding == "equal" else (found.low, found.high)
    return Verdict(
        single=single,
        finding=found.finding,
        scores=(float(whole[id(fusion)].mean()), float(whole[id(single)].mean())),
        difference=nearest.difference,
        margin=nearest.total,
        of_seeds=nearest.of_seeds,
        of_samples=nearest.of_samples,
        low=low,
        high=high,
        can_show=can_show(nearest),
        same=same,
        **known,
    )


def seeds_wanted(rows: Sequence[Row], terms: Terms, most: int) -> int:
    """How many fresh seeds each confirmed row should have, blind to the difference; as many as there are if unknown."""
    fusion = chosen(rows, 0)
    singles = [row for row in rows if row.alone and row.confirmed]
    if fusion is None or not singles or len(fusion.records) < 2:
        return 0
    tables = None if _missing([fusion, *singles], fusion.metric) else _tables([fusion, *singles], terms)
    if tables is None or isinstance(tables, str):
        return len(fusion.records)
    whole, _, labels = tables
    return wanted_by(
        whole[id(fusion)],
        {str(number): whole[id(row)] for number, row in enumerate(singles)},
        searched=_searched(fusion, fusion.metric, 1),
        groups=list(labels.values()),
        unseen=_support([fusion, *singles]).unseen,
        most=most,
    )


def level_with_the_best(rows: Sequence[Row], terms: Terms | None = None) -> list[Row]:
    """The rows that cannot be told from the best on test; none where a row has fewer than three measured seeds.

    Where one is better than all others, there is none beside it either.
    """
    terms = terms or Terms()
    ours = [row for row in rows if not row.yardstick]
    if any(len(row.records) < FEWEST or not row.tested for row in ours) or len(ours) < 2:
        return []
    tables = None if _missing(ours, ours[0].metric, counted=False) else _tables(ours, terms)
    if tables is None or isinstance(tables, str):
        return []
    whole, _, labels = tables
    sign = 1 if ours[0].higher_is_better else -1
    scores = [sign * whole[id(row)] for row in ours]
    places = not_beaten(scores, groups=list(labels.values()), unseen=_support(ours).unseen)
    return [ours[place] for place in places] if len(places) > 1 else []


def folds_of(rows: Sequence[Row]) -> int:
    """In how many folds the rows of the data are tested; 0 with one test split."""
    return next((record.fold.of for row in rows for record in row.trainings if record.fold), 0)


def chosen(rows: Sequence[Row], folds: int | None = None) -> Row | None:
    """The fusion that was chosen on validation and confirmed; of folds a row that joins what each of them chose.

    Args:
        rows: of a suite.
        folds: 0 takes the runs of one test split; None is as many as the data has.
    """
    folds = folds_of(rows) if folds is None else folds
    if not folds:
        confirmed = [row for row in rows if row.confirmed and not row.alone and not row.yardstick]
        return next(iter(tied(confirmed)), None)
    of_folds: list[Row] = []
    for number in range(1, folds + 1):
        own = [
            Row(
                row.encoders,
                row.fusion,
                row.head,
                row.objectives,
                [one for one in row.trainings if one.fold and one.fold.number == number and one.phase != "search"],
            )
            for row in rows
            if not row.alone and not row.yardstick
        ]
        of_folds += tied(own)[:1]
    if len(of_folds) < folds:
        return None
    runs = [{(one.index, one.seed if one.index is None else 0): one for one in row.records} for row in of_folds]
    shared = [key for key in runs[0] if all(key in of_fold for of_fold in runs)]
    asked = max(len(of_fold) for of_fold in runs)
    counts = Counter(row.fusion for row in of_folds)
    told = (f"{name} (in {often} of {folds} folds)" for name, often in counts.most_common())
    called = next(iter(counts)) if len(counts) == 1 else " and ".join(told)
    found = [join([of_fold[key] for of_fold in runs]) for key in shared]
    errors, trained = ["a fold failed"] * (asked - len(found)), [one for row in of_folds for one in row.records]
    return Row({}, called, "", (), found, errors, trainings=trained) if found else None


def _missing(rows: Sequence[Row], metric: str, *, counted: bool = True) -> str:
    """Which runs lack a score, by which the others would be biased; empty if none does."""
    for row in rows:
        if row.errors and counted:
            every = len(row.errors) + len(row.records)
            return f"{len(row.errors)} of {every} trainings of {row.fusion} failed"
        undefined = sum(record.metrics.get(metric) is None for record in row.records)
        if undefined:
            return f"{title_of(metric)} is not defined on {undefined} of {len(row.records)} runs of {row.fusion}"
        if any(record.scores is None for record in row.records):
            return f"{title_of(metric)} has no margin over samples"
    return ""


def _not_there(rows: Sequence[Row], fusion: Row, singles: Sequence[Row]) -> str:
    """Which runs of single inputs are not there, as where a suite has not ended; empty if none is lacking."""
    inputs = dict.fromkeys(name for row in rows if not (row.alone or row.yardstick) for name in row.encoders)
    known = {row.fusion for row in singles}
    if lacking := [f"{ALONE}{name}" for name in inputs if f"{ALONE}{name}" not in known]:
        return f"no fresh seed of {' and '.join(lacking)} has ended"
    few = next((row.fusion for row in singles if len(row.records) == 1), "")
    return few and f"one seed of {few}, {len(fusion.records)} of {fusion.fusion}"


def _tables(rows: Sequence[Row], terms: Terms) -> tuple[dict[int, Array], Array, dict[str, Array]] | str:
    """The scores [S N] of each row, by its id, of the samples that all runs have a score of; which those are; groups.

    Why there are none, in words, where the runs are of other samples.
    """
    records = [record for row in rows for record in row.records]
    if any(record.data.get("test") != records[0].data.get("test") for record in records):
        return "the runs are of different test samples"
    values = {id(row): [_values(record) for record in row.records] for row in rows}
    if len({len(one) for of in values.values() for one in of}) != 1:
        return "the runs are of different test samples"
    tables = {key: np.stack(of).astype(np.float64) for key, of in values.items()}
    shared = ~np.any([np.isnan(table).any(0) for table in tables.values()], axis=0)
    if int(shared.sum()) < 2:
        return "fewer than two test samples have a score of every run"
    if any(len(labels) != len(shared) for labels in terms.groups.values()):
        return "the groups of the folder are of other samples than the runs"
    groups = {name: labels[shared] for name, labels in terms.groups.items()}
    return {key: table[:, shared] for key, table in tables.items()}, shared, groups


def _support(rows: Sequence[Row]) -> Support:
    """Which class or label has few test samples, of runs of the same ones, and what that leaves unseen."""
    return support([record for row in rows for record in row.trainings], rows[0].metric)


def _values(record: Record) -> Array:
    assert record.scores is not None  # noqa: S101 (rows without are refused before)
    return record.scores.values


def _searched(fusion: Row, metric: str, sign: int) -> list[float]:
    """The metric on test of the fusion's other seeds, where they read it, for the variance over seeds alone."""
    values = [record.metrics.get(metric) for record in fusion.searched]
    return [sign * value for value in values if value is not None]


def _same(terms: Terms, metric: str, best: float) -> float:
    if terms.same is not None:
        return terms.same / 100 if is_share(metric) else terms.same
    return SAME_SHARE if is_share(metric) else SAME * best


def _why_none(found: Comparison, labels: Mapping[str, Array]) -> str:
    if found.margins[found.nearest].of_samples is not None:
        return "nothing varies, neither over seeds nor over samples"
    counts = {name: np.unique(of, return_counts=True)[1] for name, of in labels.items()}
    effective = {name: sizes.sum() ** 2 / (sizes**2).sum() for name, sizes in counts.items()}
    name = min(effective, key=effective.__getitem__)
    size = "" if len(counts[name]) < FEWEST else f", of such sizes that they count as {effective[name]:.1f}"
    by = "" if name == "group" else f" by {name}"
    return f"the test samples are of {len(counts[name])} group{'s' * (len(counts[name]) > 1)}{by}{size}; 3 are needed"


def _defined(row: Row, metric: str) -> list[float]:
    values = (record.metrics.get(metric) for record in row.records)
    return [value for value in values if value is not None and math.isfinite(value)]
