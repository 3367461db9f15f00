"""What inputs tell: each figure against its definition, each word against a structure that is known."""

from __future__ import annotations

import json
from html import escape

import numpy as np
import pytest
from scipy import stats

import mmkit
from mmkit.records.folds import join
from mmkit.records.record import Fold
from mmkit.records.scores import Scores
from mmkit.records.verdicts import Terms
from mmkit.report.document import document
from mmkit.report.information import Bits, combined, structure
from mmkit.report.page.page import page
from mmkit.report.summary import rows
from tests.report.records import record


def of(fusion, means, *, samples=400, spread=0.3, of_seeds=0.01, number=0, inputs=("left", "right")):
    """Runs whose bits lie around a mean; what samples have in common is shared by all of them."""
    shared = np.random.default_rng(7).normal(size=samples) * spread
    draw = np.random.default_rng([number, len(fusion)])
    names = [fusion.removeprefix("only:")] if fusion.startswith("only:") else inputs
    return [
        record(
            fusion, seed, 0.9, encoders=dict.fromkeys(names, "cnn"),
            bits=Scores.of((means + shared + draw.normal() * of_seeds).tolist()),
        )
        for seed in range(5)
    ]  # fmt: skip


def suite(alone, joint, **given):
    names = list(alone)
    singles = [one for at, name in enumerate(names) for one in of(f"only:{name}", alone[name], number=at, **given)]
    return rows([*of("late", joint, inputs=names, **given), *singles])


@pytest.mark.parametrize(
    ("alone", "joint", "words"),
    [
        ({"left": 1.0, "right": 1.0}, 1.0, ["redundant"]),
        ({"left": 1.0, "right": 1.0}, 2.0, ["unique"]),
        ({"left": 0.0, "right": 0.0}, 1.0, ["synergistic"]),
        ({"left": 1.0, "right": 0.7}, 1.0, ["redundant", "unique"]),
        ({"left": 1.0, "right": 0.0}, 1.0, ["unique"]),
        ({"left": 0.2, "right": 0.2}, 1.5, ["synergistic", "unique"]),
        ({"left": 0.0, "right": 0.0}, 0.0, []),
        ({"left": 1.0, "right": 1.0, "top": 1.0}, 1.0, ["redundant"]),
        ({"left": 1.0, "right": 1.0, "top": 1.0}, 3.0, ["unique"]),
        ({"left": 0.0, "right": 0.0, "top": 0.0}, 1.0, ["synergistic"]),
    ],
)
def test_words_are_those_of_the_structure(alone, joint, words):
    found = structure(suite(alone, joint, spread=0.05))
    assert found.words == words
    said = found.sentence()
    assert all(word in said for word in words)
    assert ("Too little can be seen" in said) == (not words)
    assert found.overlap.value == pytest.approx(sum(alone.values()) - joint, abs=0.15)


def test_the_parts_add_up_to_what_inputs_tell():
    found = structure(suite({"left": 1.0, "right": 0.4}, 1.2))
    left, right = (found.alone[name].value for name in ("left", "right"))
    redundant = found.overlap.value
    assert redundant > 0
    assert found.unique["left"].value + redundant == pytest.approx(left)
    assert found.unique["right"].value + redundant == pytest.approx(right)
    assert sum(one.value for one in found.unique.values()) + redundant == pytest.approx(found.joint.value)


def test_without_overlap_what_is_unique_is_what_each_tells():
    found = structure(suite({"left": 0.5, "right": 0.4}, 1.2))
    assert found.overlap.value < 0
    assert {name: one.value for name, one in found.unique.items()} == {n: o.value for n, o in found.alone.items()}
    total = sum(one.value for one in found.unique.values()) - found.overlap.value
    assert total == pytest.approx(found.joint.value)


def test_the_interval_of_one_mean_is_students_over_samples_and_seeds():
    values = np.random.default_rng(0).normal(size=(5, 300)) + np.random.default_rng(1).normal(size=(5, 1))
    found = combined({"a": (1.0, values)})
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    left = (rest**2).sum() / (4 * 299)
    seeds = stats.t.ppf(0.975, 4) ** 2 * max(values.mean(1).var(ddof=1) - left / 300, 0) / 5
    samples = stats.t.ppf(0.975, 299) ** 2 * values.mean(0).var(ddof=1) / 300
    half = np.sqrt(seeds + samples)
    assert (found.value, found.low, found.high) == pytest.approx(
        (values.mean(), values.mean() - half, values.mean() + half)
    )


def test_what_all_samples_share_does_not_widen_a_difference():
    values = np.random.default_rng(0).normal(size=(1, 300)) * np.ones((5, 1))
    noisy = values + np.random.default_rng(1).normal(size=(5, 300)) * 0.01
    found = combined({"a": (1.0, values), "b": (-1.0, noisy)})
    assert found.high - found.low < 0.01
    assert combined({"a": (1.0, values)}).high - combined({"a": (1.0, values)}).low > 0.1


def test_an_interval_holds_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        shared, parts = draw.normal(size=60), {}
        for name, weight in (("a", 1.0), ("b", 1.0), ("c", -1.0)):
            of_run = draw.normal(size=(5, 1)) * 0.2 + draw.normal(size=(5, 60)) * 0.5
            parts[name] = (weight, of_run + shared)
        found = combined(parts)
        held += found.low <= 0 <= found.high
    assert 0.93 <= held / 400 <= 1


def test_groups_widen_what_they_share():
    labels = np.repeat(np.arange(10), 40)
    shared = np.random.default_rng(0).normal(size=10)[labels]
    values = shared + np.random.default_rng(1).normal(size=(5, 400)) * 0.1
    plain, grouped = combined({"a": (1.0, values)}), combined({"a": (1.0, values)}, [labels])
    assert grouped.high - grouped.low > 3 * (plain.high - plain.low)
    one = combined({"a": (1.0, values)}, [np.zeros(400)])
    assert (one.low, one.high) == (None, None)


def test_nothing_has_no_sign():
    assert Bits(-0.001, -0.012, 0.004).text() == "0.00 (-0.01 to 0.00)"
    assert Bits(-0.0, None, None).text() == "0.00"


def test_one_seed_has_no_interval_and_words_all_the_same():
    records = [of(fusion, mean)[0] for fusion, mean in (("late", 1.0), ("only:left", 0.0), ("only:right", 0.0))]
    found = structure(rows(records))
    assert (found.joint.low, found.joint.high) == (None, None)
    assert "synergistic" in found.words


@pytest.mark.parametrize("lacking", ["late", "only:left", "only:right"])
def test_where_one_has_no_bits_nothing_is_said(lacking):
    found = [one for row in suite({"left": 1.0, "right": 1.0}, 1.0) for one in row.records if row.fusion != lacking]
    assert structure(rows(found)) is None


def test_it_stands_in_the_document():
    records = [one for row in suite({"left": 1.0, "right": 1.0}, 2.0) for one in row.records]
    told = json.loads(json.dumps(document(records, "runs", Terms())))["information"]
    assert told["words"] == ["unique"]
    assert told["sentence"] == structure(rows(records)).sentence()
    assert told["alone"]["left"]["low"] < told["alone"]["left"]["value"] < told["alone"]["left"]["high"]


def test_of_folds_the_bits_are_joined():
    nan = float("nan")
    parts = [
        record("late", 0, 0.9, fold=Fold(number, 2), scores=[1.0, 1.0], bits=Scores.of(values))
        for number, values in ((1, [0.5, nan, nan, 2.0]), (2, [nan, 1.0, 0.25, nan]))
    ]
    assert list(join(parts).bits) == [0.5, 1.0, 0.25, 2.0]


@pytest.mark.full
def test_the_structure_of_a_task_comes_out(tmp_path):
    found = mmkit.bench(
        task="synthetic-xor:modality=table", fusion="tensor", protocol="full", seeds=3,
        training={"epochs": 30, "lr": 0.005},
        cost=False, yardsticks=False, device="cpu", out=tmp_path, progress=False,
    )  # fmt: skip
    told = structure(found.rows, found.terms)
    assert told.words == ["synergistic"]
    assert escape(told.sentence(), quote=False) in page(tmp_path)
