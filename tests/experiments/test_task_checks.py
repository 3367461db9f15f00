"""Cheap checks of a task: each finds a planted defect, and says nothing of a task that has none."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmkit
from mmkit.contract import Samples
from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits
from mmkit.data.value_hashes import value_hash
from mmkit.errors import DataError, UsageError
from mmkit.experiments.task_checks import check_task
from mmkit.plugin import TaskSpec

SPLITS = ("train", "validation", "test")


class Pets:
    """Rows and titles of two classes; a defect is planted by changing the samples of a split."""

    inputs = {"row": "table", "title": "text"}  # noqa: RUF012
    target = "classes"
    metric = "accuracy"
    epoch_metric = "accuracy"
    encoders = {}  # noqa: RUF012
    training = {}  # noqa: RUF012

    def __init__(self, **changed):
        self.changed = changed

    def split(self, name):
        at = range(40)
        samples = Samples(
            [f"{name}-{i}" for i in at],
            {
                "row": [{"a": float(i), "b": f"{name} {i % 3}"} for i in at],
                "title": [f"{name} number {i}" for i in at],
            },
            ["cat", "dog"] * 20,
        )
        change = self.changed.get(name, self.changed.get("all"))
        return change(samples) if change else samples


def checked(task, **rest):
    return check_task(Splits(task, {}), **rest)


def test_a_sound_task_has_no_findings():
    assert checked(Pets()) == []


def test_a_metric_that_is_not_there():
    task = Pets()
    task.metric = "acuracy"
    with pytest.raises(UsageError, match=r"metric is 'acuracy'; classes has none such: did you mean accuracy\?"):
        checked(task)
    task.metric, task.epoch_metric = "accuracy", "rmse"
    with pytest.raises(UsageError, match="epoch_metric is 'rmse'"):
        checked(task)


@pytest.mark.parametrize(
    ("target", "metric", "truth"),
    [
        ("classes", "auroc_macro", "cat"),
        ("labels", "auroc_macro", ["cat"]),
        ("scalar", "r2", 3.5),
        ("scalar", "pearson", [3.5]),
        ("scalar", "spearman", 1),
    ],
)
def test_a_metric_that_validation_cannot_give(target, metric, truth):
    task = Pets(validation=lambda samples: replace(samples, truth=[truth] * len(samples)))
    task.target, task.metric, task.epoch_metric = target, metric, metric
    with pytest.raises(DataError, match=f"chooses epochs by {metric}, which needs two .* in validation; all 40"):
        checked(task)
    other = {"classes": "dog", "labels": [], "scalar": 4}[target]
    mended = Pets(all=lambda samples: replace(samples, truth=[truth, other] * 20))
    mended.target, mended.metric, mended.epoch_metric = target, metric, metric
    assert checked(mended) == []


def test_a_column_that_is_forgotten():
    def renamed(samples):
        return replace(samples, inputs={"row": samples.inputs["row"], "titel": samples.inputs["title"]})

    (said,) = checked(Pets(test=renamed))
    assert said.startswith(
        "input title is missing in all 40 samples of test: there is no such column; did you mean titel?"
    )
    (said,) = checked(Pets(validation=lambda s: replace(s, inputs={**s.inputs, "title": [None] * 40})))
    assert said == "input title is missing in all 40 samples of validation"


def test_a_class_that_training_lacks():
    def new(samples):
        return replace(samples, truth=[*samples.truth[:-2], "bird", "bird"])

    (said,) = checked(Pets(test=new))
    assert said == "test: class bird does not occur in the training split, in 2 of 40 samples"
    with pytest.raises(RejectedError, match=r"^sample test-38 and 1 more, truth: class bird does not occur"):
        checked(Pets(test=new), refuse_unseen=True)
    assert len(checked(Pets(validation=new))) == 1


def test_what_is_the_same_class_is_not_taken_for_a_new_one():
    flags = Pets(train=lambda s: replace(s, truth=[True, False] * 20), all=lambda s: replace(s, truth=["1", 0] * 20))
    assert checked(flags) == []
    spaced = Pets(test=lambda s: replace(s, truth=["cat ", "dog"] * 20))
    assert checked(spaced) == []


def test_the_same_content_in_two_splits():
    train = Pets().split("train")

    def overlapping(samples):
        return replace(samples, inputs={k: [*train.inputs[k][:5], *v[5:]] for k, v in samples.inputs.items()})

    (said,) = checked(Pets(test=overlapping))
    assert said.startswith(
        "5 of 40 samples of test have the same inputs as samples of train, such as test-0 and train-0"
    )
    # One equal input of two is no equal sample.
    titles = Pets(test=lambda s: replace(s, inputs={**s.inputs, "title": train.inputs["title"]}))
    assert checked(titles) == []


def test_groups_that_stand_in_two_splits():
    task = Pets(all=lambda s: replace(s, groups=[f"{s.ids[0]}-{i % 4}" for i in range(40)]))
    assert checked(task) == []
    (said,) = checked(Pets(all=lambda s: replace(s, groups=[f"who-{i % 4}" for i in range(40)])))
    assert said.startswith(
        "splits share groups (train and validation 4, train and test 4, validation and test 4), such as"
    )


def test_an_input_that_says_the_truth():
    given = checked(Pets(train=lambda s: replace(s, inputs={**s.inputs, "title": list(s.truth)})))
    assert given == ["input title is the truth itself in all 40 samples of train that have both"]

    def leaking(samples):
        rows = [{**row, "answer": truth} for row, truth in zip(samples.inputs["row"], samples.truth, strict=True)]
        return replace(samples, inputs={**samples.inputs, "row": rows})

    assert checked(Pets(all=leaking)) == [
        "column answer of input row is the truth itself in all 40 samples of train that have both"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.arange(6.0), np.arange(6.0).tolist()[:0] or np.arange(6.0).copy()),
        (torch.arange(6), torch.arange(6).clone()),
        (np.zeros((300, 300)), np.zeros((300, 300))),
        ({"a": 1, "b": float("nan")}, {"b": None, "a": 1.0}),
        (Image.new("L", (4, 4)), Image.new("L", (4, 4))),
        ((np.ones(3), 8000), (np.ones(3), 8000)),
        (Path("a/b"), Path("a") / "b"),
        (float("nan"), None),
    ],
)
def test_equal_values_have_equal_contents(one, other):
    assert value_hash(one) == value_hash(other)


def test_other_values_have_other_contents():
    values = ["a", b"b", 1, 2.5, {"a": 1}, {"a": 2}, [1, 2], np.zeros(3), np.zeros((3, 1)), np.ones(3), Path("a")]
    big = np.zeros(200_000)
    big[100_000] = 1
    pictures = [Image.new("L", (4, 4)), Image.new("L", (4, 4), 1), Image.new("L", (2, 8))]
    found = [value_hash(value) for value in [*values, np.zeros(200_000), big, *pictures]]
    assert len(set(found)) == len(found)
    assert value_hash(np.asfortranarray(np.arange(6).reshape(2, 3))) == value_hash(np.arange(6).reshape(2, 3))


SHIPPED = [
    entry
    for entry in mmkit.installed().available("task")
    if entry.distribution == "mmkit-core"
    and isinstance(entry.spec, TaskSpec)
    and entry.spec.modalities  # else its options say what data it is of
]


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_of_the_shipped_tasks_only_shared_speakers_are_said(entry):
    said = [line for line in checked(entry.load()(), refuse_unseen=True) if not line.startswith("splits share groups")]
    assert said == []


@pytest.mark.full
def test_a_hundred_thousand_rows_take_seconds(record_property):
    class Large(Pets):
        def split(self, name):
            at = range(100_000 if name == "train" else 1000)
            rows = [{f"c{k}": float(i * 7 + k) for k in range(8)} for i in at]
            return Samples([f"{name}-{i}" for i in at], {"row": rows, "title": [f"{name} {i}" for i in at]},
                           ["cat" if i % 2 else "dog" for i in at])  # fmt: skip

    began = time.perf_counter()
    assert checked(Large()) == []
    record_property("seconds", time.perf_counter() - began)
