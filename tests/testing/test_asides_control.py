"""What a transform has beside `fit` and a call is tried; and of a head that the kit cannot try it is said."""

import re

import pytest
import torch

from mmkit.encoders.bag import BagEncoder
from mmkit.plugin import EncoderSpec, HeadSpec
from mmkit.testing import check, checks_of
from mmkit.transforms.text import TextTransform

SPEC = EncoderSpec("bagged", "", "", modality="text")


class Raises(TextTransform):
    __doc__ = TextTransform.__doc__

    def spans(self, value):
        raise KeyError("spans")


class TooFew(TextTransform):
    __doc__ = TextTransform.__doc__

    def spans(self, value):
        return super().spans(value)[1:]


class Outside(TextTransform):
    __doc__ = TextTransform.__doc__

    def spans(self, value):
        return [(start, end + 100) for start, end in super().spans(value)]


class Speechless(TextTransform):
    __doc__ = TextTransform.__doc__

    def told(self, values):
        return None


class CannotTell(TextTransform):
    __doc__ = TextTransform.__doc__

    def told(self, values):
        return f"{max(len(value) for value in values)} letters"  # one is missing


class Draws(TextTransform):
    __doc__ = TextTransform.__doc__

    def example(self, generator):
        return " ".join(map(str, torch.randn(3).tolist()))


class NoPlaces(TextTransform):
    __doc__ = TextTransform.__doc__

    def spans(self, value):
        return None


def result(transform):
    class Reads(BagEncoder):
        __doc__ = BagEncoder.__doc__
        reads = transform

    report = check("encoder", Reads, spec=SPEC)
    return {one.check.name: one for one in report.results}["transform-asides"]


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (Raises, "raised KeyError: 'spans'"),
        (TooFew, r"spans gives \d+ places of .*, which has \d+ real tokens"),
        (Outside, r"spans gives the place .* characters"),
        (Speechless, "told gives None; it is a text"),
        (CannotTell, "raised TypeError"),
        (Draws, "generators of one seed give two different examples"),
    ],
)
def test_a_defect_is_caught(transform, said):
    found = result(transform)
    assert found.status == "failed"
    assert re.search(said, found.message), found.message


@pytest.mark.parametrize("transform", [TextTransform, NoPlaces])
def test_what_is_sound_passes(transform):
    assert result(transform).status == "passed"


class Ranks(torch.nn.Module):
    """A head of a kind of target of its own."""

    reads = object

    def __init__(self, width, target, transform):
        raise RuntimeError("never")


class Unexplained(Ranks):
    """It has an option that nobody explains."""

    def __init__(self, width, target, transform, *, rate: float = 0.1):
        super().__init__(width, target, transform)


RANKING = HeadSpec("ranks", "", "", targets=("ranking",))


def test_a_head_that_the_kit_has_no_truth_for_is_not_called_sound():
    report = check("head", Ranks, spec=RANKING)
    assert (report.ok, report.examined) == (False, False)
    assert report.counts == {"passed": 1, "not run": len(checks_of("head")) - 1}
    assert "not examined: the kit has no examples of its kinds of target" in str(report)
    assert (report.to_json()["ok"], report.to_json()["examined"]) == (False, False)


def test_its_options_are_looked_at_all_the_same():
    report = check("head", Unexplained, spec=RANKING)
    assert ([one.check.name for one in report.failed()], report.examined) == (["options"], True)
