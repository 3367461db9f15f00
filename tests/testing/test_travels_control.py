"""Defects that the check of how values travel catches, and what it lets pass."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow

import mmkit
from mmkit.errors import DataError
from mmkit.plugin import ModalitySpec
from mmkit.testing import check


class Shade:
    """A grey: a number, or a tensor."""

    def decode(self, raw):
        if isinstance(raw, torch.Tensor) and raw.ndim == 0:
            return raw
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return torch.tensor(float(raw))
        raise DataError(f"a shade is a number; got {type(raw).__name__}")

    def example(self, generator):
        return torch.rand((), generator=generator)


class OnlyTensors(Shade):
    """What comes as JSON is refused."""

    def decode(self, raw):
        if isinstance(raw, torch.Tensor):
            return raw
        raise DataError(f"a shade is a tensor; got {type(raw).__name__}")


class Doubles(Shade):
    """What comes as JSON has another size."""

    def decode(self, raw):
        found = super().decode(raw)
        return found if isinstance(raw, torch.Tensor) else found * 2


class Packed(Shade):
    """Its values are bytes, which are no JSON."""

    def decode(self, raw):
        if isinstance(raw, bytes):
            return raw
        raise DataError(f"a packed shade is bytes; got {type(raw).__name__}")

    def example(self, generator):
        return torch.randint(256, (4,), generator=generator, dtype=torch.uint8).numpy().tobytes()


class Word(Shade):
    """A text."""

    def decode(self, raw):
        if isinstance(raw, str):
            return raw
        raise DataError(f"a word is a str; got {type(raw).__name__}")

    def example(self, generator):
        return "abcdefgh"[int(torch.randint(8, (), generator=generator))]


class Reads(Word):
    """A text, or the name of a file that holds one."""

    def decode(self, raw):
        if "/" in super().decode(raw):
            try:
                return Path(raw).read_text()
            except OSError as error:
                raise DataError(f"{raw}: {error.strerror}") from error
        return raw


class Sound(Packed):
    """soundfile takes bytes for the name of a file."""

    def decode(self, raw):
        if isinstance(raw, np.ndarray):
            return raw
        try:
            return soundfile.read(raw)[0]
        except (TypeError, RuntimeError) as error:
            raise DataError(f"it cannot be read: {error}") from error


class Picture(Packed):
    """So does Pillow."""

    def decode(self, raw):
        try:
            return np.asarray(Pillow.open(raw))
        except (OSError, AttributeError) as error:
            raise DataError(f"it cannot be read: {type(error).__name__}") from error


class Careful(Packed):
    """The bytes are what is read."""

    def decode(self, raw):
        if not isinstance(raw, bytes):
            raise DataError(f"a picture is bytes; got {type(raw).__name__}")
        try:
            return np.asarray(Pillow.open(io.BytesIO(raw)))
        except OSError as error:
            raise DataError(f"the {len(raw)} bytes cannot be read: {type(error).__name__}") from error


def found(examine, component, way):
    return examine("modality", component, spec=ModalitySpec("shade", "", "", travels=way), names={"travels"})["travels"]


@pytest.mark.parametrize(
    ("component", "way", "message"),
    [
        (OnlyTensors, "json", "refuses its own example as JSON"),
        (Doubles, "json", "that came as JSON"),
        (Packed, "json", "is none"),
        (Word, "json", 'say travels="text"'),
        (Reads, "text", "opens the file whose name is given as text"),
        (Sound, "bytes", "opens the file whose name is given as bytes"),
        (Picture, "bytes", "opens the file whose name is given as bytes"),
    ],
)
def test_a_planted_defect_is_caught(examine, component, way, message):
    result = found(examine, component, way)
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize(("component", "way"), [(Shade, "json"), (Word, "text"), (Packed, "bytes"), (Careful, "bytes")])
def test_what_is_sound_passes(examine, component, way):
    assert found(examine, component, way).status == "passed"


def test_without_a_spec_it_does_not_apply(examine):
    assert examine("modality", Word, names={"travels"})["travels"].status == "not applicable"


@pytest.mark.parametrize("entry", mmkit.installed().available("modality"), ids=lambda entry: entry.name)
def test_every_installed_modality_keeps_it(entry):
    report = check("modality", entry.full_name)
    assert {result.check.name: result.status for result in report.results}["travels"] == "passed", report


def test_what_ships_travels_as_the_page_says():
    found = mmkit.installed().available("modality")
    ways = {one.name: one.spec.travels for one in found if isinstance(one.spec, ModalitySpec)}
    assert {name: ways[name] for name in ("text", "image", "audio", "series", "table")} == {
        "text": "text",
        "image": "bytes",
        "audio": "bytes",
        "series": "json",
        "table": "json",
    }
