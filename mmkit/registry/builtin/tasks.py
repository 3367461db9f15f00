"""Tasks that ship with mmkit: what can be asked without a download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkit.plugin import TaskSpec, hookimpl

DIGITS_DATA = (
    'Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository 1998, '
    'https://doi.org/10.24432/C50P49; Jackson et al., "Free Spoken Digit Dataset", 2018, '
    "https://github.com/Jakobovski/free-spoken-digit-dataset"
)


FRUIT = str(Path(__file__).parents[2] / "tasks" / "data" / "fruit.csv")
"""A small table, on which the conformance kit checks the task of a user's own data."""


@hookimpl
def mmkit_tasks() -> Iterator[TaskSpec]:
    """What can be asked without a download."""
    digits = (("spoken", "series"), ("written", "image"))
    licence = "written: CC BY 4.0; spoken: CC BY-SA 4.0"
    yield TaskSpec(
        "digits",
        "mmkit.tasks.digits:Digits",
        "Which digit is written and spoken; train and test share writers and speakers",
        modalities=digits,
        target="classes",
        licence=licence,
        paper=DIGITS_DATA,
    )
    yield TaskSpec(
        "digits-new-speakers",
        "mmkit.tasks.digits:DigitsNewSpeakers",
        "The same digits of writers and speakers that training never saw; a control on which fusion loses",
        modalities=digits,
        target="classes",
        licence=licence,
        paper=DIGITS_DATA,
    )
    yield TaskSpec(
        "clipart",
        "mmkit.tasks.clipart:Clipart",
        "Which of 13 classes a drawing with its title belongs to",
        modalities=(("image", "image"), ("title", "text")),
        target="classes",
        licence="public domain",
    )
    yield TaskSpec(
        "clipart-captions",
        "mmkit.tasks.clipart:ClipartCaptions",
        "The title of a drawing, from the drawing alone",
        modalities=(("image", "image"),),
        target="text",
        licence="public domain",
    )
    yield TaskSpec(
        "synthetic-redundant",
        "mmkit.tasks.synthetic:SyntheticRedundant",
        "Synthetic: every input alone determines the class",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-noise",
        "mmkit.tasks.synthetic:SyntheticNoise",
        "Synthetic: one input determines the class, the others are noise",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-unique",
        "mmkit.tasks.synthetic:SyntheticUnique",
        "Synthetic: each input carries a part of the class that no other carries",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-xor",
        "mmkit.tasks.synthetic:SyntheticXor",
        "Synthetic: only all inputs together determine the class",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-regression",
        "mmkit.tasks.synthetic:SyntheticRegression",
        "Synthetic: a number that depends on all inputs",
        modalities=(("left", "series"), ("right", "series")),
        target="scalar",
    )
    yield TaskSpec(
        "own-data",
        "mmkit.tasks.own_data:OwnData",
        "A user's own table: one column is predicted from the others",
        example=(("data", FRUIT), ("target", "fruit")),
    )
