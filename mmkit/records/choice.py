"""Which is better on validation: the one rule by which learning rates, seeds and combinations are chosen.

Of few samples, right or wrong says little: one of 207 is half a point, and two combinations are often level. The
log loss reads how sure each answer was, so it separates them with fewer samples.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmkit.records.record import Record

ENOUGH = 1000
"""Validation samples from which on the task's own metric chooses, also where there is a log loss."""
LOG_LOSS = "log_loss"


@dataclass(frozen=True)
class Criterion:
    """By which metric on validation is chosen.

    Args:
        metric: its name; empty where no run was completed.
        higher_is_better: whether a greater value is better.
    """

    metric: str
    higher_is_better: bool

    def of(self, scores: Mapping[str, float | None]) -> float:
        """One set of scores as a number of which more is better; -inf where the metric is not defined."""
        value = scores.get(self.metric)
        if value is None:
            return -math.inf
        return value if self.higher_is_better else -value

    def score(self, records: Sequence[Record]) -> float:
        """The mean of `of` over runs of one combination; -inf where one is not defined, or there are none."""
        return statistics.fmean(self.of(record.validation) for record in records) if records else -math.inf


def criterion_of(metric: str, samples: int, scores: Collection[str], *, higher_is_better: bool) -> Criterion:
    """The metric by which to choose.

    Args:
        metric: of the task.
        samples: of validation, with truth.
        scores: the names of the metrics that are defined on validation.
        higher_is_better: of `metric`.

    >>> criterion_of("accuracy", 207, ["accuracy", "log_loss"], higher_is_better=True).metric
    'log_loss'
    >>> criterion_of("accuracy", 2000, ["accuracy", "log_loss"], higher_is_better=True).metric
    'accuracy'
    """
    if samples < ENOUGH and LOG_LOSS in scores:
        return Criterion(LOG_LOSS, higher_is_better=False)
    return Criterion(metric, higher_is_better)


def criterion(records: Iterable[Record]) -> Criterion:
    """The metric by which to choose among the runs of one task.

    It is `log_loss` where validation has fewer than `ENOUGH` samples with truth and every completed run has it; else
    the metric of the task.
    """
    completed = [record for record in records if record.status == "ok"]
    if not completed:
        return Criterion("", higher_is_better=True)
    counts = [record.samples.validation for record in completed if record.samples is not None]
    everywhere = set.intersection(
        *({name for name, value in record.validation.items() if value is not None} for record in completed)
    )
    first = completed[0]
    samples = min(counts, default=ENOUGH)
    return criterion_of(first.metric, samples, everywhere, higher_is_better=first.higher_is_better)


def level(score: float, other: float) -> bool:
    """Whether two scores of a criterion are the same, but for rounding.

    >>> level(0.1 + 0.2, 0.3), level(0.5, 0.5 + 1e-6)
    (True, False)
    """
    return score == other or math.isclose(score, other, rel_tol=1e-9, abs_tol=1e-12)
