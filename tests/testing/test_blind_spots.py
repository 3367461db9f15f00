"""Defects that careless authors make, and that a check of another defect would let pass."""

import re

import pytest
import torch

from mmkit.contract import Samples
from mmkit.plugin import ObjectiveSpec, TaskSpec
from tests.testing import sound_heads, test_modality_and_task_controls, test_objective_controls

HEAD = sound_heads.SPEC
OBJECTIVE = ObjectiveSpec("agree", "", "")
ROWS = TaskSpec("rows", "", "", modalities=(("row", "table"),), target="classes")


class Twice(sound_heads.Sound):
    """The likeliest class is right, and is never likely."""

    def predict(self, output):
        return {"probabilities": output.softmax(1).softmax(1)}


class Chooses(sound_heads.Sound):
    """It is always sure."""

    def predict(self, output):
        return {"probabilities": torch.nn.functional.one_hot(output.argmax(1), output.shape[1]).to(output)}


class InPlace(test_modality_and_task_controls.Number):
    """It writes into the user's own values."""

    def decode(self, raw):
        return raw.mul_(2) if isinstance(raw, torch.Tensor) else super().decode(raw)


class Rows:
    """Rows whose truth is in none of their columns."""

    description = "Which of four."
    inputs = {"row": "table"}  # noqa: RUF012 (as a plugin may write it)
    target, metric = "classes", "accuracy"
    encoders = {}  # noqa: RUF012
    training = {}  # noqa: RUF012

    def row(self, number):
        return {"x": float(number * 37 % 101), "kind": "uvw"[number % 3]}

    def split(self, name):
        start = 41 * ["train", "validation", "test"].index(name)
        numbers = range(start, start + 40)
        rows = [self.row(number) for number in numbers]
        return Samples([f"{name}{number}" for number in numbers], {"row": rows}, ["abcd"[n % 4] for n in numbers])


class Coded(Rows):
    """The number of the class was left in the table."""

    def row(self, number):
        return {**super().row(number), "code": number % 4}


class Shouted(Rows):
    """So was its name, in other letters."""

    def row(self, number):
        return {**super().row(number), "name": "ABCD"[number % 4]}


CONTROLS = [
    ("head", HEAD, "learns-the-truth", Twice, "of what is true its prediction says 0.4"),
    ("head", HEAD, "prediction", Chooses, "probabilities say how sure the output is"),
    ("modality", None, "example-decodes", InPlace, "changes the value that it is given"),
    ("task", ROWS, "given-away", Coded, "column code of input row has one value for each truth"),
    ("task", ROWS, "given-away", Shouted, "column name of input row has one value for each truth"),
]
SOUND = [
    ("head", HEAD, "learns-the-truth", sound_heads.Sound),
    ("head", HEAD, "prediction", sound_heads.Sound),
    ("objective", OBJECTIVE, "padding", test_objective_controls.Sound),
    ("objective", OBJECTIVE, "weight", test_objective_controls.Sound),
    ("modality", None, "example-decodes", test_modality_and_task_controls.Number),
    ("task", ROWS, "given-away", Rows),
]


def found(examine, kind, spec, component, name):
    modality = component if kind == "modality" else None
    return examine(kind, component, spec=spec, modality=modality, names={name})[name]


@pytest.mark.parametrize(("kind", "spec", "check", "component", "said"), CONTROLS)
def test_it_is_found(examine, kind, spec, check, component, said):
    result = found(examine, kind, spec, component, check)
    assert result.status == "failed", result
    assert re.search(said, result.message), result.message


@pytest.mark.parametrize(("kind", "spec", "check", "component"), SOUND)
def test_what_is_sound_passes(examine, kind, spec, check, component):
    assert found(examine, kind, spec, component, check).status == "passed"


def test_of_an_objective_without_an_option_weight_nothing_is_asked(examine):
    result = found(examine, "objective", OBJECTIVE, test_objective_controls.Entropy, "weight")
    assert result.status == "not applicable"
