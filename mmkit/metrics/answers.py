"""Metrics of answers as the user reads them, for kinds of target that are not measured as tensors, such as texts.

Axes: N samples, including those without truth.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from mmkit.contract import Measure
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.metrics import texts
from mmkit.metrics.formulas import Measures

HEAD_LOSS = "head_loss"
"""The metric that needs no answers: the mean of the head's loss."""

_KNOWN: Mapping[str, Mapping[str, Measure]] = {"text": texts.MEASURES}


def measures_of(transform: object, kind: str) -> Mapping[str, Measure]:
    """The measures of the truth's transform, else those that mmkit has for the kind of target; may be empty."""
    measures: Mapping[str, Measure] = getattr(transform, "measures", _KNOWN.get(kind, {}))
    return measures


class Answers:
    """The metrics of the answers of a split, with the methods of `Metrics`. Samples without truth are left out.

    Args:
        measures: by name.
        losses: [N], the head's loss of each sample.
        known: [N] bool, True where there is truth.
        truths: raw, of all N samples.
        answers: of all N samples; None if only `head_loss` will be computed.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        losses: Tensor,
        known: Tensor,
        truths: Sequence[Any],
        answers: Sequence[Any] | None,
    ) -> None:
        self.measures = measures
        self._losses: list[float] = losses[known].double().tolist()
        kept = known.tolist()
        self._truths = [truth for truth, keep in zip(truths, kept, strict=True) if keep]
        self._answers = None if answers is None else [a for a, keep in zip(answers, kept, strict=True) if keep]
        self.without_truth = len(kept) - len(self._truths)
        self.binned: list[str] = []
        self._computed: dict[str, Sequence[float] | float] = {}
        self._of_places: dict[str, Callable[[Sequence[int]], float]] = {}

    @property
    def samples(self) -> int:
        """The number of samples with truth."""
        return len(self._truths)

    def compute(self, names: Collection[str] | None = None) -> dict[str, float | None]:
        """Compute all metrics, or those with the given names. They are None if no sample has truth.

        Raises:
            UsageError: an unknown name.
            MmkitError: a loss is not finite.
        """
        chosen = (*self.measures, HEAD_LOSS) if names is None else names
        return {name: self._mean(self._of(name)) for name in chosen}

    def resampled(self, index: Tensor) -> Measures:
        """The metrics that are means over samples, of the samples with truth at some places, which may repeat."""
        places = index.tolist()
        found: Measures = {}
        for name in (*self.measures, HEAD_LOSS):
            if isinstance(values := self._of(name), Sequence) and values:
                found[name] = partial(statistics.fmean, [values[place] for place in places])
        return found

    def drawn(self, index: Tensor) -> Measures:
        """As `resampled`, with the metrics that are one figure of all samples."""
        found, places = self.resampled(index), index.tolist()
        figures = [name for name in self.measures if not isinstance(self._of(name), Sequence)]
        return {**found, **{name: partial(self._at(name), places) for name in figures}}

    def _at(self, name: str) -> Callable[[Sequence[int]], float | None]:
        """What gives a metric of the samples at some places, which is one figure of all."""
        measure, truths, answers = self._measure(name), self._truths, self._answers or []
        if measure.resampled is None:
            return lambda at: self._mean(measure.of([answers[i] for i in at], [truths[i] for i in at]))
        if name not in self._of_places:
            self._of_places[name] = measure.resampled(answers, truths)
        return self._of_places[name]

    def per_sample(self, name: str) -> list[float] | None:
        """One value a sample with truth: their mean is the metric, and their spread that of the metric over samples.

        None where there are none, or the metric is no mean and has no `influence`.
        """
        values = self._of(name)
        if isinstance(values, Sequence):
            return list(values) or None
        influence = None if name == HEAD_LOSS else self._measure(name).influence
        if influence is None or self._answers is None or (psi := influence(self._answers, self._truths)) is None:
            return None
        return [values + one for one in psi]

    def higher_is_better(self, name: str) -> bool:
        """Whether a greater value of a metric is better.

        Raises:
            UsageError: an unknown name.
        """
        return name != HEAD_LOSS and self._measure(name).higher_is_better

    def _of(self, name: str) -> Sequence[float] | float:
        if name == HEAD_LOSS:
            if bad := sum(loss - loss != 0 for loss in self._losses):
                raise MmkitError(
                    f"{bad} of {self.samples} losses are not finite: training diverged; take a lower learning rate"
                )
            return self._losses
        measure = self._measure(name)
        if self._answers is None:
            raise UsageError(f"{name} needs answers, and none were generated; only {HEAD_LOSS} needs none")
        if name not in self._computed:
            self._computed[name] = measure.of(self._answers, self._truths) if self._truths else []
        return self._computed[name]

    def _measure(self, name: str) -> Measure:
        if name not in self.measures:
            raise UsageError(f"there is no metric {name} here; {one_of([*self.measures, HEAD_LOSS], name)}")
        return self.measures[name]

    @staticmethod
    def _mean(values: Sequence[float] | float) -> float | None:
        if isinstance(values, Sequence):
            return statistics.fmean(values) if values else None
        return values
