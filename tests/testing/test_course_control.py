"""Defects that the check of values with a course in time catches, and what it lets pass."""

import re

import pytest
import torch

import mmkit
from mmkit.modalities.series import Series
from mmkit.modalities.text import Text
from mmkit.testing import check


class Whole(Series):
    """All of it, however much is asked for."""

    def joined(self, values, last):
        return torch.cat(list(values))


class Backwards(Series):
    """The newest first."""

    def joined(self, values, last):
        return super().joined(list(values)[::-1], last)


class Half(Series):
    """Something is missing."""

    def __getattribute__(self, name):
        if name == "length":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Nothing(Series):
    """No length."""

    def length(self, value):
        return 0.0


class Longer(Series):
    """Wrong lengths."""

    def length(self, value):
        return float(len(value) ** 2)


class InPlace(Series):
    """Changes what it is given."""

    def joined(self, values, last):
        found = super().joined(values, last)
        values[0].zero_()
        return found


def found(examine, component):
    return examine("modality", component, names={"course"})["course"]


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Whole, "does not end with the last value"),
        (Backwards, "does not end with the last value"),
        (Half, "of unit, length and joined it has unit and joined; give all three"),
        (Nothing, "it is above 0"),
        (Longer, "joined gives .* steps of"),
        (InPlace, "joined changes the values|does not end with the last value|is not its end"),
    ],
)
def test_a_planted_defect_is_caught(examine, component, message):
    result = found(examine, component)
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


def test_what_has_none_is_not_asked(examine):
    assert found(examine, Text).status == "not applicable"


@pytest.mark.parametrize("entry", mmkit.installed().available("modality"), ids=lambda entry: entry.name)
def test_every_installed_modality_keeps_it(entry):
    report = check("modality", entry.full_name)
    status = {result.check.name: result.status for result in report.results}["course"]
    has = entry.name in {"audio", "series", "video", "video-audio"}
    assert status == ("passed" if has else "not applicable"), report
