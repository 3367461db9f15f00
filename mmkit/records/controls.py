"""What the answers of a model hang on: its metric on test with inputs missing, or with other samples' values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subset:
    """The metric with some inputs there, and the others missing in every sample.

    Args:
        present: the inputs that are there; none at all where nothing but the model's answer to nothing is measured.
        score: None if it is not defined.
    """

    present: list[str]
    score: float | None


@dataclass(frozen=True)
class Noise:
    """The metric where a share of the samples has another sample's value of one input.

    Args:
        input: that input.
        shares: of the samples, ascending; at 1 all values are shuffled.
        scores: the metric at each; None if it is not defined.
    """

    input: str
    shares: list[float]
    scores: list[float | None]

    def area(self, reached: float | None) -> float | None:
        """The mean of the metric over all shares from 0 to 1, by trapezoids.

        >>> Noise("text", [0.5, 1.0], [0.7, 0.5]).area(0.9)
        0.7

        Args:
            reached: the metric without noise.
        """
        scores = [reached, *self.scores]
        if any(score is None for score in scores):
            return None
        shares = [0.0, *self.shares]
        parts = [
            (b - a) * (x + y) / 2  # type: ignore[operator]  # none is None
            for a, b, x, y in zip(shares, shares[1:], scores, scores[1:], strict=False)
        ]
        return sum(parts)


@dataclass(frozen=True)
class Contribution:
    """The share of one input in what a model reaches beyond its answers without any input: its Shapley value.

    Args:
        input: that input.
        value: in units of the metric, negative where the input does harm and a greater value is better.
        error: standard error, where orders were drawn; 0 where all subsets were measured.
    """

    input: str
    value: float
    error: float


@dataclass(frozen=True)
class Controls:
    """What the answers of a trained model hang on, by the metric that ranks combinations, on test.

    Args:
        subsets: with inputs missing, the fewest inputs first; all inputs last.
        noise: of each input.
        contributions: of each input; empty where the metric is not defined on a subset.
    """

    subsets: list[Subset] = field(default_factory=list)
    noise: list[Noise] = field(default_factory=list)
    contributions: list[Contribution] = field(default_factory=list)
