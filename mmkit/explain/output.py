"""Which number is explained: the probability of a class or a label, or one of the numbers.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmkit.contract import Batch
from mmkit.errors import DataError, UsageError, one_of
from mmkit.model.trained import MultimodalModel
from mmkit.transforms.truth import category_name

KINDS = ("classes", "labels", "scalar")
WORDS = {"classes": "class", "labels": "label", "scalar": "number"}


@dataclass(frozen=True)
class Output:
    """The number that is explained.

    Args:
        kind: of target: "classes", "labels" or "scalar".
        name: of the class, the label or the number.
        index: of it among C.
        names: of all of them.
        asked: whether the user named it.
        scale: by which the output of the model is multiplied.
        offset: what is added to the output to have the user's units.
        unit: what counts as much: 1 of a probability, the deviation in training of a number.
    """

    kind: str
    name: str
    index: int
    names: tuple[str, ...]
    asked: bool
    scale: float = 1.0
    offset: float = 0.0
    unit: float = 1.0

    def of(self, prediction: Batch) -> Tensor:
        """[B], without `offset`: in float32 a large mean would swallow what inputs add to it."""
        if self.kind != "scalar":
            return prediction["probabilities"][:, self.index]
        if "standardised" in prediction:
            return prediction["standardised"][:, self.index] * self.scale
        return prediction["values"][:, self.index]


def check_kind(model: MultimodalModel) -> None:
    """Check that a model has an output that can be explained.

    Raises:
        UsageError: it has none.
    """
    if model.target not in KINDS:
        what = "writes texts" if model.target == "text" else f"has a target of kind {model.target!r}"
        raise UsageError(f"the model {what}; explained are classes, labels and numbers, so there is nothing to show")


def names_of(model: MultimodalModel) -> tuple[str, ...]:
    """The names of the classes, labels or numbers of a model, C of them; numbers have those of their columns."""
    target = model.transforms.truth.target()
    columns = ((model.layout or {}).get("target") or {}).get("columns")
    if target.kind == "scalar" and columns and len(columns) == target.size:
        return tuple(columns)
    return target.names


def named(given: str | int | None) -> str | None:
    """The name of an output as a user gives it: a class that is a whole number or a bool may be given as that."""
    if given is None or isinstance(given, str):
        return given
    try:
        return category_name(given)
    except DataError:
        return str(given)  # which is none, and said so


def check_name(model: MultimodalModel, name: str | None) -> None:
    """Check that a model has the output that is asked for.

    Raises:
        UsageError: there is none of this name.
    """
    names = names_of(model)
    if name is not None and name not in names:
        raise UsageError(f"the model has no {WORDS[model.target]} {name!r}; {one_of(names, name)}")


def output_of(model: MultimodalModel, prediction: Batch, name: str | None) -> Output:
    """The output that is explained.

    Args:
        model: trained.
        prediction: of one sample.
        name: of the output; None takes the likeliest class or label, or the first number.

    Raises:
        UsageError: there is none of this name.
    """
    check_name(model, name)
    names, target = names_of(model), model.transforms.truth.target()
    if target.kind != "scalar":
        index = int(prediction["probabilities"][0].argmax()) if name is None else names.index(name)
        return Output(target.kind, names[index], index, names, name is not None)
    index = 0 if name is None else names.index(name)
    mean, std = target.mean[index], target.std[index]
    offset = mean if "standardised" in prediction else 0.0
    return Output("scalar", names[index], index, names, name is not None, std, offset, std)
