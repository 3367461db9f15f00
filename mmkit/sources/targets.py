"""The target that columns are: its kind, its values, and what hangs on them: metrics and epochs.

Axes: N rows, C classes, labels or numbers a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.errors import DataError, UsageError, one_of
from mmkit.sources.hashes import different, pieces, with_starts
from mmkit.sources.lists import is_json_list, listed
from mmkit.sources.numbers import ABSENT, MOST, form_of, numbers
from mmkit.sources.sampling import some, strings
from mmkit.sources.target import Target
from mmkit.sources.types import is_bytes, is_list, is_number, is_text, usual
from mmkit.titles import title_of
from mmkit.transforms.truth import category_name

KINDS = ("classes", "labels", "scalar", "text")
FEW = 10
"""At most so many different whole numbers are classes."""
MANY = 200
"""More different whole numbers are amounts."""
UNEVEN = 0.6
"""Share of the larger of two classes beyond which they are uneven. Of two classes accuracy and balanced accuracy differ
by at most the share beyond one half, here by a tenth; of more classes one half is as far from an even share."""
LEAST = 3
"""Rows of a class that can stand in train, validation and test."""
COARSE = 1000
"""Rows of validation below which right answers are too few to choose an epoch by."""
SHOWN = 3_000_000
_DIGITS = 400  # of a class whose name is a number
_BAR = 0.05  # the least share of strings with a | that makes them lists of labels


def read_target(columns: Mapping[str, pa.ChunkedArray], kind: str | None = None) -> Target:
    """The target that one column is, or that several columns of numbers are together.

    Strings, bools and at most 10 different whole numbers are classes; lists, or strings like `a|b`, are labels;
    fractions, more than 200 different whole numbers, and several columns are scalars.

    Args:
        columns: [N] each, by name.
        kind: where the user says it: "classes", "labels", "scalar" or "text".

    Raises:
        UsageError: two kinds are likely, or the values cannot be of the kind that was asked for.
        DataError: no row has truth, or there is one class alone.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no target of the kind {kind!r}; {one_of(KINDS, kind)}")
    columns = {name: usual(column) for name, column in columns.items()}
    if len(columns) > 1:
        if kind not in {None, "scalar"}:
            raise UsageError(f"several columns are one target of numbers, not {kind}; name one column")
        return _scalar(columns, "several columns of numbers")
    name, column = next(iter(columns.items()))
    if column.null_count == len(column):
        raise DataError(f"target {name}: no row has a value")
    guessed, reason = _kind_of(name, column, kind) if kind is None else (kind, "as you wrote")
    if guessed == "classes":
        return _classes(name, column, reason, asked=kind is not None)
    if guessed == "labels":
        return _labels(name, column, reason)
    if guessed == "scalar":
        return _scalar({name: column}, reason)
    return _texts(name, column, reason)


def _kind_of(name: str, column: pa.ChunkedArray, kind: str | None) -> tuple[str, str]:
    of = column.type
    if is_list(of):
        return ("scalar", "lists of fractions") if pat.is_floating(of.value_type) else ("labels", "lists")
    if pat.is_boolean(of) or pat.is_dictionary(of):
        return "classes", "bools" if pat.is_boolean(of) else "categories by their type"
    if pat.is_integer(of) or pat.is_floating(of) or pat.is_decimal(of):
        values = numbers(column)
    elif is_text(of):
        seen = [text.strip() for text in strings(some(column))]
        if as_json(column):
            return "labels", "lists as JSON"
        if sum("|" in text for text in seen) > _BAR * len(seen):
            return "labels", "labels with | between them"
        if form_of(seen) is None:
            return _of_strings(name, column)
        values = numbers(column)
    else:
        raise UsageError(f"target {name}: values of the type {of} cannot be predicted; name another column")
    return _of_numbers(name, values, kind)


def _of_strings(name: str, column: pa.ChunkedArray) -> tuple[str, str]:
    count, rows = different(column), len(column) - column.null_count
    if count > rows / 2 and count > 2:
        raise UsageError(
            f"target {name}: {count:,} of {rows:,} strings are different, so they are hardly classes: name another "
            "column, or write --target-kind classes, or --target-kind text where the answer is a text"
        )
    return "classes", "strings"


def _of_numbers(name: str, values: np.ndarray, kind: str | None) -> tuple[str, str]:
    seen = values[np.isfinite(values)]
    if (seen != np.floor(seen)).any():
        return "scalar", "fractions"
    count = len(np.unique(seen))
    if count > MANY:
        return "scalar", f"{count:,} different whole numbers"
    if count > FEW and kind is None:
        raise UsageError(
            f"target {name}: {count} different whole numbers may be classes or amounts: write --target-kind classes, "
            "or --target-kind scalar"
        )
    return "classes", f"{count} different whole numbers are classes (for amounts, write --target-kind scalar)"


def _classes(name: str, column: pa.ChunkedArray, reason: str, *, asked: bool) -> Target:
    codes, names = _coded(name, column)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    missing = int((codes < 0).sum())
    if len(names) < 2:
        raise DataError(
            f"target {name}: {f'all rows have the one class {names[0]}' if names else 'no row has a value'}; there is "
            "nothing to predict"
        )
    rows = int(counts.sum())
    if asked and len(names) == rows:
        raise UsageError(f"target {name}: each of its {rows:,} values is a class of its own; there is nothing to learn")
    largest = int(counts.argmax())
    balanced = counts[largest] > rows * (UNEVEN if len(names) == 2 else 0.5)
    percent = f"{100 * counts[largest] / rows:.0f} %"
    share = "more than half" if percent == "50 %" else percent
    metric = "balanced_accuracy" if balanced else "accuracy"
    measured = f"{title_of(metric)}{f', since {names[largest]} is {share} of all' if balanced else ''}"
    return Target(
        "classes",
        codes,
        names,
        tuple(counts.tolist()),
        missing,
        metric,
        f"{reason}; measured by {measured}",
        tuple(known for known, count in zip(names, counts, strict=True) if count < LEAST),
    )


def _coded(name: str, column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class of each row, [N] int32, and the classes in order."""
    kind = column.type
    if pat.is_nested(kind) or pat.is_temporal(kind) or is_bytes(kind):
        raise UsageError(f"target {name}: values of the type {kind} are no classes; name another column")
    if is_text(kind) and (form := form_of(strings(some(column)))) and form.style == "plain" and form.whole:
        # A class may be a word or have another unit; a sign for "missing" is none.
        there = ~pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column)), pa.array(ABSENT, column.type)).to_numpy()
        texts: Iterator[pa.Array] = (
            pc.if_else(pa.array(there[start : start + len(piece)]), piece, pa.scalar(None, piece.type))
            for start, piece in with_starts(column)
        )
    else:
        texts = pieces(column)
    index: dict[str, int] = {}
    found = []
    for piece in texts:
        coded = piece if pat.is_dictionary(piece.type) else piece.dictionary_encode()
        words = [_name(name, value) for value in coded.dictionary.to_pylist()]
        used = pc.unique(coded.indices).drop_null().to_pylist()
        table = np.full(len(words) + 1, -1, np.int32)  # the last is for -1, which is missing
        for place in used:
            word = words[place]
            if word is not None:
                table[place] = index.setdefault(word, len(index))
        rows = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        found.append(table[rows])
    return _in_order(np.concatenate(found) if found else np.zeros(0, np.int32), index)


def _in_order(codes: np.ndarray, index: Mapping[str, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes and names with the names in order: as numbers where all are whole, else by letters."""
    digits = [name.removeprefix("-") for name in index]
    whole = all(one.isascii() and one.isdecimal() and len(one) <= _DIGITS for one in digits)
    names = tuple(sorted(index, key=lambda name: (int(name) if whole else 0, name)))
    place = np.full(len(names) + 1, -1, np.int32)
    for number, name in enumerate(names):
        place[index[name]] = number
    return place[codes], names


def _name(target: str, value: Any) -> str | None:
    """The name of a class or label; None where the value is a gap."""
    blank = isinstance(value, str) and not value.strip()
    if value is None or blank or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        return category_name(value if isinstance(value, str | int | float | bool) else str(value))
    except DataError as error:
        raise UsageError(f"target {target}: {error}") from error


def _labels(name: str, column: pa.ChunkedArray, reason: str) -> Target:
    index: dict[str, int] = {}
    rows, codes, valid = [], [], []
    start = 0
    json = is_text(column.type) and as_json(column)
    for piece in pieces(column):
        lists = _as_lists(name, piece, json=json)
        valid.append(lists.is_valid().to_numpy(zero_copy_only=False))
        flat = pc.list_flatten(lists)
        coded = flat if pat.is_dictionary(flat.type) else flat.dictionary_encode()
        words = [_name(name, value) for value in coded.dictionary.to_pylist()]
        table = np.array(
            [*(-1 if word is None else index.setdefault(word, len(index)) for word in words), -1], np.int32
        )
        sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        rows.append(np.repeat(np.arange(start, start + len(piece)), sizes))  # a null may have values behind it
        codes.append(table[pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)])
        start += len(piece)
    if not index:
        raise DataError(f"target {name}: no row has a label")
    of_row, label = np.concatenate(rows), np.concatenate(codes)
    known = np.concatenate(valid)
    label, names = _in_order(label, index)
    of_row, label = of_row[label >= 0], label[label >= 0]
    pairs = np.unique(of_row * len(names) + label)  # each label once a row, in order
    of_row, label = pairs // len(names), (pairs % len(names)).astype(np.int32)
    ends = np.searchsorted(of_row, np.arange(len(known) + 1))
    values = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(label), mask=pa.array(~known))
    counts = np.bincount(label, minlength=len(names))
    rare = tuple(known for known, count in zip(names, counts, strict=True) if count < LEAST)
    told = f"{reason}; measured by {title_of('f1_macro')}"
    return Target("labels", values, names, tuple(counts.tolist()), int((~known).sum()), "f1_macro", told, rare)


def as_json(column: pa.ChunkedArray) -> bool:
    """Whether most strings of a column are lists as JSON; those that are none are then no truth."""
    seen = [text.strip() for text in strings(some(column))]
    return sum(map(is_json_list, seen)) > MOST * len(seen)


def _as_lists(name: str, piece: pa.Array, *, json: bool) -> pa.Array:
    if is_list(piece.type):
        inner = piece.type.value_type
        if not (is_text(inner) or is_number(inner) or pat.is_dictionary(inner) or pat.is_null(inner)):
            raise UsageError(f"target {name}: labels are strings or whole numbers; got lists of the type {inner}")
        return piece.cast(pa.list_(piece.type.value_type)) if pat.is_fixed_size_list(piece.type) else piece
    if not is_text(piece.type):
        raise UsageError(f"target {name}: labels are lists, or strings like a|b; got values of the type {piece.type}")
    texts = pc.utf8_trim_whitespace(piece.cast(pa.large_string()))
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.large_string()), texts)
    if json:
        found = listed(texts.to_pylist())
        plain = [value and [str(one) for one in value if one is not None] for value in found]
        return pa.array(plain, pa.list_(pa.string()))
    return pc.split_pattern(texts, "|")


def _scalar(columns: Mapping[str, pa.ChunkedArray], reason: str) -> Target:
    found = []
    for name, column in columns.items():
        kind = column.type
        if is_list(kind) and len(columns) == 1:
            rows = column.to_pylist()
            sizes = {len(row) for row in rows if row is not None}
            if len(sizes) != 1 or not next(iter(sizes)):
                raise UsageError(f"target {name}: lists of {min(sizes)} to {max(sizes)} numbers; give as many each row")
            size = sizes.pop()
            none = [np.nan] * size
            found.append(np.array([none if row is None else row for row in rows], float).reshape(-1, size))
            names = tuple(f"{name}[{i}]" for i in range(size))
            continue
        if pat.is_nested(kind) or pat.is_temporal(kind) or is_bytes(kind):
            raise UsageError(f"target {name}: values of the type {kind} are no numbers; name another column")
        values = numbers(column)
        if not np.isfinite(values).any():
            raise UsageError(f"target {name}: its values are no numbers in one form; name another column or kind")
        found.append(values[:, None])
        names = tuple(columns)
    values = np.concatenate(found, 1)
    values[~np.isfinite(values).all(1)] = np.nan
    missing = int(np.isnan(values[:, 0]).sum())
    if missing == len(values):
        raise DataError(f"target {', '.join(columns)}: no row has all of its numbers")
    return Target("scalar", values, names, (), missing, "mae", f"{reason}; measured by {title_of('mae')}")


def _texts(name: str, column: pa.ChunkedArray, reason: str) -> Target:
    if not is_text(column.type):
        raise UsageError(f"target {name}: a text is a string; got values of the type {column.type}")
    texts = pa.concat_arrays([piece.cast(pa.large_string()) for piece in pieces(column)])
    values = pc.if_else(pc.match_substring_regex(texts, r"\S"), texts, pa.scalar(None, pa.large_string()))
    return Target("text", values, (), (), values.null_count, "rouge_l", f"{reason}; measured by {title_of('rouge_l')}")


def epoch_metric(target: Target, validation: int) -> str:
    """The metric by which the best epoch is chosen, given the rows of validation.

    Of classes and labels it is `log_loss` below 1,000 rows, where counts of right answers are too coarse; of texts it
    is always the loss of the head.
    """
    if target.kind == "text":
        return "head_loss"
    return "log_loss" if target.kind in {"classes", "labels"} and validation < COARSE else target.metric


def recommended_epochs(rows: int) -> int:
    """Epochs for this many rows of training: three million samples are shown, in 2 to 40 epochs.

    >>> [recommended_epochs(rows) for rows in (60, 100_000, 300_000, 2_000_000)]
    [40, 30, 10, 2]
    """
    return int(np.clip(SHOWN // max(1, rows), 2, 40))
