"""The truth of a sample, from the user's words to tensors and back.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Target
from mmkit.errors import DataError, ValuesError, one_of

_WHOLE = re.compile(r"-?[0-9]+")
_FRACTION = re.compile(r"[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_PLAIN = {str, int, bool}
MANY_FRACTIONS = 20
"""More classes that are fractions are taken for numbers: ratings in steps of a half are ten."""
TWINS = {"True": "1", "False": "0", "1": "True", "0": "False"}
"""The other way to write yes and no."""
BOOLS, FLAGS = frozenset({"True", "False"}), frozenset(TWINS)
_FLAGS_SAID = (
    "the labels of a sample are a list of those that apply, by name or number; got a row of 0 and 1, {!r}: "
    "give [name for name, applies in zip(names, row) if applies]"
)


class Categories:
    """One class of C, or any of C labels.

    A category is known by its text: 7 and "7" are one class, called "7" in a `Target`, in a saved model and in a
    prediction, and True is "True". Space around a text and the way its accents are encoded tell no two categories
    apart, nor does it matter whether yes and no are bools or 1 and 0. Categories are ordered as numbers where all are
    whole numbers, else alphabetically.

    Raw truth is a string, a whole number or a bool for `classes`; a collection of those for `labels`, which may be
    empty (none of them applies). None is missing truth. Batches are `label` [B] long, or `labels` [B C] float of 0
    and 1, with `mask` [B].

    >>> truth = Categories("classes")
    >>> truth.fit(["dog", "cat", None, "dog"])
    >>> truth.target().names, truth(["dog", None])
    (('cat', 'dog'), {'label': tensor([1, 0]), 'mask': tensor([ True, False])})
    """

    augments = False

    def __init__(self, kind: str) -> None:
        if kind not in {"classes", "labels"}:
            raise ValueError(f"categories are a target of kind classes or labels; got {kind}")
        self.kind = kind
        self.names: tuple[str, ...] = ()
        self.counts: tuple[int, ...] = ()
        self.samples = 0
        self._index: dict[str, int] = {}

    def fit(self, values: Sequence[Any]) -> None:
        """Learn which categories there are.

        Raises:
            DataError: no truth at all, fewer than two classes, or no label; rows of 0 and 1 in place of labels, or so
                many fractions that they seem to be numbers.
            ValuesError: a value that is no category.
        """
        counts: dict[str, int] = {}
        if self.kind == "labels":
            _refuse_rows_of_flags(values)
        distinct = _distinct(values)
        as_numbers = _bools_are_numbers([value for value, _ in distinct])
        wrong: dict[int, str] = {}
        for value, places in distinct:
            try:
                for name in self._names_of(value):
                    known = TWINS[name] if as_numbers and name in BOOLS else name
                    counts[known] = counts.get(known, 0) + len(places)
            except DataError as error:
                wrong |= dict.fromkeys(places, str(error))
        if wrong:
            raise ValuesError(dict(sorted(wrong.items())))
        samples = sum(len(places) for _, places in distinct)
        if samples == 0:
            raise DataError("no sample of the training split has truth; give some that have")
        least = 2 if self.kind == "classes" else 1
        if len(counts) < least:
            found = f"only {next(iter(counts))}" if counts else "none"
            raise DataError(f"the training split must hold at least {least} {self.kind}; it holds {found}")
        fractions = sum(_FRACTION.fullmatch(name) is not None for name in counts)
        if fractions > MANY_FRACTIONS:
            raise DataError(
                f"the training split has {len(counts)} {self.kind}, {fractions} of them fractions such as "
                f"{next(iter(counts))}; for numbers to be predicted the target is scalar, and as {self.kind} they need "
                "names that are no numbers"
            )
        by_number = all(_WHOLE.fullmatch(name) for name in counts)
        names = sorted(counts, key=lambda name: (int(name) if by_number else 0, name))
        self.restore({"names": names, "counts": [counts[name] for name in names], "samples": samples})

    def __call__(self, values: Sequence[Any], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """The batch of raw values.

        Raises:
            DataError: a category that the training split does not hold.
        """
        mask = torch.tensor([value is not None for value in values], dtype=torch.bool)
        if self.kind == "classes":
            known: dict[tuple[type, Any], int] = {}  # of plain values, most of which occur many times
            label = [0 if value is None else self._label(value, known) for value in values]
            return {"label": torch.tensor(label, dtype=torch.long), "mask": mask}
        labels = torch.zeros(len(values), len(self.names))
        for row, value in zip(labels, values, strict=True):
            if value is not None:
                row[[self._number(name) for name in self._names_of(value)]] = 1
        return {"labels": labels, "mask": mask}

    def target(self) -> Target:
        """The categories, and how often each occurs in the training split."""
        return Target(self.kind, len(self.names), self.names, counts=self.counts, samples=self.samples)

    def inverse(self, prediction: Batch) -> list[Any]:
        """Of each sample the likeliest `label`, or the `labels` above one half; and `probabilities` by name."""
        rows = prediction["probabilities"].tolist()  # B of C
        return [self._answer(dict(zip(self.names, row, strict=True))) for row in rows]

    def columns(self, prediction: Batch) -> dict[str, Sequence[Any]]:
        """The `label` or `labels` of each sample, and a column `probability_NAME` [B] float32 of each category."""
        probabilities = prediction["probabilities"]  # [B C]
        found: dict[str, Sequence[Any]] = {}
        if self.kind == "classes":
            found["label"] = [self.names[number] for number in probabilities.numpy().argmax(1).tolist()]
        else:
            rows = (probabilities > 0.5).tolist()
            found["labels"] = [[name for name, yes in zip(self.names, row, strict=True) if yes] for row in rows]
        each = probabilities.T.contiguous().numpy()  # [C B]
        return found | {f"probability_{name}": row for name, row in zip(self.names, each, strict=True)}

    def state(self) -> dict[str, Any]:
        """The categories, in order."""
        return {"names": list(self.names), "counts": list(self.counts), "samples": self.samples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.names = tuple(state["names"])
        self.counts = tuple(state["counts"])
        self.samples = state["samples"]
        self._index = {name: number for number, name in enumerate(self.names)}

    def _answer(self, probabilities: dict[str, float]) -> dict[str, Any]:
        if self.kind == "classes":
            return {"label": max(probabilities, key=probabilities.__getitem__), "probabilities": probabilities}
        return {"labels": [name for name, p in probabilities.items() if p > 0.5], "probabilities": probabilities}

    def _names_of(self, value: Any) -> set[str]:
        if self.kind == "classes":
            return {category_name(value)}
        single = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0
        if single or not isinstance(value, Collection):
            raise DataError(
                "the labels of a sample are a list of them, which may be empty, None where it is missing; "
                f"got {value!r}"
            )
        names = [category_name(label) for label in (value.tolist() if hasattr(value, "tolist") else value)]
        if len(names) > len(set(names)) and FLAGS.issuperset(names):
            raise DataError(_FLAGS_SAID.format(value))
        return set(names)

    def _label(self, value: Any, known: dict[tuple[type, Any], int]) -> int:
        if type(value) not in {str, int, bool}:
            return self._number(category_name(value))
        key = (type(value), value)
        if (number := known.get(key)) is None:
            number = known[key] = self._number(category_name(value))
        return number

    def _number(self, name: str) -> int:
        number = self._index.get(name)
        if number is None:
            number = self._index.get(TWINS.get(name, name))
        if number is None:
            one = "class" if self.kind == "classes" else "label"
            raise DataError(f"{one} {name!r} does not occur in the training split; {one_of(self.names, name)}")
        return number


class Numbers:
    """C real numbers, in the user's units.

    Raw truth is a number, or a sequence of C numbers; None is missing truth, and NaN is an error. Batches are
    `values` [B C] float32 and `standardised` [B C] float32, both zero where truth is missing, with `mask` [B].

    Numbers that are large beside their spread (a Unix time, a price in cents) lose their spread in float32. So they
    are standardised in float64, before they are rounded, and `inverse` adds the mean in float64.

    >>> truth = Numbers("scalar")
    >>> truth.fit([1.5, None, 2.5])
    >>> truth.target().mean, truth([2.0, None])["values"].shape
    ((2.0,), torch.Size([2, 1]))
    """

    augments = False

    def __init__(self, kind: str) -> None:
        if kind != "scalar":
            raise ValueError(f"numbers are a target of kind scalar; got {kind}")
        self.mean: tuple[float, ...] = ()
        self.std: tuple[float, ...] = ()
        self.samples = 0

    def fit(self, values: Sequence[Any]) -> None:
        """Learn how many numbers there are, their mean and their standard deviation (1 where a number is constant).

        Raises:
            DataError: no truth at all.
            ValuesError: a value that is not finite, or not as many numbers as the first has.
        """
        rows: list[list[float]] = []
        wrong: dict[int, str] = {}
        for place, value in enumerate(values):
            if value is None:
                continue
            try:
                row = numbers_of(value)
                rows.append(_check_size(row, len(rows[0]) if rows else len(row)))
            except DataError as error:
                wrong[place] = str(error)
        if wrong:
            raise ValuesError(wrong)
        if not rows:
            raise DataError("no sample of the training split has truth; give some that have")
        truth = torch.tensor(rows, dtype=torch.float64)  # [N C]
        # Compared, not computed: rounding gives a constant a deviation just above 0, and dividing by that explodes.
        constant = truth.amax(0) == truth.amin(0)
        std = truth.std(0, correction=0).masked_fill(constant, 1.0)
        self.restore({"mean": truth.mean(0).tolist(), "std": std.tolist(), "samples": len(rows)})

    def __call__(self, values: Sequence[Any], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """The batch of raw values.

        Raises:
            DataError: a value that is not finite, or not as many numbers as in the training split.
        """
        size = len(self.mean)
        missing = list(self.mean)
        rows = [missing if value is None else _check_size(numbers_of(value), size) for value in values]
        mask = torch.tensor([value is not None for value in values], dtype=torch.bool)
        truth = torch.tensor(rows, dtype=torch.float64).view(-1, size)  # [B C]
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float64)
        standardised = (truth - mean) / std
        return {
            "values": truth.masked_fill(~mask.unsqueeze(1), 0).float(),
            "standardised": standardised.float(),
            "mask": mask,
        }

    def target(self) -> Target:
        """How many numbers, and their scale over the training split."""
        size = len(self.mean)
        names = ("value",) if size == 1 else tuple(str(number) for number in range(size))
        return Target("scalar", size, names, mean=self.mean, std=self.std, samples=self.samples)

    def inverse(self, prediction: Batch) -> list[Any]:
        """Of each sample its `value`, or its C `values` where there are several.

        They are made of `standardised` [B C] where the prediction has it, in float64, else of `values` [B C].
        """
        rows = self._values(prediction).tolist()  # B of C
        return [{"value": row[0]} if len(row) == 1 else {"values": row} for row in rows]

    def columns(self, prediction: Batch) -> dict[str, Sequence[Any]]:
        """The `value` of each sample, [B] float64, or of several `value_0`, `value_1`, ..."""
        values = self._values(prediction).double().T.contiguous().numpy()  # [C B]
        return {"value": values[0]} if len(values) == 1 else {f"value_{i}": one for i, one in enumerate(values)}

    def _values(self, prediction: Batch) -> Tensor:
        """[B C]: the numbers, where the prediction has it of `standardised`."""
        if "standardised" not in prediction:
            return prediction["values"]
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float64)
        return mean + std * prediction["standardised"].cpu().double()

    def state(self) -> dict[str, Any]:
        """The scale of each number."""
        return {"mean": list(self.mean), "std": list(self.std), "samples": self.samples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.mean = tuple(state["mean"])
        self.std = tuple(state["std"])
        self.samples = state["samples"]


def category_name(value: Any) -> str:
    """The text by which a class or label is known; a number of numpy or torch is the number.

    A text is stripped of the space around it, and composed (NFC): what looks the same is the same.

    Raises:
        DataError: it is no string, whole number or bool, or is blank.
    """
    if getattr(value, "ndim", 0) and math.prod(value.shape) != 1:
        raise DataError(
            f"a class is one string, whole number or bool; got an array {list(value.shape)}: of a one-hot row give "
            "row.argmax(), the number of its class"
        )
    plain = value.item() if hasattr(value, "item") and not isinstance(value, str) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)  # a column of whole numbers that has a gap is read as floats
    name = unicodedata.normalize("NFC", plain).strip() if isinstance(plain, str) else plain
    if not isinstance(name, str | int) or name == "":
        what = "give None where it is missing"
        if isinstance(plain, float) and math.isfinite(plain):
            what = "for numbers to be predicted the target is scalar"
        elif isinstance(plain, list | tuple):
            what = "of a one-hot row give the number of its class, and for several labels a sample the target is labels"
        raise DataError(f"a category is a string that is not empty, a whole number or a bool; got {value!r}: {what}")
    return str(name)


def _refuse_rows_of_flags(values: Sequence[Any]) -> None:
    """Raise where the labels of all samples are rows of 0 and 1, one a label, in place of the labels that apply."""
    rows = [value.tolist() if hasattr(value, "tolist") else value for value in values if value is not None]
    if not rows or not all(isinstance(row, list | tuple) for row in rows):
        return
    lengths = {len(row) for row in rows}
    flags = all(isinstance(flag, int | float) and flag in {0, 1} for row in rows for flag in row)
    if flags and len(lengths) == 1 and min(lengths) > 1:
        raise DataError(_FLAGS_SAID.format(rows[0]))


def _distinct(values: Sequence[Any]) -> list[tuple[Any, Sequence[int]]]:
    """Each different value that is there, with its places; of another type than plain ones each value is its own."""
    places: dict[tuple[type, Any], array[int]] = {}
    others: list[tuple[Any, Sequence[int]]] = []
    for place, value in enumerate(values):
        if type(value) in _PLAIN:
            places.setdefault((type(value), value), array("q")).append(place)
        elif value is not None:
            others.append((value, (place,)))
    return [*((value, found) for (_, value), found in places.items()), *others]


def _bools_are_numbers(values: Sequence[Any]) -> bool:
    """Whether bools stand among whole numbers, so that True is 1 and False is 0."""
    flat = [
        one for value in values for one in (value if isinstance(value, list | tuple | set | frozenset) else [value])
    ]
    plain = [one.item() if getattr(one, "ndim", None) == 0 else one for one in flat]
    kinds = {type(one) for one in plain if not isinstance(one, str)}
    return bool in kinds and (int in kinds or float in kinds)


def numbers_of(value: Any) -> list[float]:
    """The numbers of one raw truth, one or several.

    Raises:
        DataError: one is not finite, or is no number; or there is none.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    several = list(plain) if isinstance(plain, Sequence) and not isinstance(plain, str | bytes) else [plain]
    # The batch holds float32, so its range is that of a number.
    fits = [isinstance(n, int | float) and math.isfinite(n) and abs(n) <= torch.finfo().max for n in several]
    if not several or not all(fits):
        raise DataError(f"truth is a finite number or a list of them, None where it is missing; got {value!r}")
    return [float(number) for number in several]


def _check_size(row: list[float], size: int) -> list[float]:
    if len(row) != size:
        raise DataError(f"every sample has as many numbers of truth as the first, {size}; got {len(row)}: {row}")
    return row
