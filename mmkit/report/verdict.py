"""The verdict: did the best fusion score above the best single input?

Both are chosen on validation and compared on test. The margin is twice the standard error of their difference. It
accounts for the variance over seeds (paired by seed) and, if the metric is a mean over samples, over the samples of the
test split (paired by sample).

Of folds, where every row is tested once, each fold chooses by its own validation, and the scores of what the folds
chose are joined. The models of the folds share most of their training rows, so the margin is of these rows alone.
"""

from __future__ import annotations

import html
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmkit.records.folds import join
from mmkit.records.record import Record
from mmkit.report.summary import Row, names, tied
from mmkit.titles import title_of

_OF_THESE = "This is of these rows: the training rows of the folds overlap, so the margin does not hold for other data."
SHARES = ("accuracy", "f1", "precision", "recall", "auroc", "match", "bleu", "rouge")


@dataclass(frozen=True, repr=False)
class Verdict:
    """The comparison of the best fusion with the best single input on test.

    Args:
        fusion: the best fusion on validation.
        single: the best single input on validation.
        scores: mean of the metric on test of the fusion and of the single input, over the seeds that count.
        difference: by how much the fusion is better, in units of the metric; negative if it is worse.
        margin: twice the standard error of the difference; None with one seed.
        seeds: number of seeds that count: both runs ended, and the metric is defined on both.
        asked: number of seeds of either.
        samples: number of test samples that the margin accounts for; 0 if the metric is no mean over samples.
        level: names of rows that were level on validation with the one that was chosen, the fusion or the single input.
        folds: in how many folds the rows were tested; 0 with one test split.
    """

    fusion: Row
    single: Row
    scores: tuple[float, float]
    difference: float
    margin: float | None
    seeds: int
    asked: int
    samples: int
    level: tuple[str, ...] = ()
    folds: int = 0

    def __repr__(self) -> str:
        return f"<Verdict: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.sentence())}</p>"

    @property
    def finding(self) -> str:
        """The result: "above" or "below"; "unclear" if the difference is within the margin, "none" without a margin."""
        if self.margin is None:
            return "none"
        if abs(self.difference) <= self.margin:
            return "unclear"
        return "above" if self.difference > 0 else "below"

    def sentence(self) -> str:
        """The verdict in one sentence."""
        metric = self.fusion.metric
        scores = [written(score, metric) for score in self.scores]
        size = written(abs(self.difference), metric)
        points = " points" if is_share(metric) else ""
        difference = f"{size}{points} {'worse' if self.difference < 0 else 'better'}"
        figures = f"{title_of(metric)} {scores[0]} against {scores[1]}, {difference}"
        level = (
            f", where {' and '.join(self.level)} {'was' if len(self.level) == 1 else 'were'} level"
            if self.level
            else ""
        )
        chosen = f"both chosen on validation{f' in each of {self.folds} folds' if self.folds else ''}{level}"
        where = "these rows" if self.folds else "test"
        if self.margin is None:
            why = "--seeds 3 does" if self.asked == 1 else f"and of {self.asked} only one counts"
            return (
                f"One seed gives no verdict, {why}: on {where}, {self.fusion.fusion} and the best single input, "
                f"{self.single.fusion}, reached {figures} ({self._over}; {chosen})."
            )
        result = {
            "above": "scored above the best single input",
            "below": "scored below the best single input",
            "unclear": "cannot be distinguished from the best single input",
        }[self.finding]
        margin = f"margin {written(self.margin, metric)}, over {self._over}"
        said = f"On {where}, {self.fusion.fusion} {result}, {self.single.fusion}: {figures} ({margin}; {chosen})."
        return f"{said} {_OF_THESE}" if self.folds else said

    @property
    def _over(self) -> str:
        """Seeds and samples that the margin accounts for, in words."""
        some = f" of {self.asked}" if self.asked > self.seeds else ""
        samples = f" and {self.samples} samples" if self.samples else ""
        return f"{self.seeds}{some} seed{'s' * (self.asked > 1)}{samples}"

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "fusion": self.fusion.fusion,
            "single": self.single.fusion,
            "metric": self.fusion.metric,
            "difference": self.difference,
            "margin": self.margin,
            "seeds": self.seeds,
            "asked": self.asked,
            "samples": self.samples,
            "level": list(self.level),
            "folds": self.folds,
            "finding": self.finding,
            "sentence": self.sentence(),
        }


def verdict(rows: Sequence[Row]) -> Verdict | None:
    """Compare the best fusion with the best single input, over the seeds that both have.

    None if there is no fusion or no single input, or no seed with a score of both.
    """
    count = next((record.fold.of for row in rows for record in row.trainings if record.fold), 0)
    fusions, singles = (_chosen(rows, count, alone=alone) for alone in (False, True))
    if not fusions or not singles:
        return None
    fusion, single = fusions[0], singles[0]
    metric, sign = fusion.metric, 1 if fusion.higher_is_better else -1
    of_fusion = {record.seed: record for record in fusion.records}
    pairs = [
        (of_fusion[record.seed], record)
        for record in single.records
        if record.seed in of_fusion
        and record.metrics.get(metric) is not None
        and of_fusion[record.seed].metrics.get(metric) is not None
    ]
    if not pairs:
        return None
    scores = [(_score(a, metric), _score(b, metric)) for a, b in pairs]
    differences = [sign * (a - b) for a, b in scores]
    by_sample = _by_sample(pairs)
    margin = None
    if len(differences) > 1:
        variance = statistics.variance(differences) / len(differences)
        if len(by_sample) > 1:
            variance += statistics.variance(by_sample) / len(by_sample)
        margin = 2 * math.sqrt(variance)
    means = statistics.fmean(a for a, _ in scores), statistics.fmean(b for _, b in scores)
    asked = max(len(row.records) + len(row.errors) for row in (fusion, single))
    called = {id(row): name for row, name in zip(rows, names(rows), strict=True)}
    level = tuple(called[id(row)] for row in (*fusions[1:], *singles[1:]))  # none of folds, whose rows are made here
    difference, seeds = statistics.fmean(differences), len(differences)
    return Verdict(fusion, single, means, difference, margin, seeds, asked, len(by_sample), level, count)


def _chosen(rows: Sequence[Row], folds: int, *, alone: bool) -> list[Row]:
    """The rows that are best on validation, the fusions or the single inputs; of folds one that joins what they chose.

    None where there is none, or a fold has none.
    """
    if not folds:
        return tied(rows, alone=alone)
    best: list[Row] = []
    for number in range(1, folds + 1):
        of_fold = [
            replace(row, records=[one for one in row.trainings if one.fold and one.fold.number == number])
            for row in rows
        ]
        best += tied(of_fold, alone=alone)[:1]
    if len(best) < folds:
        return []
    by_seed = [{record.seed: record for record in row.records} for row in best]
    seeds = [seed for seed in by_seed[0] if all(seed in of_fold for of_fold in by_seed)]
    counts = Counter(row.fusion for row in best)
    told = (f"{name} (in {often} of {folds} folds)" for name, often in counts.most_common())
    called = next(iter(counts)) if len(counts) == 1 else " and ".join(told)
    found = [join([of_fold[seed] for of_fold in by_seed]) for seed in seeds]
    asked = max(len(row.records) + len(row.errors) for row in rows if row.alone == alone)
    left = ["a fold failed"] * (asked - len(found))
    return [Row({}, called, "", (), found, left)] if found else []


def _score(record: Record, metric: str) -> float:
    score = record.metrics[metric]
    assert score is not None  # noqa: S101 (such pairs are left out)
    return score


def _by_sample(pairs: Sequence[tuple[Record, Record]]) -> list[float]:
    """The difference of each test sample that all records have a score of, averaged over seeds.

    Empty where the metric is no mean over samples, or the records are of different test splits.
    """
    scores = [(a.scores.values, b.scores.values) for a, b in pairs if a.scores and b.scores]
    splits = [record.data.get("test") for pair in pairs for record in pair]
    if not scores or len({len(each) for pair in scores for each in pair}) != 1 or any(s != splits[0] for s in splits):
        return []
    differences = np.mean([a.astype(np.float64) - b for a, b in scores], axis=0)  # [N], NaN where one lacks a score
    shared: list[float] = differences[~np.isnan(differences)].tolist()
    return shared


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in percent."""
    return any(part in SHARES for part in metric.split("_"))


def written(value: float, metric: str) -> str:
    """The value of a metric as text: shares in percent with one decimal, others with three digits."""
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"
