"""The learning rate of each combination: chosen on validation, by search runs that read no test and are found again."""

import json
import shutil
from typing import ClassVar

import pytest

import mmkit
from mmkit.data.splits import Splits
from mmkit.errors import UsageError
from mmkit.experiments.costs import Costs
from mmkit.experiments.plan import plan
from mmkit.experiments.search import search, search_runs
from mmkit.records.record import Record, SampleCounts
from mmkit.registry.catalog import installed
from mmkit.tasks.synthetic import SyntheticUnique
from mmkit.training.optimisation import Search

TASK = "synthetic-unique:train=48"
SEED = 12_345
RATES = list(Search().rates)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda combinations, *_, **__: Costs({}, {}))


class Fixing(SyntheticUnique):
    """A task that recommends a learning rate."""

    def __init__(self):
        super().__init__(train=48)
        self.training = {"lr": 3e-3}


def planned(**rest):
    return plan(installed(), **{"task": TASK, "fusions": ["concat"], "baselines": False, **rest})


def answers(run, score, *, status="ok", improving=False, samples=2000):
    """The record of a search run with a given validation accuracy."""
    where = {"machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    return Record(
        id=f"{run.training.lr:g}/{run.training.epochs}", purpose="search", status=status, task="", encoders={},
        fusion="", head="", objectives=[], seed=run.seed, metric="accuracy",
        validation={"accuracy": score, "log_loss": 1.0}, still_improving=improving,
        samples=SampleCounts(48, samples, None, {}), run={}, device="", precision="", **where,
    )  # fmt: skip


def searched(asked, scores, **rest):
    """What a search chooses where accuracy on validation is given by (rate, epochs), and the runs that it asked for."""
    runs = []

    def attempt(run):
        runs.append(run)
        score, status, improving = scores[run.training.lr, run.training.epochs]
        return answers(run, score, status=status, improving=improving, **rest)

    chosen = asked.combinations[0]
    return search(asked, [chosen], lambda several: [attempt(run) for run in several], SEED).get(chosen.key), runs


class TestChoice:
    def test_the_rate_with_the_best_validation_is_taken_and_the_rest_is_told(self):
        asked = planned()
        scores = {(5e-4, 40): (0.6, "ok", False), (2e-3, 40): (0.8, "ok", False), (1e-2, 40): (0.7, "ok", True)}
        (training, told), runs = searched(asked, scores)
        assert [run.training.lr for run in runs] == RATES
        assert {run.seed for run in runs} == {SEED}
        assert (training.lr, training.epochs, told.lr, told.end) == (2e-3, 40, 2e-3, None)
        assert (told.metric, told.seed) == ("accuracy", SEED)
        assert [(one.lr, one.score) for one in told.tried] == [(5e-4, 0.6), (2e-3, 0.8), (1e-2, 0.7)]

    @pytest.mark.parametrize(("best", "end"), [(5e-4, "lowest"), (1e-2, "highest")])
    def test_a_rate_at_an_end_of_the_list_is_said(self, best, end):
        scores = {(rate, 40): (0.9 if rate == best else 0.5, "ok", False) for rate in RATES}
        assert searched(planned(), scores)[0][1].end == end

    def test_the_only_rate_of_a_list_is_at_no_end(self):
        (training, told), _ = searched(planned(training={"rates": [3e-3]}), {(3e-3, 40): (0.5, "ok", False)})
        assert (training.lr, told.end) == (3e-3, None)

    def test_a_rate_that_fails_is_left_and_none_is_chosen_where_all_fail(self):
        scores = {(rate, 40): (0.9, "ok" if rate == 5e-4 else "failed", False) for rate in RATES}
        assert searched(planned(), scores)[0][0].lr == 5e-4
        assert searched(planned(), dict.fromkeys(scores, (0.0, "failed", False)))[0] is None

    def test_of_equal_rates_the_lower_is_taken(self):
        assert searched(planned(), {(rate, 40): (0.5, "ok", False) for rate in RATES})[0][0].lr == 5e-4


class TestLonger:
    SCORES: ClassVar = {(5e-4, 40): (0.6, "ok", False), (2e-3, 40): (0.8, "ok", True), (1e-2, 40): (0.7, "ok", False)}

    @pytest.mark.parametrize(("score", "epochs"), [(0.9, 80), (0.8, 40), (0.7, 40)])
    def test_the_best_rate_is_tried_twice_as_long_and_that_is_taken_if_it_is_better(self, score, epochs):
        (training, told), runs = searched(planned(), {**self.SCORES, (2e-3, 80): (score, "ok", True)})
        assert [(run.training.lr, run.training.epochs) for run in runs][3:] == [(2e-3, 80)]
        assert runs[3].training.min_steps == 2 * runs[0].training.min_steps
        assert (training.lr, training.epochs, told.epochs) == (2e-3, epochs, epochs)

    def test_a_given_number_of_epochs_is_kept(self):
        asked = planned(training={"epochs": 40})
        (training, _), runs = searched(asked, self.SCORES)
        assert (len(runs), training.epochs) == (3, 40)
        assert search_runs(asked) == (3, 3)
        assert search_runs(planned()) == (3, 4)


class TestFixed:
    @pytest.mark.parametrize(
        "given",
        [{"training": {"lr": 0.1}}, {"options": ["train.lr=0.1"]}, {"task": Fixing}, {"search": False}],
    )
    def test_a_given_rate_or_that_of_the_task_is_not_searched(self, given):
        asked = planned(**given)
        assert asked.rates == ()
        assert planned(task=Fixing).training.lr == 3e-3
        assert search_runs(asked) == (0, 0)

    def test_rates_override_what_a_task_recommends(self):
        assert planned(task=Fixing, training={"rates": [1e-2, 1e-3]}).rates == (1e-3, 1e-2)
        assert planned(options=["train.rates=[0.1]"]).rates == (0.1,)

    def test_what_is_said_later_overrides_rate_and_rates(self):
        assert planned(training={"rates": [0.1]}, options=["train.lr=0.2"]).rates == ()
        assert planned(training={"rates": [0.1]}, options=["train.lr=0.2"]).training.lr == 0.2
        assert planned(training={"lr": 0.2}, options=["train.rates=[0.1]"]).rates == (0.1,)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"training": {"lr": 0.1, "rates": [0.1]}}, "train.rates are several to choose from; give one of them"),
            ({"training": {"rates": []}}, "option rates takes"),
            ({"training": {"rates": [-1.0]}}, "option rates takes"),
            ({"training": {"rate": [1.0]}}, "train has no option rate; did you mean rates"),
            ({"search": False, "training": {"rates": [0.1]}}, "train has no option rates"),
        ],
    )
    def test_what_is_no_list_of_rates_is_refused(self, given, said):
        with pytest.raises(UsageError, match=said):
            planned(**given)


class TestSuite:
    SMALL: ClassVar = {"rates": [1e-3, 1e-2], "epochs": 2}

    def bench(self, folder, **rest):
        return mmkit.bench(
            **{
                "task": TASK,
                "fusion": "concat",
                "seeds": 2,
                "training": self.SMALL,
                "device": "cpu",
                "out": folder,
                **rest,
            }
        )

    @staticmethod
    def lines(folder):
        return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]

    def test_search_runs_are_records_without_test_and_no_rows(self, tmp_path):
        suite = self.bench(tmp_path)
        found = self.lines(tmp_path)
        of = {purpose: [one for one in found if one["purpose"] == purpose] for purpose in ("search", "comparison")}
        assert (len(of["search"]), len(of["comparison"]), len(found)) == (6, 6, 12)
        for one in of["search"]:
            assert (one["metrics"], one["scores"], one["confusion"], one["samples"]["test"]) == ({}, None, None, None)
            assert (one["phase"], one["index"], one["base"]) == ("search", 0, 0)
        (seed,) = {one["seed"] for one in of["search"]}
        assert len({record.seed for record in suite.records} - {seed}) == 2
        assert {(record.phase, record.index) for record in suite.records} == {("confirm", 0), ("confirm", 1)}
        assert [len(row.records) for row in suite.rows] == [2, 2, 2]
        for record in suite.records:
            losses = {
                one["run"]["training"]["lr"]: one["validation"]["log_loss"]
                for one in of["search"]
                if one["fusion"] == record.fusion
            }
            best = min(losses, key=losses.get)  # of 256 samples
            assert record.run["training"]["lr"] == record.search.lr == best
            assert {one.lr: one.score for one in record.search.tried} == losses
            assert {one.id for one in record.search.tried} <= {one["id"] for one in of["search"]}

    def test_test_is_not_read_before_a_comparison(self, tmp_path, monkeypatch):
        asked, decoded = [], Splits.__call__  # what a task gives is hashed before, and not decoded
        monkeypatch.setattr(Splits, "__call__", lambda self, name: asked.append(name) or decoded(self, name))
        monkeypatch.setattr("mmkit.experiments.steps.Steps.run", _stop)
        with pytest.raises(KeyboardInterrupt):
            self.bench(tmp_path)
        assert len(self.lines(tmp_path)) == 6
        assert "test" not in asked

    @pytest.mark.full
    def test_a_suite_that_was_stopped_finds_its_search_again(self, tmp_path, monkeypatch):
        whole = self.bench(tmp_path / "whole")
        every = (tmp_path / "whole" / "records.jsonl").read_bytes().splitlines(keepends=True)
        for kept in (1, 4, 7):
            folder = tmp_path / str(kept)
            folder.mkdir()
            (folder / "records.jsonl").write_bytes(b"".join(every[:kept]))
            shutil.copytree(tmp_path / "whole" / "scores", folder / "scores")
            again = self.bench(folder)
            assert (folder / "records.jsonl").read_bytes().splitlines(keepends=True)[:kept] == every[:kept]
            assert len(self.lines(folder)) == len(every)
            assert [(r.id, r.metrics, r.search) for r in again.records] == [
                (r.id, r.metrics, r.search) for r in whole.records
            ]
        # A whole one trains nothing, not even a rate that failed beside others.
        monkeypatch.setattr("mmkit.experiments.steps.execute", lambda *_, **__: pytest.fail("trained again"))
        assert len(self.bench(tmp_path / "whole").records) == 6

    def test_a_longer_list_tries_only_the_new_rate(self, tmp_path):
        self.bench(tmp_path)
        before = len(self.lines(tmp_path))
        self.bench(tmp_path, training={**self.SMALL, "rates": [1e-4, 1e-3, 1e-2]})
        new = [one for one in self.lines(tmp_path)[before:] if one["purpose"] == "search"]
        assert [one["run"]["training"]["lr"] for one in new] == [1e-4] * 3

    def test_a_given_rate_makes_no_search(self, tmp_path):
        self.bench(tmp_path, training={"lr": 1e-3, "epochs": 2})
        assert {one["purpose"] for one in self.lines(tmp_path)} == {"comparison"}
        assert {one["search"] for one in self.lines(tmp_path)} == {None}


def _stop(self, costs, *, save):
    """In place of the runs that are compared."""
    raise KeyboardInterrupt


def test_of_several_fusions_the_best_training_of_a_search_is_the_first_run_of_the_race(tmp_path):
    suite = TestSuite().bench(tmp_path, fusion=["concat", "sum"], seeds=1)
    found = TestSuite.lines(tmp_path)
    searched, compared = ([one for one in found if one["purpose"] == purpose] for purpose in ("search", "comparison"))
    assert len(searched) == 8  # two rates of two fusions and two inputs
    again = {one["id"] for one in searched} & {one["id"] for one in compared}
    assert len(again) == 2
    raced = [record for record in suite.records if record.phase == "search"]
    assert [record.index for record in raced] == [0, 0, 1, 1]
    assert {record.id for record in raced if record.index == 0} == again
    assert all(record.metrics == {} for record in raced)  # test is read for what is confirmed
    assert len(found) == 8 + 2 + 2 + 3
