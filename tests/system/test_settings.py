"""Settings are checked once, in one place."""

import pytest
import torch

from mmkit.errors import UnavailableError, UsageError
from mmkit.system.settings import Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "tpu"}, "device is one of auto, cpu, cuda, mps; got tpu"),
        ({"precision": "int4"}, "precision is one of float32, bfloat16, float16; got int4"),
        ({"on_error": "shrug"}, "on_error is one of fail, skip, missing; got shrug"),
        ({"limit": 0}, "limit is 1 or more, or none; got 0"),
        ({"limit": 1.5}, "limit is 1 or more, or none; got 1.5"),
        ({"limit": True}, "limit is 1 or more, or none; got True"),
    ],
)
def test_what_is_not_possible_says_what_is(given, message):
    with pytest.raises(UsageError, match=message):
        Settings(**given)


def test_auto_is_the_fastest_device_that_is_there():
    assert Settings().device in {"cpu", "cuda", "mps"}
    assert Settings("cpu").device == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_a_device_that_is_not_there_is_unavailable():
    with pytest.raises(UnavailableError, match="torch cannot use cuda on this machine; take --device cpu or auto"):
        Settings("cuda")


def test_the_document_makes_the_same_settings_again():
    settings = Settings("cpu", "bfloat16", 7, "skip")
    assert Settings(**settings.document()) == settings
