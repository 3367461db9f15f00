"""The one timing engine: what is to be compared runs in one process, in rounds of random order.

A machine drifts: its clock rate, its caches and its other guests change from one second to the next, and times taken
one after the other compare two moments, not two programs. Here each round runs every candidate once, as a block of
calls, so that a ratio is taken within a round, where the machine is nearly the same; the median of these ratios over
the rounds is hardly moved by a bad moment, and its interval comes from a bootstrap over blocks of neighbouring rounds
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

_FEWEST_ROUNDS = 6
"""Below it no interval of a median holds 95 %: all rounds fall on one side by chance in 2 * 0.5^5 = 6 % of runs."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """How long one candidate takes against another.

    Args:
        ratio: median over the rounds of (seconds of this one / seconds of the other).
        low: lower end of its 95 % interval; None where there are too few rounds for one.
        high: upper end.
        visible: the smallest relative difference that a run like this would notice in 4 of 5 cases.
        margin: relative difference that counts as none.
        verdict: "faster" or "slower" where the whole interval lies beyond the margin, "same" where all of it lies
            within, else "unclear".
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
    """Seconds a call, of each candidate in each round.

    Args:
        seconds: by candidate, one value a round; the same position is the same round.
        calls: in a block, by candidate.
        clock: what was read.
        device: where the calls computed.
        unsettled: candidates whose warm-up never came to rest.
    """

    seconds: Mapping[str, tuple[float, ...]]
    calls: Mapping[str, int]
    clock: str
    device: str
    unsettled: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        """How many rounds were run."""
        return len(next(iter(self.seconds.values())))

    def median(self, name: str) -> float:
        """Seconds a call of a candidate."""
        return float(np.median(self.seconds[name]))

    def quartiles(self, name: str) -> tuple[float, float]:
        """The bounds of the middle half of the rounds, in seconds a call."""
        low, high = np.quantile(self.seconds[name], (0.25, 0.75))
        return float(low), float(high)

    def compare(self, name: str, other: str, *, margin: float = 0.02) -> Comparison:
        """Candidate `name` against `other`: below 1 is faster.

        Args:
            name: the candidate above the line.
            other: the candidate below the line.
            margin: relative difference that counts as none; between two processes the same program differs by 1 to
                2 %, whatever the clock, because it lies elsewhere in memory.
        """
        return compare(self.seconds[name], self.seconds[other], margin=margin)

    def summed(self, parts: Mapping[str, Sequence[str]]) -> Timings:
        """Of candidates that each consist of some that were timed: what these took in the same round, added up.

        Args:
            parts: the names of those timed, by the name of the whole.
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
        """Plain values: what was set, and median and quartiles of each candidate."""
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
    """Time the candidates against each other.

    Args:
        candidates: what to call, by name. A call must do the same work each time.
        rounds: in each, every candidate runs one block, in random order.
        min_block_seconds: that a block lasts at least; None is 0.004 on CPU, 0.010 elsewhere.
        seed: of the order.
        device: where the calls compute; waiting for it is done here.
        clock: seconds; None takes the one that suits the device.
        max_seconds: no round begins that would end later; one is always run, and fewer than 6 allow no verdict.

    Raises:
        ValueError: nothing to time, or no rounds.
    """
    if not candidates:
        raise ValueError("nothing to time: no candidates were given")
    if rounds < 1:
        raise ValueError(f"rounds is at least 1; got {rounds}")
    watch = stopwatch(device, clock)
    now = clock or time.perf_counter
    start = now()
    least = watch.least if min_block_seconds is None else min_block_seconds
    # A call that takes a good part of the whole time is warm after one; more of them would leave no time for rounds.
    most = math.inf if max_seconds is None else max_seconds / 20
    warmed = {name: warm_up(watch, call, least, most) for name, call in candidates.items()}
    calls = {name: block for name, (block, _) in warmed.items()}
    order = list(candidates)
    draw = random.Random(seed)  # noqa: S311  (no secret hangs on the order)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    first_round = now()
    for done in range(1, rounds + 1):
        draw.shuffle(order)
        for name in order:
            seconds[name].append(watch.block(candidates[name], calls[name]) / calls[name])
        one_round = (now() - first_round) / done
        if max_seconds is not None and now() - start + one_round > max_seconds:
            break
    unsettled = tuple(name for name, (_, settled) in warmed.items() if not settled)
    return Timings({name: tuple(s) for name, s in seconds.items()}, calls, watch.name, str(device), unsettled)


def compare(seconds: tuple[float, ...], other: tuple[float, ...], *, margin: float = 0.02) -> Comparison:
    """Two candidates by their seconds in the same rounds."""
    if len(seconds) != len(other):
        raise ValueError(f"rounds are compared pair by pair; got {len(seconds)} and {len(other)} of them")
    tiny = np.finfo(float).tiny
    logs = np.log(np.maximum(seconds, tiny)) - np.log(np.maximum(other, tiny))  # [R]
    centre = float(np.median(logs))
    rounds = len(logs)
    if rounds < _FEWEST_ROUNDS:
        return Comparison(math.exp(centre), None, None, None, margin, "unclear")
    length = round(rounds ** (1 / 3))  # of a block
    resampled = _resampled_medians(logs, length)
    # Few blocks make a bootstrap too sure of itself: both ends are moved out as Student's t would have it.
    wider = _stretch(rounds / length)
    low, high = (centre + wider * (float(end) - centre) for end in np.quantile(resampled, (0.025, 0.975)))
    none = math.log1p(margin)
    visible = math.expm1(none + (1.960 + 0.842) * wider * float(resampled.std()))
    verdict: Verdict = "unclear"
    if high < -none:
        verdict = "faster"
    elif low > none:
        verdict = "slower"
    elif -none <= low and high <= none:
        verdict = "same"
    return Comparison(math.exp(centre), math.exp(low), math.exp(high), visible, margin, verdict)


def _resampled_medians(logs: np.ndarray[Any, np.dtype[np.float64]], length: int) -> np.ndarray[Any, Any]:
    """Medians of resamples, each made of circular blocks of neighbouring rounds."""
    rounds = len(logs)
    draw = np.random.default_rng(0)  # the same timings always give the same interval
    starts = draw.integers(0, rounds, size=(_RESAMPLES, math.ceil(rounds / length), 1))
    positions = (starts + np.arange(length)).reshape(_RESAMPLES, -1)[:, :rounds] % rounds
    ordered = np.sort(logs[positions], axis=1)  # several times as fast as np.median
    middle: np.ndarray[Any, Any] = (ordered[:, (rounds - 1) // 2] + ordered[:, rounds // 2]) / 2
    return middle


def _stretch(blocks: float) -> float:
    """How much wider than the normal's is the 95 % interval of a mean over so many independent blocks.

    The quantile of Student's t by its Cornish-Fisher expansion (Abramowitz and Stegun, "Handbook of Mathematical
    Functions", 26.7.5), and the root of n / (n - 1) by which a bootstrap's spread falls short.
    """
    z, degrees = 1.960, blocks - 1
    quantile = (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
    return quantile / z * math.sqrt(blocks / (blocks - 1))
