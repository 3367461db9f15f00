"""What a task recommends and the truth that it gives are tried, as a run would: the kit refuses what `fit` refuses."""

import re

import pytest

from mmkit.contract import Samples
from mmkit.testing import Examination, tiny_task
from mmkit.testing.battery import CHECKS

Tiny = tiny_task({"a": "series", "b": "text"})
RECOMMENDED = [
    ({"training": {"epochs": -3}}, "option epochs takes int > 0; got -3"),
    ({"encoders": {"a": "no-such-encoder"}}, "for input a: there is no encoder no-such-encoder"),
    ({"encoders": {"a": "cnn"}}, "for input a, cnn, reads image, and input a is series"),
    ({"encoders": {"a": "fcn:nope=3"}}, "encoder fcn has no option nope"),
    ({"target": "clases"}, "which no installed head predicts; did you mean classes?"),
    ({"folds": 5, "order": ["x"]}, "it has no option fold"),
]
TRUTHS = [
    ("classes", lambda i: 1.5 + i % 2, "the target is scalar"),
    ("classes", lambda i: "yes" if i % 2 else " ", "a string that is not empty"),
    ("classes", lambda i: "yes", "at least 2 classes; it holds only yes"),
    ("scalar", lambda i: float("nan") if i == 3 else float(i), "train-3: truth is a finite number"),
    ("scalar", lambda i: [1.0, 2.0] if i % 2 else [1.0], "train-1 and 11 more: every sample has as many numbers"),
    ("labels", lambda i: [i % 2, 1 - i % 2], "got a row of 0 and 1"),
    ("labels", lambda i: "yes" if i % 2 else "no", "are a list of them"),
]


def result(component, name):
    (check,) = (one for one in CHECKS if one.name == name)
    return Examination("task", component).result(check)


@pytest.mark.parametrize(("says", "said"), RECOMMENDED)
def test_what_is_recommended_is_tried(says, said):
    class Bad(Tiny):  # type: ignore[misc, valid-type]
        """What it says no run can be made of."""

        def __init__(self):
            super().__init__()
            for name, value in says.items():
                setattr(self, name, value)

    found = result(Bad, "usable")
    assert (found.status, found.ok) == ("failed", False)
    assert said in found.message


class Folded(Tiny):  # type: ignore[misc, valid-type]
    """In two folds.

    Args:
        fold: the number of one.
    """

    folds = 2

    def __init__(self, *, fold: int = 0):
        super().__init__()
        self.fold = fold
        self.order = [one for name in ("train", "validation", "test") for one in super(Folded, self).split(name).ids]


class Forgetful(Folded):
    __doc__ = Folded.__doc__

    def __init__(self, *, fold: int = 0):
        super().__init__(fold=fold)
        self.order = self.order[1:]


def test_folds_are_joined_in_an_order_of_all_samples():
    assert result(Folded, "usable").status == "passed"
    assert "it holds 55, 55 of them of the 56 samples of fold 1" in result(Forgetful, "usable").message


@pytest.mark.parametrize("target", ["classes", "labels", "scalar"])
def test_a_sound_task_passes(target):
    class Sound(tiny_task({"a": "series", "b": "text"}, target=target)):  # type: ignore[misc]
        """With all that it may say."""

        def __init__(self):
            super().__init__()
            self.encoders = {"a": "fcn:layers=2", "b": "bag"}
            self.training = {"epochs": 3, "rates": [0.01, 0.1]}

    assert [result(Sound, name).status for name in ("usable", "truth")] == ["passed", "passed"]


@pytest.mark.parametrize(("target", "of", "said"), TRUTHS)
def test_truth_is_taken_as_a_head_takes_it(target, of, said):
    class Bad(tiny_task({"a": "series", "b": "text"}, target=target)):  # type: ignore[misc]
        """With truth that no head takes."""

        def split(self, name):
            samples = super().split(name)
            return Samples(samples.ids, samples.inputs, [of(i) for i in range(len(samples))])

    found = result(Bad, "truth")
    assert found.status == "failed"
    assert re.search(said, found.message), found.message


def test_of_a_target_that_no_head_predicts_no_truth_is_tried():
    class Ranks(Tiny):  # type: ignore[misc, valid-type]
        """Of a kind that no installed head predicts."""

        def __init__(self):
            super().__init__()
            self.target = "ranking"

    assert result(Ranks, "usable").status == "passed"
    found = result(Ranks, "truth")
    assert (found.status, found.message) == ("not applicable", "no installed head predicts ranking")
