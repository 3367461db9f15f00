"""The tiny task: the same again, learnt at once, of every modality and kind of target."""

import doctest

import pytest
import torch

import mmkit
import mmkit.testing.tiny
from mmkit.errors import UsageError
from mmkit.testing import check, tiny_task
from mmkit.testing.checks.alike import alike

OWN = ("audio", "image", "series", "text")


@pytest.mark.parametrize("modality", [*OWN, "table"])
@pytest.mark.parametrize("target", ["classes", "labels", "scalar"])
def test_it_is_a_task(modality, target):
    task = tiny_task({"a": modality}, target=target)
    report = check("task", task)
    repeated = {"text", "table"}  # made from the sample's number alone: the same in all splits, as its docstring says
    assert {r.check.name for r in report.failed()} == ({"content-apart"} if modality in repeated else set()), report
    assert [len(task().split(name)) for name in ("train", "validation", "test")] == [24, 16, 16]


def test_called_again_it_gives_the_same_samples_and_each_split_its_own():
    one, other = (tiny_task({"a": "image", "b": "series"})() for _ in range(2))
    for name in ("train", "validation", "test"):
        assert alike(one.split(name).inputs["a"], other.split(name).inputs["a"])
    assert not alike(one.split("validation").inputs["a"], one.split("test").inputs["a"])
    reordered = tiny_task({"a": "image"})().split("test").inputs["a"]
    assert alike(reordered, one.split("test").inputs["a"])


@pytest.mark.parametrize("modality", OWN)
def test_it_is_learnt_from_every_input_but_the_row(modality):
    training = {"epochs": 8, "min_steps": 0, "lr": 0.01, "batch_size": 8}
    _, record = mmkit.fit(
        task=tiny_task({"a": modality, "b": "table"}), fusion="concat", training=training, device="cpu"
    )
    assert record.metrics["accuracy"] > 0.9


def test_the_row_says_nothing():
    splits = tiny_task({"b": "table"}, train=96, held_out=96)().split("test")
    share = {
        x: [t for row, t in zip(splits.inputs["b"], splits.truth, strict=True) if row["x"] == x] for x in (0, 1, 2)
    }
    assert all(truths.count("yes") == len(truths) / 2 for truths in share.values())


def test_a_value_of_ones_own_takes_the_place_of_its_own():
    def make(number, generator):
        return torch.full((1, 4, 4), number, dtype=torch.uint8) + torch.randint(2, (1, 1, 1), generator=generator)

    task = tiny_task({"a": "image", "b": "smell"}, {"a": make, "b": lambda number, generator: number}, train=4)()
    samples = task.split("train")
    assert [image.float().mean().round() - i in (0, 1) for i, image in enumerate(samples.inputs["a"])] == [True] * 4
    assert samples.inputs["b"] == [0, 1, 2, 3]


def test_what_it_cannot_make_is_said():
    with pytest.raises(UsageError, match=r"makes no smell for input b; give values=\{'b': lambda number, generator"):
        tiny_task({"a": "image", "b": "smell"})
    with pytest.raises(UsageError, match="no target of kind class; did you mean classes"):
        tiny_task(target="class")


def test_its_example():
    assert doctest.testmod(mmkit.testing.tiny).failed == 0
    assert doctest.testmod(mmkit.testing.tiny).attempted == 2
