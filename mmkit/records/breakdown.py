"""What a prediction costs in detail: by parts, by inputs, by size of the batch, compiled and not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Part:
    """A part of a prediction, timed within whole predictions.

    Args:
        name: "encoder of INPUT", "heads of inputs", "fusion", "head", or "rest" for all that lies between.
        ms: milliseconds a sample.
        parameters: number of its parameters; 0 for the rest.
    """

    name: str
    ms: float
    parameters: int


@dataclass(frozen=True)
class Closure:
    """Whether the parts of a prediction add up to the whole, which was timed beside them without looking inside.

    Args:
        ratio: of the sum of the parts to the whole.
        low: lower end of its 95 % interval; None with fewer than 6 rounds.
        high: upper end.
        noise: how far the whole and its twin, the same program, come apart: the farther end of the interval of their
            ratio, as a share. None with fewer than 6 rounds.
        closes: whether the interval of `ratio` reaches into `noise`, to either side of 1.
    """

    ratio: float
    low: float | None
    high: float | None
    noise: float | None
    closes: bool


@dataclass(frozen=True)
class Saving:
    """What leaving out an input saves: the difference of a combination and the same one without it, timed in turns.

    Args:
        input: that is left out.
        ms: milliseconds a sample of a prediction.
        low: lower end of its 95 % interval; None with fewer than 6 rounds.
        high: upper end.
        share: of the time of a prediction with all inputs.
        parameters: number of them.
        memory_bytes: of the peak memory of a training step; None if it cannot be measured.
        reason: why nothing is known; the figures are then 0 or None.
    """

    input: str
    ms: float = 0.0
    low: float | None = None
    high: float | None = None
    share: float = 0.0
    parameters: int = 0
    memory_bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class BatchSize:
    """Predictions of one size of batch.

    Args:
        size: samples.
        samples_per_s: by the median of the rounds.
        low: first quartile over the rounds.
        high: third quartile.
        memory_bytes: peak of a prediction beyond the model; None if it cannot be measured.
    """

    size: int
    samples_per_s: float
    low: float
    high: float
    memory_bytes: int | None


@dataclass(frozen=True)
class Sweep:
    """Throughput of predictions by the size of the batch, doubled until it stopped growing.

    Args:
        sizes: from the smallest.
        end: why there is no larger one: throughput stopped growing ("saturated"), memory would not have sufficed or did
            not ("memory"), a call took too long ("time"), or nobody asks for more ("largest").
        enough: the smallest size with 95 % of the best throughput.
    """

    sizes: list[BatchSize]
    end: Literal["saturated", "memory", "time", "largest"]
    enough: int


@dataclass(frozen=True)
class Mode:
    """A way to execute predictions, beside the usual one.

    Args:
        name: "eager" is the usual one; "compiled" by torch.compile, "cuda graph" recorded once and replayed.
        samples_per_s: by the median of the rounds; None where it was refused.
        ratio: of its time to that of "eager", in the same rounds.
        low: lower end of its 95 % interval; None with fewer than 6 rounds.
        high: upper end.
        preparing_s: seconds of compiling or recording, before the first prediction; not in the throughput.
        difference: the greatest difference of its outputs to those of "eager".
        refused: why it was not timed; empty if it was.
    """

    name: Literal["eager", "compiled", "cuda graph"]
    samples_per_s: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    preparing_s: float = 0.0
    difference: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Breakdown:
    """What predictions of a combination cost in detail, from raw batches, frozen encoders included.

    Args:
        batch_size: samples of a prediction, but in `sweep`.
        ms: milliseconds a sample of a whole prediction.
        parts: in the order of a prediction.
        closure: of the parts.
        savings: of each input.
        sweep: of the size of the batch; None if none could be predicted.
        modes: of execution; empty if not asked for.
    """

    batch_size: int
    ms: float
    parts: list[Part]
    closure: Closure
    savings: list[Saving]
    sweep: Sweep | None
    modes: list[Mode] = field(default_factory=list)
