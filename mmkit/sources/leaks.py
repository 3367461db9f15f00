"""Columns that predict the target all alone, which they will hardly do where the model is used.

Axes: N rows that are looked at, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from mmkit.sources.dates import dates
from mmkit.sources.guess import TABLE
from mmkit.sources.hashes import hashes
from mmkit.sources.numbers import numbers
from mmkit.sources.sampling import at
from mmkit.sources.tabular import fit, lists_in, read
from mmkit.sources.target import Target
from mmkit.sources.types import is_text, usual

ROWS = 100_000
"""Rows that are looked at, half of them to learn and half to check."""
BINS = 64
ENOUGH = 0.95
"""Balanced accuracy on the other half, above which a column predicts the target."""
EXPLAINED = 0.99
"""The same of numbers: the share of their variance."""

_LEAST = 20  # rows of either half, below which nothing can be said
_TEXTS = 10_000
_NAMED = 0.2  # texts that hold the name of their class
_OWN = 0.9  # of those that hold the name of a class, how many hold their own
_LETTERS = 4


def leaks(
    columns: Mapping[str, pa.ChunkedArray], kinds: Mapping[str, str], target: Target, *, seed: int = 0
) -> list[tuple[str, tuple[str, ...]]]:
    """What is found, in words, and the columns that it is about.

    A column is cut into 64 bins of equal counts, or its 64 most frequent values and the rest; missing is a bin of its
    own. Each bin answers what it answered in one half of the rows, and is checked on the other half. Of tags the list
    as a whole and each of the most frequent are looked at, of lists of numbers the first 64 places.

    Args:
        columns: the inputs.
        kinds: the kind of each.
        target: the truth.
        seed: of the rows that are looked at.
    """
    known = np.flatnonzero(target.known)
    if target.kind == "text" or len(known) < 2 * _LEAST:
        return []
    r = np.random.default_rng(seed)
    rows = np.sort(r.choice(known, ROWS, replace=False)) if len(known) > ROWS else known
    half = np.zeros(len(rows), bool)
    half[r.permutation(len(rows))[: len(rows) // 2]] = True
    labels = list(_rows_of_labels(target, rows)) if target.kind == "labels" else []
    found: list[tuple[str, tuple[str, ...]]] = []
    for name, given in columns.items():
        column = usual(given)
        kind = kinds.get(name, "ignore")
        if kind in TABLE:
            for part, amounts, bins in _parts(name, at(column, rows), kind):
                if told := list(_told(amounts, bins, rows, half, target, labels)):
                    act = f"a leak? --column {name}=ignore"
                    found += [(f"{part} alone predicts {what}: {act}", (name,)) for what in told]
                    break
        elif kind == "text" and is_text(column.type) and target.kind == "classes":
            found += [(text, (name,)) for text in _named(name, column, rows, target)]
    return found


def _parts(name: str, column: pa.ChunkedArray, kind: str) -> Iterator[tuple[str, np.ndarray | None, np.ndarray]]:
    """What a column gives to a row of the table: its name, the numbers [N] where it has some, and the bins [N]."""
    if kind not in {"numbers", "tags"}:
        yield name, *_bins(column, kind)
        return
    column = lists_in(column)
    if kind == "tags":
        yield name, *_bins(column, "category")
    cells = read(name, fit(name, kind, column, np.arange(len(column))), column)
    for part, amounts in list(cells.numbers.items())[:BINS]:
        yield part, amounts, _bins_of(amounts)


def _bins(column: pa.ChunkedArray, kind: str) -> tuple[np.ndarray | None, np.ndarray]:
    """The number of each row, where it has one, and its bin; both [N]."""
    if kind == "category" or pat.is_boolean(column.type):
        values, of_row, counts = np.unique(hashes(column), return_inverse=True, return_counts=True)
        place = np.full(len(values), BINS)
        place[np.argsort(-counts, kind="stable")[:BINS]] = np.arange(min(BINS, len(values)))
        return None, place[of_row]
    if kind == "number":
        amounts = numbers(column)
    else:
        moments = dates(column, kind)
        amounts = np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(float))
    return amounts, _bins_of(amounts)


def _bins_of(amounts: np.ndarray) -> np.ndarray:
    """The bin of each number, [N]."""
    known = np.isfinite(amounts)
    found = np.full(len(amounts), BINS)  # the bin of gaps
    if known.any():
        different = np.unique(amounts[known])
        # A bin a value where there are few; else as many rows each.
        edges = different if len(different) < BINS else np.quantile(amounts[known], np.arange(1, BINS) / BINS)
        found[known] = np.searchsorted(np.unique(edges), amounts[known], side="right")
    return found


def _rows_of_labels(target: Target, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The most frequent labels that enough rows have and enough have not, and which have them, [N] bool."""
    of_row, labels = target.pairs
    for label in np.argsort(-np.array(target.counts), kind="stable")[:BINS]:
        has = np.isin(rows, of_row[labels == label])
        if min(has.sum(), (~has).sum()) >= _LEAST:
            yield target.names[label], has


def _told(
    amounts: np.ndarray | None,
    bins: np.ndarray,
    rows: np.ndarray,
    half: np.ndarray,
    target: Target,
    labels: Sequence[tuple[str, np.ndarray]],
) -> Iterator[str]:
    """What bins, or a straight line through numbers, predict: in words."""
    if target.kind == "scalar":
        truth = target.values[rows, 0]
        explained = max(_by_bins(bins, truth, half), 0.0 if amounts is None else _by_line(amounts, truth, half))
        if explained > EXPLAINED:
            yield f"{target.names[0]} ({100 * explained:.1f} % of its variance, held out)"
    elif target.kind == "classes":
        score = _balanced(bins, np.asarray(target.values)[rows], half)
        if score > ENOUGH:
            yield f"the target (balanced accuracy {100 * score:.1f} % held out)"
    for label, has in labels:
        score = _balanced(bins, has.astype(np.int32), half)
        if score > ENOUGH:
            yield f"the label {label} (balanced accuracy {100 * score:.1f} % held out)"


def _balanced(bins: np.ndarray, codes: np.ndarray, half: np.ndarray) -> float:
    """Balanced accuracy on one half of the likeliest class of each bin in the other, classes counting alike."""
    size = int(codes.max()) + 1
    counts = np.zeros((BINS + 1, size))
    np.add.at(counts, (bins[half], codes[half]), 1)
    answers = (counts / np.maximum(counts.sum(0), 1)).argmax(1)
    right = answers[bins[~half]] == codes[~half]
    asked = np.bincount(codes[~half], minlength=size)
    found = np.bincount(codes[~half], weights=right, minlength=size)
    return float((found[asked > 0] / asked[asked > 0]).mean())


def _by_bins(bins: np.ndarray, truth: np.ndarray, half: np.ndarray) -> float:
    """The share of the variance of one half that the means of the bins in the other explain."""
    sums, counts = (np.bincount(bins[half], weights=w, minlength=BINS + 1) for w in (truth[half], np.ones(half.sum())))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), truth[half].mean())
    return _explained(truth[~half], means[bins[~half]])


def _by_line(amounts: np.ndarray, truth: np.ndarray, half: np.ndarray) -> float:
    """The same of a straight line through the rows that have a number."""
    known = np.isfinite(amounts)
    fitted, checked = half & known, ~half & known
    if min(fitted.sum(), checked.sum()) < _LEAST or amounts[fitted].std() == 0:
        return 0.0
    centre, scale = amounts[fitted].mean(), amounts[fitted].std()
    slope, start = np.polyfit((amounts[fitted] - centre) / scale, truth[fitted], 1)
    answers = np.full(len(truth), truth[half].mean())
    answers[known] = start + slope * (amounts[known] - centre) / scale
    return _explained(truth[~half], answers[~half])


def _explained(truth: np.ndarray, answers: np.ndarray) -> float:
    total = truth.var()
    return float(1 - ((truth - answers) ** 2).mean() / total) if total > 0 else 0.0


def _named(name: str, column: pa.ChunkedArray, rows: np.ndarray, target: Target) -> Iterator[str]:
    """Texts in which the name of their own class stands."""
    few = rows if len(rows) <= _TEXTS else rows[np.linspace(0, len(rows) - 1, _TEXTS).astype(int)]
    words = {known.casefold(): code for code, known in enumerate(target.names) if _tells(known)}
    if not words:
        return
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile("|".join(_whole_word(word) for word in longest_first))
    texts: Sequence[str | None] = at(column, few).to_pylist()
    any_name, own = 0, 0
    for text, code in zip(texts, np.asarray(target.values)[few].tolist(), strict=True):
        seen = {words[match] for match in pattern.findall(text.casefold())} if text else set()
        any_name += bool(seen)
        own += code in seen and len(seen) == 1
    if own > _NAMED * len(few) and own > _OWN * any_name:
        part = f"{100 * own / len(few):.0f} %"
        yield (
            f"{part} of the texts in {name} hold the name of their class, and of no other: a leak? "
            f"--column {name}=ignore, or take the names out"
        )


def _tells(name: str) -> bool:
    """Whether a class's name is one that stands in a text by no chance."""
    return (len(name) >= _LETTERS or not name.isascii()) and not name.isdigit() and name not in {"True", "False"}


def _whole_word(word: str) -> str:
    return rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)
