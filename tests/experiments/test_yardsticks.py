"""Yardsticks, against scikit-learn on the very numbers that the frozen encoders give."""

import json
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

import mmkit
from mmkit.contract import Features, Samples
from mmkit.errors import UnavailableError
from mmkit.experiments.costs import Costs
from mmkit.experiments.yardstick_models import PENALTIES, ROUNDS, STEPS, STRENGTHS, boosting
from mmkit.transforms.table import TableTransform

SIZES = {"train": 60, "validation": 40, "test": 50}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda combinations, *_, **__: Costs({}, {}))


class Plain:
    """Series of one step to vectors, unchanged."""

    augments = False

    def fit(self, values):
        pass

    def __call__(self, values, generator=None):
        rows = [torch.zeros(3) if value is None else value[0] for value in values]
        return {"x": torch.stack(rows), "mask": torch.tensor([value is not None for value in values])}

    def state(self):
        return {}

    def restore(self, state):
        pass


class Given(torch.nn.Module):
    """A frozen encoder whose features are the values."""

    reads = Plain
    frozen = True

    def __init__(self, transform):
        super().__init__()
        self.width = 3
        self.register_buffer("one", torch.ones(()))

    def forward(self, batch):
        return Features.of(batch["x"] * self.one, batch["mask"])


def drawn(name):
    """Two inputs [N 3] and a class of three, which both tell of with much noise; a number besides."""
    generator = np.random.default_rng(list(SIZES).index(name))
    count = SIZES[name]
    label = np.arange(count) % 3
    left, right = (np.eye(3)[label] + generator.normal(size=(count, 3)) for _ in range(2))
    return left.astype(np.float32), right.astype(np.float32), label


class Task:
    inputs: ClassVar = {"left": "series", "right": "series"}
    target, metric, encoders, training = "classes", "accuracy", {}, {}

    def truth(self, label, left):
        return ["abc"[one] for one in label]

    def split(self, name):
        left, right, label = drawn(name)
        columns = {"left": torch.from_numpy(left)[:, None], "right": torch.from_numpy(right)[:, None]}
        ids = [f"{name}-{i}" for i in range(len(label))]
        return Samples(ids, {n: list(c) for n, c in columns.items()}, self.truth(label, left))


class Numbers(Task):
    target, metric = "scalar", "rmse"

    def truth(self, label, left):
        return [1000.0 + 5.0 * one for one in label.tolist()]


class Labels(Task):
    target = "labels"

    def truth(self, label, left):
        return [["abc"[one]] for one in label]


def bench(folder, task=Task, **rest):
    asked = {"encoders": {"series": Given}, "fusion": "concat", "training": {"epochs": 1, "lr": 2e-3}, "seeds": 1}
    return mmkit.bench(task=task, **{**asked, **rest}, device="cpu", out=folder, cache=folder / "cache", progress=False)


def beside(suite):
    """The records of yardsticks, by name."""
    return {r.fusion.removeprefix("yardstick: "): r for r in suite.records if r.purpose == "yardstick"}


def scaled(columns):
    scaler = StandardScaler().fit(columns["train"])
    return {name: scaler.transform(x) for name, x in columns.items()}


def regression(columns, labels):
    """Probabilities of validation and test, at the strength with the least log loss on validation."""
    x = scaled(columns)
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x["train"], labels["train"]) for c in STRENGTHS]
    best = min(fits, key=lambda fit: log_loss(labels["validation"], fit.predict_proba(x["validation"])))
    return {name: best.predict_proba(x[name]) for name in ("validation", "test")}, best.C


def test_regressions_of_classes_are_those_of_scikit_learn(tmp_path):
    found = beside(bench(tmp_path))
    left, right, labels = ({name: drawn(name)[at] for name in SIZES} for at in range(3))
    joined, strength = regression({n: np.concatenate([left[n], right[n]], 1) for n in SIZES}, labels)
    singles = [regression(side, labels) for side in (left, right)]
    late = {n: (singles[0][0][n] + singles[1][0][n]) / 2 for n in joined}
    product = {n: singles[0][0][n] * singles[1][0][n] for n in joined}
    product = {n: p / p.sum(1, keepdims=True) for n, p in product.items()}
    for name, answers in (("joined", joined), ("late", late), ("product", product)):
        record = found[f"logistic regression, {name}"]
        for part, metrics in (("validation", record.validation), ("test", record.metrics)):
            assert metrics["accuracy"] == accuracy_score(labels[part], answers[part].argmax(1))
            assert metrics["log_loss"] == pytest.approx(log_loss(labels[part], answers[part]), rel=1e-5)
        assert (record.head, record.task, record.samples.test) == ("scikit-learn", str(record.task), 50)
        assert "scikit-learn" in record.plugins
    assert found["logistic regression, joined"].chosen == {"regression": {"C": strength}}
    of_late = found["logistic regression, late"].chosen
    assert of_late == {"regression of left": {"C": singles[0][1]}, "regression of right": {"C": singles[1][1]}}


def test_regressions_of_numbers_are_ridge_and_have_no_product(tmp_path):
    found = beside(bench(tmp_path, Numbers))
    assert set(found) == {"ridge regression, joined", "ridge regression, late"}
    x = scaled({n: np.concatenate(drawn(n)[:2], 1) for n in SIZES})
    y = {n: 1000.0 + 5.0 * drawn(n)[2] for n in SIZES}
    fits = [Ridge(alpha=alpha).fit(x["train"], y["train"]) for alpha in PENALTIES]
    errors = [root_mean_squared_error(y["validation"], fit.predict(x["validation"])) for fit in fits]
    best = fits[int(np.argmin(errors))]
    record = found["ridge regression, joined"]
    assert record.chosen == {"regression": {"alpha": best.alpha}}
    assert record.metrics["rmse"] == pytest.approx(
        root_mean_squared_error(y["test"], best.predict(x["test"])), rel=1e-5
    )
    assert not record.higher_is_better


class Rows:
    """A table with a number, a category and gaps, and a series; the table tells the class."""

    inputs: ClassVar = {"meta": "table", "left": "series"}
    target, metric, encoders, training = "classes", "accuracy", {}, {}

    def split(self, name):
        generator = np.random.default_rng(7 + len(name))
        count = 2 * SIZES[name]
        label = np.arange(count) % 2
        rows = [
            {
                "size": None if i % 11 == 0 else float(one + 0.6 * generator.normal()),
                "kind": ["red", "blue"][int(generator.random() < 0.5)] if i % 7 else None,
            }
            for i, one in enumerate(label)
        ]
        series = list(torch.from_numpy(generator.normal(size=(count, 1, 3)).astype(np.float32)))
        return Samples(
            [f"{name}-{i}" for i in range(count)], {"meta": rows, "left": series}, ["no", "yes"] * (count // 2)
        )


def test_boosting_of_a_table_is_that_of_scikit_learn(tmp_path):
    found = beside(bench(tmp_path, Rows))
    assert set(found) == {"boosting of meta"}  # the encoder of the table is trained, so there are no features of both
    record = found["boosting of meta"]
    parts = {name: Rows().split(name) for name in SIZES}
    transform = TableTransform()
    transform.fit(parts["train"].inputs["meta"])

    def matrix(name):
        rows = parts[name].inputs["meta"]
        kinds = {"blue": 0.0, "red": 1.0, None: np.nan}
        mean, std = transform.scales["size"]
        return np.array([[np.nan if r["size"] is None else (r["size"] - mean) / std, kinds[r["kind"]]] for r in rows])

    y = {name: np.array([one == "yes" for one in part.truth]) for name, part in parts.items()}
    best: tuple[float, float, int, Any] = (np.inf, 0.0, 0, None)
    for step in STEPS:
        model = HistGradientBoostingClassifier(
            learning_rate=step, max_iter=ROUNDS, early_stopping=False, categorical_features=[1], random_state=0
        ).fit(matrix("train"), y["train"])
        losses = [log_loss(y["validation"], p) for p in model.staged_predict_proba(matrix("validation"))]
        if min(losses) < best[0]:
            best = (min(losses), step, int(np.argmin(losses)) + 1, model)
    loss, step, trees, model = best
    assert record.chosen == {"boosting of meta": {"learning_rate": step, "trees": trees}}
    assert record.validation["log_loss"] == pytest.approx(loss, rel=1e-4)
    on_test = list(model.staged_predict_proba(matrix("test")))[trees - 1]
    assert record.metrics["accuracy"] == pytest.approx(accuracy_score(y["test"], on_test.argmax(1)), abs=0.011)


class Pairs(Rows):
    """Two numbers to be predicted at once."""

    target, metric = "scalar", "rmse"

    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, samples.inputs, [[float(i % 2), float(i % 3)] for i in range(len(samples))])


class Number(Pairs):
    """One of them."""

    def split(self, name):
        samples = super().split(name)
        return Samples(samples.ids, samples.inputs, [pair[0] for pair in samples.truth])


class TestWhen:
    def test_boosting_predicts_one_number_and_not_several(self, tmp_path):
        found = beside(bench(tmp_path / "one", Number))
        assert found["boosting of meta"].metrics["rmse"] < 0.5  # of 0 and 1 in turn; the table tells of them
        assert beside(bench(tmp_path / "two", Pairs)) == {}

    def test_without_frozen_encoders_or_a_table_there_are_none(self, tmp_path):
        assert beside(bench(tmp_path, encoders={"series": "series-rnn"})) == {}

    def test_labels_have_none(self, tmp_path):
        assert beside(bench(tmp_path, Labels)) == {}

    def test_not_asked_for_there_are_none(self, tmp_path):
        assert beside(bench(tmp_path, yardsticks=False)) == {}

    def test_many_training_samples_need_to_be_asked_for(self, tmp_path, monkeypatch):
        monkeypatch.setattr("mmkit.experiments.yardsticks.CHEAP", 59)
        assert beside(bench(tmp_path / "a")) == {}
        assert len(beside(bench(tmp_path / "b", yardsticks=True))) == 3

    def test_without_scikit_learn_asking_for_them_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setattr("mmkit.experiments.yardsticks.importlib.util.find_spec", lambda name: None)
        assert beside(bench(tmp_path / "a")) == {}
        with pytest.raises(UnavailableError, match=r'pip install "mmkit-core\[yardsticks\]"'):
            bench(tmp_path / "b", yardsticks=True)
        assert not (tmp_path / "b" / "records.jsonl").read_bytes()


class TestRecords:
    def test_they_are_fitted_once_and_are_no_runs(self, tmp_path, monkeypatch):
        first = bench(tmp_path)
        before = (tmp_path / "records.jsonl").read_bytes()
        monkeypatch.setattr("mmkit.experiments.steps.measured", lambda *_: pytest.fail("fitted again"))
        again = bench(tmp_path)
        assert (tmp_path / "records.jsonl").read_bytes() == before
        assert beside(again) == beside(first)
        more = bench(tmp_path, fusion=["sum", "concat"])  # the yardstick does not depend on the fusion
        assert beside(more) == beside(first)
        assert repr(first).startswith(f"<Suite {tmp_path}: 3 runs; best on validation: ")
        assert not first.best.yardstick
        assert not first.verdict.fusion.yardstick
        purposes = [json.loads(line)["purpose"] for line in before.splitlines()]
        assert purposes == ["comparison"] * 3 + ["yardstick"] * 3

    def test_one_that_fails_is_shown_and_costs_nothing_else(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise ValueError("Input X contains infinity")

        monkeypatch.setattr("mmkit.experiments.yardsticks.linear", refuse)
        suite = bench(tmp_path)
        assert {record.error for record in beside(suite).values()} == {"ValueError: Input X contains infinity"}
        assert suite.failures == []
        assert [row.errors for row in suite.rows if row.yardstick] == [["ValueError: Input X contains infinity"]] * 3


def test_boosting_of_which_no_stage_has_a_score_is_its_first():
    """Of 18 rows a leaf of 20 splits none, so that predictions are constant, of which there is no correlation."""
    rng = np.random.default_rng(0)
    parts = {"train": rng.normal(size=(18, 2)), "validation": rng.normal(size=(6, 2)), "test": rng.normal(size=(6, 2))}
    answers, chosen = boosting(parts, [False, False], rng.normal(size=(18, 1)), lambda _: -np.inf, classes=False)
    assert chosen == {"learning_rate": STEPS[0], "trees": 1}
    assert {part: answer.shape for part, answer in answers.items()} == {"validation": (6, 1), "test": (6, 1)}
