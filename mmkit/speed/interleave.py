"""The timing engine: candidates are compared in one process, in interleaved rounds of random order.

A machine drifts: its clock rate, caches and other load change from one second to the next, so times that are taken one
after the other compare two moments, not two programs. Here each round runs every candidate once, as a block of calls,
and ratios are taken within a round, where the machine is nearly the same. The median of the ratios over the rounds is
robust against outliers, and its confidence interval comes from a bootstrap over blocks of neighbouring rounds
(Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of Statistics 1989,
https://doi.org/10.1214/aos/1176347265; circular blocks here), because neighbours are not independent.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from mmkit.speed.stopwatch import Call, Clock, stopwatch, warm_up

Verdict = Literal["faster", "slower", "same", "unclear"]

_MIN_ROUNDS = 6
"""With fewer, a median has no 95 % interval: all 5 rounds lie on one side by chance in 2 * 0.5^5 = 6 % of runs."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """The time of one candidate relative to another.

    Args:
        ratio: median over the rounds of (seconds of this one / seconds of the other).
        low: lower end of its 95 % interval; None with too few rounds.
        high: upper end.
        visible: the smallest relative difference that such a measurement would detect with a power of 80 %.
        margin: relative difference that counts as equal.
        verdict: "faster" or "slower" if the whole interval lies outside the margin, "same" if all of it lies inside,
            else "unclear".
    """

    ratio: float
    low: float | None
    high: float | None
    visible: float | None
    margin: float
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Timings:
    """Seconds per call of each candidate in each round.

    Args:
        seconds: by candidate, one value per round; the same position is the same round.
        calls: calls per block, by candidate.
        clock: name of the clock.
        device: on which the calls computed.
        unsettled: candidates whose times did not become stable in the warm-up.
    """

    seconds: Mapping[str, tuple[float, ...]]
    calls: Mapping[str, int]
    clock: str
    device: str
    unsettled: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        """The number of rounds."""
        return len(next(iter(self.seconds.values())))

    def median(self, name: str) -> float:
        """Median seconds per call of a candidate."""
        return float(np.median(self.seconds[name]))

    def quartiles(self, name: str) -> tuple[float, float]:
        """The first and the third quartile over the rounds, in seconds per call."""
        low, high = np.quantile(self.seconds[name], (0.25, 0.75))
        return float(low), float(high)

    def compare(self, name: str, other: str, *, margin: float = 0.02) -> Comparison:
        """Compare candidate `name` with `other`; a ratio below 1 means that `name` is faster.

        Args:
            name: the candidate in the numerator.
            other: the candidate in the denominator.
            margin: relative difference that counts as equal. One program differs by 1 to 2 % between two processes,
                because it lies at other addresses in memory.
        """
        return compare(self.seconds[name], self.seconds[other], margin=margin)

    def summed(self, parts: Mapping[str, Sequence[str]]) -> Timings:
        """Timings of candidates that consist of timed parts: the sum of the parts' times in each round.

        Args:
            parts: names of timed candidates, by the name of the whole.
        """
        rounds = {name: zip(*(self.seconds[part] for part in of), strict=True) for name, of in parts.items()}
        return Timings(
            {name: tuple(map(sum, seconds)) for name, seconds in rounds.items()},
            {name: min(self.calls[part] for part in of) for name, of in parts.items()},
            self.clock,
            self.device,
            tuple(name for name, of in parts.items() if any(part in self.unsettled for part in of)),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values: rounds, clock and device, and median and quartiles of each candidate."""
        candidates = {
            name: {"seconds": self.median(name), "quartiles": list(self.quartiles(name)), "calls": self.calls[name]}
            for name in self.seconds
        }
        return {
            "clock": self.clock,
            "device": self.device,
            "rounds": self.rounds,
            "unsettled": list(self.unsettled),
            "candidates": candidates,
        }


def interleave(
    candidates: Mapping[str, Call],
    *,
    rounds: int = 60,
    min_block_seconds: float | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    clock: Clock | None = None,
    max_seconds: float | None = None,
) -> Timings:
    """Time candidates against each other.

    Args:
        candidates: functions to call, by name. Each call must do the same work.
        rounds: number of rounds; in each, every candidate runs one block, in random order.
        min_block_seconds: the least duration of a block; None is 0.004 on CPU, 0.010 elsewhere.
        seed: of the random order.
        device: on which the calls compute; it is synchronised here.
        clock: returns seconds; None takes the one that suits the device.
        max_seconds: start no round that would end later; one round is always run, and fewer than 6 give no verdict.

    Raises:
        ValueError: nothing to time, or no rounds.
    """
    if not candidates:
        raise ValueError("nothing to time: no candidates were given")
    if rounds < 1:
        raise ValueError(f"rounds is 1 or more; got {rounds}")
    watch = stopwatch(device, clock)
    now = clock or time.perf_counter
    start = now()
    min_block = watch.min_block if min_block_seconds is None else min_block_seconds
    # A call that takes a twentieth of the whole time or more is warmed up once, to leave time for rounds.
    max_call = math.inf if max_seconds is None else max_seconds / 20
    warmed = {name: warm_up(watch, call, min_block, max_call) for name, call in candidates.items()}
    calls = {name: block for name, (block, _) in warmed.items()}
    order = list(candidates)
    random_order = random.Random(seed)  # noqa: S311  (not for cryptography)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    first_round = now()
    for done in range(1, rounds + 1):
        random_order.shuffle(order)
        for name in order:
            seconds[name].append(watch.block(candidates[name], calls[name]) / calls[name])
        one_round = (now() - first_round) / done
        if max_seconds is not None and now() - start + one_round > max_seconds:
            break
    unsettled = tuple(name for name, (_, settled) in warmed.items() if not settled)
    return Timings({name: tuple(s) for name, s in seconds.items()}, calls, watch.name, str(device), unsettled)


def compare(seconds: tuple[float, ...], other: tuple[float, ...], *, margin: float = 0.02) -> Comparison:
    """Compare two candidates by their seconds in the same rounds."""
    if len(seconds) != len(other):
        raise ValueError(f"both candidates need equally many rounds; got {len(seconds)} and {len(other)}")
    tiny = np.finfo(float).tiny
    logs = np.log(np.maximum(seconds, tiny)) - np.log(np.maximum(other, tiny))  # [R]
    centre = float(np.median(logs))
    rounds = len(logs)
    if rounds < _MIN_ROUNDS:
        return Comparison(math.exp(centre), None, None, None, margin, "unclear")
    length = round(rounds ** (1 / 3))  # of a block
    resampled = _resampled_medians(logs, length)
    # With few blocks a bootstrap's interval is too narrow: it is widened as Student's t requires.
    widening = _widening(rounds / length)
    low, high = (centre + widening * (float(end) - centre) for end in np.quantile(resampled, (0.025, 0.975)))
    tolerance = math.log1p(margin)
    visible = math.expm1(tolerance + (1.960 + 0.842) * widening * float(resampled.std()))
    verdict: Verdict = "unclear"
    if high < -tolerance:
        verdict = "faster"
    elif low > tolerance:
        verdict = "slower"
    elif -tolerance <= low and high <= tolerance:
        verdict = "same"
    return Comparison(math.exp(centre), math.exp(low), math.exp(high), visible, margin, verdict)


def _resampled_medians(logs: np.ndarray[Any, np.dtype[np.float64]], length: int) -> np.ndarray[Any, Any]:
    """Medians of resamples of circular blocks of neighbouring rounds."""
    rounds = len(logs)
    generator = np.random.default_rng(0)  # the same timings always give the same interval
    starts = generator.integers(0, rounds, size=(_RESAMPLES, math.ceil(rounds / length), 1))
    positions = (starts + np.arange(length)).reshape(_RESAMPLES, -1)[:, :rounds] % rounds
    ordered = np.sort(logs[positions], axis=1)  # several times as fast as np.median
    middle: np.ndarray[Any, Any] = (ordered[:, (rounds - 1) // 2] + ordered[:, rounds // 2]) / 2
    return middle


def _widening(blocks: float) -> float:
    """How much wider than the normal approximation the 95 % interval of a mean over independent blocks is.

    The quantile of Student's t by its Cornish-Fisher expansion (Abramowitz and Stegun, "Handbook of Mathematical
    Functions", 26.7.5), times the root of n / (n - 1) by which a bootstrap underestimates the standard error.
    """
    z, degrees = 1.960, blocks - 1
    quantile = (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
    return quantile / z * math.sqrt(blocks / (blocks - 1))
