"""Digits, written and spoken: two views of one number, both real, paired by label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from mmkit.contract import Samples, Split
from mmkit.tasks.shipped import shipped, shuffled

INPUTS = {"written": "image", "spoken": "series"}
ENCODERS = {"written": "cnn", "spoken": "fcn"}
# 10 samples a class are 4 steps an epoch: 40 epochs would be too few steps to train anything.
# Validation is noisy until the learning rate falls: stopped after 20 epochs without a better one, one seed in three of
# attention ended 3 points below what the whole schedule gives.
# No learning rate: that would need a record by which no combination loses a point (benchmarks/rates.py asks).
TRAINING = {"batch_size": 32, "epochs": 40, "min_steps": 300, "patience": None}

VALIDATION = 30
TEST = 100
MOST = 44  # the rarest written digit, 8, is there 174 times

WRITERS = {"train": 6, "validation": 3, "test": 5}
# With two or three speakers in training, attention came near enough to the image alone that three seeds could not tell.
SPEAKERS = {"train": 1, "validation": 1, "test": 4}
NEW_TEST = 55  # five writers wrote the rarest digit at least 56 times
NEW_MOST = 50  # what the one speaker recorded of each digit


class Digits:
    """Which digit is written and spoken; train and test share writers and speakers.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository 1998,
    https://doi.org/10.24432/C50P49; Jackson et al., "Free Spoken Digit Dataset", 2018,
    https://github.com/Jakobovski/free-spoken-digit-dataset. The first has 1,797 images of 8 x 8 by 13 writers, the
    second 3,000 recordings by 6 speakers, here as 13 mel-frequency cepstral coefficients a frame.

    Every image and every recording is in one pair only. The pairs of validation and test do not depend on
    `per_class`.

    Args:
        per_class: training pairs of each digit.
        split: seed of the pairing and of the split.

    Raises:
        ValueError: `per_class` or `split` is out of range.
    """

    description: ClassVar[str] = (
        "Which of ten digits, from an image of it written by hand (UCI Optical Recognition of Handwritten Digits, "
        "CC BY 4.0) and a recording of it spoken, as MFCC (Free Spoken Digit Dataset, CC BY-SA 4.0). The two were not "
        "recorded together: pairs are made by label, one to one. No image and no recording stands in two splits, but "
        "train, validation and test share writers and speakers; digits-new-speakers keeps them apart."
    )

    def __init__(
        self, *, per_class: Annotated[int, Interval(ge=1, le=MOST)] = 10, split: Annotated[int, Ge(0)] = 0
    ) -> None:
        self.inputs: Mapping[str, str] = INPUTS
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = ENCODERS
        self.training: Mapping[str, Any] = TRAINING
        self._per_class = _in_range("per_class", per_class, 1, MOST)
        self._seed = _in_range("split", split, 0, None)

    def split(self, name: Split) -> Samples:
        """The pairs of a split, digit after digit in turn."""
        start, count = {
            "test": (0, TEST),
            "validation": (TEST, VALIDATION),
            "train": (TEST + VALIDATION, self._per_class),
        }[name]
        return _pairs(self._seed, start, count, lambda _: True, lambda _: True)


class DigitsNewSpeakers:
    """The same digits of writers and speakers that training never saw; a control on which fusion loses.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository 1998,
    https://doi.org/10.24432/C50P49; Jackson et al., "Free Spoken Digit Dataset", 2018,
    https://github.com/Jakobovski/free-spoken-digit-dataset. Of the six speakers, one is for training, one for
    validation and four for the test. The images are in fourteen runs of about one writer each: six, three and five.

    One speaker is too few to learn how others sound, so fusion loses to the image alone, and a comparison has to say
    so.

    Args:
        per_class: training pairs of each digit.
        split: seed of the pairing, and of which writers and speakers are in which split.

    Raises:
        ValueError: `per_class` or `split` is out of range.
    """

    description: ClassVar[str] = (
        "The negative control of digits: the same images (UCI Optical Recognition of Handwritten Digits, CC BY 4.0) "
        "and recordings (Free Spoken Digit Dataset, CC BY-SA 4.0), paired by label, one to one, but no writer and no "
        "speaker stands in two splits. One speaker is too few to learn what others will sound like, so fusion "
        "loses to the image alone. Writers are known approximately, from the order of the images."
    )

    def __init__(
        self, *, per_class: Annotated[int, Interval(ge=1, le=NEW_MOST)] = 10, split: Annotated[int, Ge(0)] = 0
    ) -> None:
        self.inputs: Mapping[str, str] = INPUTS
        self.target = "classes"
        self.metric = "accuracy"
        self.encoders: Mapping[str, str] = ENCODERS
        self.training: Mapping[str, Any] = TRAINING
        self._per_class = _in_range("per_class", per_class, 1, NEW_MOST)
        self._seed = _in_range("split", split, 0, None)

    def split(self, name: Split) -> Samples:
        """The pairs of a split, digit after digit in turn."""
        data = shipped("digits.npz")
        writers = _side(shuffled(map(str, range(int(data["writer"].max()) + 1)), self._seed), WRITERS, name)
        speakers = _side(shuffled(data["speaker_name"].tolist(), self._seed), SPEAKERS, name)
        count = {"train": self._per_class, "validation": VALIDATION, "test": NEW_TEST}[name]
        return _pairs(self._seed, 0, count, writers.__contains__, speakers.__contains__)


def _in_range(option: str, value: int, least: int, most: int | None) -> int:
    if value < least or (most is not None and value > most):
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{option} is {value}; expected {expected}")
    return value


def _side(names: list[str], sizes: Mapping[str, int], split: Split) -> set[str]:
    """Those of the shuffled names that belong to a split."""
    start = 0
    for name, size in sizes.items():
        if name == split:
            return set(names[start : start + size])
        start += size
    raise KeyError(split)


def _pairs(
    seed: int, start: int, count: int, writer_in: Callable[[str], bool], speaker_in: Callable[[str], bool]
) -> Samples:
    """Pairs `start` to `start + count` of each digit, of what these writers wrote and these speakers said."""
    data = shipped("digits.npz")
    speaker_of = data["speaker_name"][data["speaker"]].tolist()
    writer_of = data["writer"].tolist()
    written: list[list[int]] = [[] for _ in range(10)]
    spoken: list[list[int]] = [[] for _ in range(10)]
    for item in shuffled((f"w{row:04}" for row in range(len(writer_of))), seed):
        row = int(item[1:])
        if writer_in(str(writer_of[row])):
            written[data["written_label"][row]].append(row)
    for item in shuffled((f"s{row:04}" for row in range(len(speaker_of))), seed):
        row = int(item[1:])
        if speaker_in(speaker_of[row]):
            spoken[data["spoken_label"][row]].append(row)
    pairs = [
        (digit, written[digit][number], spoken[digit][number])
        for number in range(start, start + count)
        for digit in range(10)
    ]
    return Samples(
        ids=[f"digits-w{image:04}-s{sound:04}" for _, image, sound in pairs],
        inputs={
            "written": [torch.from_numpy(data["written"][[image]]) for _, image, _ in pairs],
            "spoken": [_recording(sound) for _, _, sound in pairs],
        },
        truth=[str(digit) for digit, _, _ in pairs],
        groups={
            "writer": [f"writer-{writer_of[image]:02}" for _, image, _ in pairs],
            "speaker": [speaker_of[sound] for _, _, sound in pairs],
        },
    )


def _recording(row: int) -> Tensor:
    """[T 13], float32."""
    data = shipped("digits.npz")
    begin, end = data["spoken_start"][row : row + 2].tolist()
    return torch.from_numpy(data["spoken"][begin:end]).float()
