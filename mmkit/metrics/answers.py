"""How right answers in the user's words are: metrics of kinds of target that are not measured as tensors.

Axes: N samples, those without truth among them.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.contract import Measure
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.metrics import texts

HEAD_LOSS = "head_loss"
"""The metric that needs no answer: the mean of the head's own losses."""

_KNOWN: Mapping[str, Mapping[str, Measure]] = {"text": texts.MEASURES}


def measures_of(transform: object, kind: str) -> Mapping[str, Measure]:
    """The measures that the transform of the truth brings, else those that mmkit has of the kind, which may be none."""
    found: Mapping[str, Measure] = getattr(transform, "measures", _KNOWN.get(kind, {}))
    return found


class Answers:
    """The answers of a split, measured as `Metrics` measures predictions; samples without truth are left out.

    Args:
        measures: by name.
        losses: [N], the head's, of each sample.
        known: [N] bool, True where there is truth.
        truths: raw, of all N samples.
        answers: of all N samples; None where nothing but `head_loss` will be asked for.
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
        self._found: dict[str, Sequence[float] | float] = {}

    @property
    def samples(self) -> int:
        """Samples with truth."""
        return len(self._truths)

    def compute(self, names: Collection[str] | None = None) -> dict[str, float | None]:
        """The metrics by name, None of no sample; all that there are, or those asked for.

        Raises:
            UsageError: a name that is not there.
            MmkitError: a loss is not finite.
        """
        chosen = (*self.measures, HEAD_LOSS) if names is None else names
        return {name: self._mean(self._of(name)) for name in chosen}

    def per_sample(self, name: str) -> list[float] | None:
        """A metric that is a mean over samples, sample by sample of those with truth; None of any other metric."""
        found = self._of(name)
        return list(found) if isinstance(found, Sequence) and found else None

    def higher_is_better(self, name: str) -> bool:
        """Whether a greater figure is the better one.

        Raises:
            UsageError: a name that is not there.
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
            raise UsageError(f"no answers were made, so {name} cannot be measured; only {HEAD_LOSS} can")
        if name not in self._found:
            self._found[name] = measure.of(self._answers, self._truths) if self._truths else []
        return self._found[name]

    def _measure(self, name: str) -> Measure:
        if name not in self.measures:
            raise UsageError(f"no metric {name} here; {one_of([*self.measures, HEAD_LOSS], name)}")
        return self.measures[name]

    @staticmethod
    def _mean(found: Sequence[float] | float) -> float | None:
        if isinstance(found, Sequence):
            return statistics.fmean(found) if found else None
        return found
