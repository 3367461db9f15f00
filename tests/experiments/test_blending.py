"""A blend: its weights hang on validation alone, and its cost is that of all of its models."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import mmkit
from mmkit.experiments import blending
from mmkit.experiments.blending import FOLDER, blended, greedy, joint_cost, joint_speed, library
from mmkit.experiments.run import Run
from mmkit.features.sharing import Shared
from mmkit.records.file import read_records
from mmkit.records.record import Cost, Speed
from mmkit.registry.catalog import installed
from mmkit.report.summary import best, rows
from mmkit.report.verdict import verdict


def loss(truth):
    def score(mean):
        return float(np.log(mean[np.arange(len(truth)), truth]).mean())

    return score


def random_models(seed, models=4, samples=40, classes=3):
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.ones(classes), (models, samples)), draw.integers(classes, size=samples)


class TestGreedy:
    @pytest.mark.parametrize("seed", range(5))
    def test_no_single_addition_makes_a_step_better(self, seed):
        # The slow, obvious form: of each length the best extension of the one before, by trying all.
        models, truth = random_models(seed)
        score = loss(truth)
        path: list[int] = []
        best_score, found = -np.inf, [0]
        for _ in range(20):
            path = max(([*path, at] for at in range(len(models))), key=lambda one: score(models[one].mean(0)))
            if score(models[path].mean(0)) > best_score:
                best_score, found = score(models[path].mean(0)), path
        assert greedy(list(models), score) == [found.count(at) for at in range(len(models))]

    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_never_behind_the_best_model_alone(self, seed):
        models, truth = random_models(seed)
        score, counts = loss(truth), np.array(greedy(list(models), loss(truth)))
        assert score(np.tensordot(counts / counts.sum(), models, 1)) >= max(map(score, models))

    def test_two_that_are_wrong_in_different_places_are_mixed(self):
        truth = np.array([0, 0, 1, 1])
        one = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.8, 0.2]])
        other = np.array([[0.2, 0.8], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        weak = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]])
        counts = greedy([one, weak, other], loss(truth))
        assert counts[0] == counts[2] > 0
        of_all = [
            loss(truth)(np.average([one, weak, other], 0, weights))
            for weights in itertools.product([0, 1], repeat=3)
            if any(weights)
        ]
        assert loss(truth)(np.average([one, weak, other], 0, counts)) == pytest.approx(max(of_all))


class TestCost:
    def test_figures_add_up(self):
        assert joint_cost([Cost(10, 5, 100.0), Cost(20, 20, 50.0, ["x"])]) == Cost(30, 25, 150.0, ["x"])
        assert joint_cost([Cost(10, None, None), Cost(20, 20, 50.0)]) == Cost(30)
        assert joint_cost([Cost(10), None]) is None

    def test_the_time_of_a_sample_is_the_sum_of_times(self):
        one, other = Speed(100.0, 50.0, {"p50": 2.0}, 64, 32), Speed(25.0, 50.0, {"p50": 1.5}, 64, 32)
        found = joint_speed([one, other])
        assert found.inference_samples_per_s == pytest.approx(1 / (1 / 100 + 1 / 25))
        assert found.train_samples_per_s == pytest.approx(25.0)
        assert found.latency_ms == {"p50": 3.5}
        assert joint_speed([one, None]) is None


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A suite with a search within a budget; there is time for all of it."""
    return mmkit.bench(
        task="synthetic-redundant:train=64", fusion=["concat", "late", "sum"], seeds=2, budget="1h", cost=False,
        training={"epochs": 3}, options=["train.rates=[0.002, 0.01]"], progress=False,
        out=tmp_path_factory.mktemp("searched"), device="cpu",
    )  # fmt: skip


@pytest.fixture
def members(searched):
    """The models that can be blended."""
    known = read_records(searched.folder / "records.jsonl").values()
    done = [(Run.of(record.run), record) for record in known if record.purpose in {"comparison", "search"}]
    return library(done, searched.folder)


class TestBlended:
    def test_weights_are_the_same_whatever_test_holds(self, members):
        splits = members[0].run.splits(installed())
        found = blended(members, splits, Shared())
        others = [
            replace(one, answers={**one.answers, "test": np.roll(one.answers["test"], at, 0)})
            for at, one in enumerate(members, start=1)
        ]
        other = blended(others, splits, Shared())
        assert found.chosen == other.chosen
        assert found.validation == other.validation
        assert found.metrics != other.metrics

    def test_test_is_measured_once_and_after_the_weights(self, members, monkeypatch):
        asked = []
        metrics = blending._Truths.metrics
        monkeypatch.setattr(
            blending._Truths,
            "metrics",
            lambda self, part, *rest: asked.append(part) or metrics(self, part, *rest),
        )
        blended(members, members[0].run.splits(installed()), Shared())
        assert asked.count("test") == 1
        assert asked[-1] == "test"

    def test_its_answers_are_the_weighted_mean(self, members):
        splits = members[0].run.splits(installed())
        found = blended(members, splits, Shared())
        of = {one.record.id: one.answers["test"] for one in members}
        mean = sum(weight * of[id_] for id_, weight in found.chosen["weights"].items())
        truth = [int(one) for one in splits("test").truth]
        names = [int(name) for name in found.names]
        right = np.array([names[at] for at in mean.argmax(1)]) == truth
        assert found.metrics["accuracy"] == pytest.approx(right.mean())
        assert sum(found.chosen["weights"].values()) == pytest.approx(1)

    def test_answers_of_a_model_are_those_that_its_record_measured(self, members):
        splits = members[0].run.splits(installed())
        for one in members:
            names = [int(name) for name in one.record.names]
            truth = [int(each) for each in splits("validation").truth]
            right = np.array([names[at] for at in one.answers["validation"].argmax(1)]) == truth
            assert one.record.validation["accuracy"] == pytest.approx(right.mean())

    def test_one_model_alone_is_no_blend(self, members):
        assert blended(members[:1], members[0].run.splits(installed()), Shared()) is None

    def test_a_model_without_its_answers_is_left_out(self, searched, members):
        done = [(one.run, one.record) for one in members]
        (searched.folder / FOLDER / f"{members[0].record.id}.npz").rename(searched.folder / "away.npz")
        try:
            assert [one.record.id for one in library(done, searched.folder)] == [one.record.id for one in members[1:]]
        finally:
            (searched.folder / "away.npz").rename(searched.folder / FOLDER / f"{members[0].record.id}.npz")


def test_a_blend_is_a_row_and_never_chosen(searched):
    blends = [row for row in searched.rows if row.blend]
    for row in blends:
        assert row.yardstick
        assert row is not best(searched.rows)
    assert searched.verdict.fusion.fusion in {"concat", "late", "sum"}
    better = [
        replace(record, metrics=dict.fromkeys(record.metrics, 1.0), validation={"accuracy": 1.0, "log_loss": 0.0})
        if record.purpose == "blend"
        else record
        for record in searched.records
    ]
    assert verdict(rows(better)).document() == verdict(rows(searched.records)).document()
