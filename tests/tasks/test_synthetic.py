"""An oracle that reads the hidden symbols back from the raw values reaches the stated best score; nobody else could."""

import itertools
import math
from collections import Counter, defaultdict
from typing import Any

import pytest
import torch

from mmkit.tasks.synthetic import SyntheticNoise, SyntheticRedundant, SyntheticRegression, SyntheticUnique, SyntheticXor

CLASSIFYING = [SyntheticNoise, SyntheticRedundant, SyntheticUnique, SyntheticXor]
ALL: list[Any] = [*CLASSIFYING, SyntheticRegression]
SPLITS = ("train", "validation", "test")
CARRIERS = ("series", "table", "text")
GREEK = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    *("iota", "kappa", "lambda", "mu", "nu", "xi", "omicron", "pi"),
]


def symbol_in(value):
    """The symbol of a raw value, read as someone would who knows how it was made."""
    if isinstance(value, torch.Tensor):
        return int(value.amax(0).argmax())
    if isinstance(value, dict):
        return round(value["number"])
    return next(GREEK.index(word) for word in value.split() if word in GREEK)


def level_in(value):
    """The number between -1 and 1 of a raw value."""
    if isinstance(value, torch.Tensor):
        return float(value[0, 0])
    if isinstance(value, dict):
        return value["number"]
    return -1 + (GREEK.index(next(word for word in value.split() if word in GREEK)) + 0.5) / 8


def symbols(samples):
    """The symbols of each sample, None where missing."""
    return [
        tuple(None if value is None else symbol_in(value) for value in row)
        for row in zip(*samples.inputs.values(), strict=True)
    ]


def accuracy(known, truth):
    """Of the best rule there is for this table of what is known and what is true; ties cost nothing."""
    seen = defaultdict(Counter)
    for row, label in zip(known, truth, strict=True):
        seen[row][label] += 1
    return sum(counts.most_common(1)[0][1] for counts in seen.values()) / len(truth)


@pytest.mark.parametrize("modality", CARRIERS)
@pytest.mark.parametrize("kind", CLASSIFYING)
def test_the_oracle_reaches_the_best_accuracy(kind, modality):
    task = kind(modality=modality, train=800)
    samples = task.split("train")
    assert set(task.inputs.values()) == {modality}
    assert accuracy(symbols(samples), samples.truth) == pytest.approx(task.best, abs=0.03)


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize(
    ("kind", "alone"), [(SyntheticRedundant, 0.9), (SyntheticUnique, None), (SyntheticXor, 0.5)], ids=str
)
def test_what_fewer_inputs_tell_is_as_documented(kind, alone, inputs):
    samples = kind(inputs=inputs, modality="table", train=1920).split("train")
    rows = symbols(samples)
    for size in range(1, inputs):
        for kept in itertools.combinations(range(inputs), size):
            expected = 2.0 ** (size - inputs) if alone is None else alone
            found = accuracy([tuple(row[place] for place in kept) for row in rows], samples.truth)
            assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("inputs", [2, 3])
def test_all_inputs_but_the_first_are_noise(inputs):
    samples = SyntheticNoise(inputs=inputs, modality="table", train=6000).split("train")
    rows = symbols(samples)
    assert accuracy([row[0] for row in rows], samples.truth) == pytest.approx(0.9, abs=0.02)
    assert accuracy([row[1:] for row in rows], samples.truth) == pytest.approx(0.25, abs=0.04)
    for column in zip(*rows, strict=True):
        assert all(abs(count / 6000 - 0.25) < 0.03 for count in Counter(column).values())


@pytest.mark.parametrize("kind", CLASSIFYING)
@pytest.mark.parametrize("inputs", [2, 3])
def test_the_best_accuracy_with_missing_values(kind, inputs):
    task = kind(inputs=inputs, modality="table", missing=0.3, train=6000)
    samples = task.split("train")
    assert accuracy(symbols(samples), samples.truth) == pytest.approx(task.best, abs=0.02)


@pytest.mark.parametrize("inputs", [2, 5])
def test_classes_are_balanced(inputs):
    for kind, classes in (
        (SyntheticNoise, 4),
        (SyntheticRedundant, 4),
        (SyntheticUnique, 2**inputs),
        (SyntheticXor, 2),
    ):
        task = kind(inputs=inputs, modality="text")
        for split in SPLITS:
            counts = Counter(task.split(split).truth)
            assert len(counts) == classes
            assert len(set(counts.values())) == 1


@pytest.mark.parametrize("modality", CARRIERS)
@pytest.mark.parametrize("inputs", [2, 3])
def test_the_oracle_reaches_the_best_rmse(inputs, modality):
    task = SyntheticRegression(inputs=inputs, modality=modality, train=800)
    assert task.best == pytest.approx(0.1)
    assert rmse(task.split("train")) == pytest.approx(task.best, rel=0.08)


@pytest.mark.parametrize("missing", [0.2, 0.6])
def test_the_best_rmse_with_missing_values(missing):
    task = SyntheticRegression(inputs=2, modality="table", missing=missing, train=8000)
    assert rmse(task.split("train")) == pytest.approx(task.best, rel=0.05)


def rmse(samples):
    """Of the product over what is there; a factor that is missing is 1 in expectation."""
    squares = [
        (truth - math.prod(1 + math.sin(math.pi * level_in(value) / 2) for value in row if value is not None)) ** 2
        for *row, truth in zip(*samples.inputs.values(), samples.truth, strict=True)
    ]
    return math.sqrt(sum(squares) / len(squares))


@pytest.mark.parametrize("kind", ALL)
def test_missing_is_as_frequent_as_asked_in_every_input_and_class(kind):
    samples = kind(modality="table", missing=0.25, train=8000).split("train")
    truth = [label if isinstance(label, str) else str(label > 1) for label in samples.truth]
    for column in samples.inputs.values():
        for label in set(truth):
            gone = [value is None for value, other in zip(column, truth, strict=True) if other == label]
            deviation = math.sqrt(0.25 * 0.75 / len(gone))
            assert abs(sum(gone) / len(gone) - 0.25) < 4 * deviation


@pytest.mark.parametrize("kind", ALL)
def test_a_value_depends_on_its_number_alone(kind):
    """More samples, or missing ones, leave all other values as they were; another seed changes them."""
    few, many = kind(modality="table", train=32), kind(modality="table", train=64, missing=0.5)
    one, other = few.split("train"), many.split("train")
    assert one.ids == other.ids[:32]
    assert one.truth == other.truth[:32]
    for name, column in one.inputs.items():
        pairs = list(zip(column, other.inputs[name], strict=False))
        assert all(value == again for value, again in pairs if again is not None)
        assert any(again is None for _, again in pairs)
    assert kind(modality="table", train=32, split=1).split("train").inputs != one.inputs


@pytest.mark.parametrize("kind", ALL)
def test_splits_differ_and_share_no_id(kind):
    task = kind(modality="table")
    parts = [task.split(split) for split in SPLITS]
    assert [len(part) for part in parts] == [512, 256, 512]
    assert len({item for part in parts for item in part.ids}) == 512 + 256 + 512
    rows = [tuple(sorted(row.items())) for part in parts for row in part.inputs["left"]]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("kind", ALL)
def test_it_says_that_it_is_synthetic(kind):
    assert kind.description.startswith("Synthetic")
    assert kind.__doc__.startswith("Synthetic")


def test_values_are_what_a_series_holds_in_memory():
    for kind in ALL:
        for value in kind().split("validation").inputs["right"]:
            assert value.dtype == torch.float32
            assert 8 <= len(value) <= 23


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 6}, "inputs is 6; expected 2 to 5"),
        ({"modality": "smell"}, "modality is smell; expected series, table or text"),
        ({"missing": 1.0}, "missing is 1.0; expected 0 or more, and less than 1"),
        ({"train": 8}, "train is 8; expected 32 or more"),
        ({"split": -1}, "split is -1; expected 0 or more"),
    ],
)
@pytest.mark.parametrize("kind", ALL)
def test_what_cannot_be_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)
