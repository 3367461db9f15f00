"""The verdict: did the best fusion score above the best single input?

Both are chosen on validation and compared on test. The margin is twice the standard error of their difference. It
accounts for the variance over seeds (paired by seed) and, if the metric is a mean over samples, over the samples of the
test split (paired by sample).
"""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.records.record import Record
from mmkit.report.summary import Row, names, tied

SHARES = ("accuracy", "f1", "precision", "recall", "auroc", "match", "bleu", "rouge")


@dataclass(frozen=True, repr=False)
class Verdict:
    """The comparison of the best fusion with the best single input on test.

    Args:
        fusion: the best fusion on validation.
        single: the best single input on validation.
        difference: by how much the fusion is better, in units of the metric; negative if it is worse.
        margin: twice the standard error of the difference; None with one seed.
        seeds: number of seeds that both have.
        samples: number of test samples that the margin accounts for; 0 if the metric is no mean over samples.
        level: names of rows that were level on validation with the one that was chosen, the fusion or the single input.
    """

    fusion: Row
    single: Row
    difference: float
    margin: float | None
    seeds: int
    samples: int
    level: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Verdict: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.sentence())}</p>"

    @property
    def finding(self) -> str:
        """The result: "above" or "below"; "unclear" if the difference is within the margin, or there is no margin."""
        if self.margin is None or abs(self.difference) <= self.margin:
            return "unclear"
        return "above" if self.difference > 0 else "below"

    def sentence(self) -> str:
        """The verdict in one sentence."""
        metric = self.fusion.metric
        scores = [written(row.spread(metric).mean, metric) for row in (self.fusion, self.single)]  # type: ignore[union-attr]
        over = f"{self.seeds} seed{'s' * (self.seeds > 1)}" + (f" and {self.samples} samples" if self.samples else "")
        result = {
            "above": "scored above the best single input",
            "below": "scored below the best single input",
            "unclear": "cannot be distinguished from the best single input",
        }[self.finding]
        size = written(abs(self.difference), metric)
        worse = "" if self.difference >= 0 else " worse"
        difference = f"{size}{' points' if is_share(metric) else ''}{worse or ' better'}"
        margin = f"margin {written(self.margin, metric)}" if self.margin is not None else "no margin with one seed"
        level = (
            f", where {' and '.join(self.level)} {'was' if len(self.level) == 1 else 'were'} level"
            if self.level
            else ""
        )
        return (
            f"On test, {self.fusion.fusion} {result}, {self.single.fusion}: {metric} {scores[0]} against {scores[1]}, "
            f"{difference} ({margin}, over {over}; both chosen on validation{level})."
        )

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "fusion": self.fusion.fusion,
            "single": self.single.fusion,
            "metric": self.fusion.metric,
            "difference": self.difference,
            "margin": self.margin,
            "seeds": self.seeds,
            "samples": self.samples,
            "level": list(self.level),
            "finding": self.finding,
            "sentence": self.sentence(),
        }


def verdict(rows: Sequence[Row]) -> Verdict | None:
    """Compare the best fusion with the best single input; None if there is no fusion or no single input."""
    fusions, singles = tied(rows, alone=False), tied(rows, alone=True)
    if not fusions or not singles:
        return None
    fusion, single = fusions[0], singles[0]
    of_fusion = {record.seed: record for record in fusion.records}
    pairs = [(of_fusion[record.seed], record) for record in single.records if record.seed in of_fusion]
    metric, sign = fusion.metric, 1 if fusion.higher_is_better else -1
    scores = [(a.metrics[metric], b.metrics[metric]) for a, b in pairs]
    differences = [sign * (a - b) for a, b in scores if a is not None and b is not None]
    if not differences:
        return None
    by_sample = _by_sample([_scores(a, b) for a, b in pairs])
    margin = None
    if len(differences) > 1:
        variance = statistics.variance(differences) / len(differences)
        if len(by_sample) > 1:
            variance += statistics.variance(by_sample) / len(by_sample)
        margin = 2 * math.sqrt(variance)
    called = {id(row): name for row, name in zip(rows, names(rows), strict=True)}
    level = tuple(called[id(row)] for row in (*fusions[1:], *singles[1:]))
    return Verdict(fusion, single, statistics.fmean(differences), margin, len(differences), len(by_sample), level)


def _scores(a: Record, b: Record) -> tuple[Sequence[float], Sequence[float]]:
    """The scores of two records per sample; empty if they are of different samples.

    That is so if a transform of one of them rejected values and their samples were skipped.
    """
    same = a.run.get("on_error") != "skip" or a.unread.get("test") == b.unread.get("test")
    return (a.scores or (), b.scores or ()) if same else ((), ())


def _by_sample(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """The difference per sample, averaged over seeds; empty if the numbers of samples differ."""
    pairs = [(a, b) for a, b in pairs if a and b]
    if not pairs or len({len(scores) for pair in pairs for scores in pair}) != 1:
        return []
    sums = [0.0] * len(pairs[0][0])
    for a, b in pairs:
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            sums[number] += x - y
    return [total / len(pairs) for total in sums]


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in percent."""
    return any(part in SHARES for part in metric.split("_"))


def written(value: float, metric: str) -> str:
    """The value of a metric as text: shares in percent with one decimal, others with three digits."""
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"
