"""Numbers of a target that lie far beyond all others: a slip of the pen or a wrong unit, that decides every mean.

Heavy tails are no slips. At most `MOST` values stand apart where they are more than `TIMES` times as far from the
median as all others, and where this gap is more than `USUAL` times what the others' own tail makes usual: of a Pareto
tail with exponent a, i log(d[i] / d[i + 1]) of the distances d, the largest first, is exponential with mean 1 / a
(Rényi, "On the theory of order statistics", 1953, https://doi.org/10.1007/BF02127580), so the mean over the next ones
tells a (Hill, "A simple general approach to inference about the tail of a distribution", 1975,
https://doi.org/10.1214/aos/1176343247). The gap then is that large by chance in fewer than 1 of 1,000 tables, whatever
the exponent; lighter tails, such as the lognormal one, have smaller gaps.

Axes: N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST = 5
"""Values that stand apart, at most."""
TIMES = 10.0
"""How many times as far from the median they are as all others."""
USUAL = 12.0
"""How many times the gap is as wide as the tail of the others makes usual."""
_TAIL = (20, 200)  # distances that the tail is told by, at least and at most

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def outliers(values: Numbers) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The rows whose values lie far beyond all others, in order; none of tables too small to tell.

    Args:
        values: [N], NaN where one is missing.
    """
    rows = np.flatnonzero(np.isfinite(values))
    found = rows[:0]
    if not rows.size:
        return found
    far = np.abs(values[rows] - np.median(values[rows]))
    rows, far = rows[far > 0], far[far > 0]
    tail = int(np.clip(len(far) // 10, *_TAIL))
    if len(far) <= MOST + tail:
        return found
    order = np.argsort(-far, kind="stable")[: MOST + tail + 1]
    gaps = np.arange(1, len(order)) * -np.diff(np.log(far[order]))
    for apart in range(1, MOST + 1):
        usual = gaps[apart : apart + tail].mean()
        if gaps[apart - 1] > max(USUAL * usual, apart * np.log(TIMES)):
            found = np.sort(rows[order[:apart]])
    return found
