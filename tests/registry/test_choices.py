"""Choosing a component: by name, by class, and with options."""

import pytest

from mmkit.errors import UsageError
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import installed
from mmkit.registry.options import Choice


class Bag:
    """A transform."""

    def __init__(self, *, lower: bool = True, size: int = 10):
        """Two options, one shared."""


class Words:
    """An encoder."""

    reads = Bag

    def __init__(self, transform, *, width: int = 8, size: int = 5):
        """Two options, one shared."""


def test_a_class_can_be_given_in_place_of_a_name():
    spec = FusionSpec("words", "nowhere:Words", "")
    chosen = installed().choose("encoder", Words, {"lower": False, "size": 7}, spec=spec)
    assert chosen == Choice("encoder", f"{__name__}.Words", spec, (Words, Bag), {"width": 8, "size": 7, "lower": False})
    assert chosen.component is Words
    assert chosen.part(Words) == {"width": 8, "size": 7}
    assert chosen.part(Bag) == {"lower": False, "size": 7}
    assert chosen.changed == {"size": 7, "lower": False}


def test_a_choice_can_be_changed_and_options_override_those_in_the_text():
    catalog = installed()
    chosen = catalog.choose("fusion", "low-rank:rank=3,width=32", {"rank": 5})
    assert (chosen.name, chosen.options, chosen.spec.name) == ("low-rank", {"width": 32, "rank": 5}, "low-rank")
    assert catalog.choose("fusion", chosen, {"width": 16}).options == {"width": 16, "rank": 5}
    assert catalog.choose("fusion", str(chosen)) == chosen


def test_the_error_of_a_wrong_option_names_its_component():
    with pytest.raises(UsageError, match=r"fusion low-rank has no option rnak; did you mean rank\?"):
        installed().choose("fusion", "low-rank:rnak=3")
    with pytest.raises(UsageError, match="fusion low-rank: option rank takes int > 0; got none"):
        installed().choose("fusion", "low-rank:rank=none")


def test_an_object_in_place_of_a_class_is_an_error():
    with pytest.raises(UsageError, match="a task is given by its name or as a class; got an object of type dict"):
        installed().choose("task", {})
