"""A stranger's modality is served unchanged: by its spec alone it is asked for, read, explained and shown."""

import base64
import sys

import mmkit
from mmkit.contract import Samples
from tests.serving.conftest import QUICK, served

PLUGIN = """
from mmkit.plugin import EncoderSpec, ModalitySpec, hookimpl

@hookimpl
def mmkit_modalities():
    yield ModalitySpec("tape", "stranger_tapes:Tape", "Punched tapes", encoder="holes", extensions=(".tape",),
                       magic=(rb"TAPE",), travels="bytes")
    yield ModalitySpec("chord", "stranger_tapes:Chord", "Notes at once", encoder="notes")

@hookimpl
def mmkit_encoders():
    yield EncoderSpec("holes", "stranger_tapes:HolesEncoder", "Holes", modality="tape")
    yield EncoderSpec("notes", "stranger_tapes:NotesEncoder", "Notes", modality="chord")
"""
MODULE = '''
import torch
from torch import nn
from mmkit.contract import Features
from mmkit.errors import DataError


class Tape:
    """A raw value is the bytes of a file, which begin with TAPE; in memory it is bytes."""

    def decode(self, raw):
        if not isinstance(raw, bytes) or not raw.startswith(b"TAPE") or len(raw) < 5:
            raise DataError("a tape is bytes that begin with TAPE")
        return raw

    def example(self, generator):
        return b"TAPE" + bytes(torch.randint(256, (8,), generator=generator).tolist())


class Chord:
    """A raw value is {"notes": [...], "loud": bool}; in memory the same."""

    def decode(self, raw):
        try:
            notes = [float(note) for note in raw["notes"]]
            loud = bool(raw["loud"])
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"a chord is a mapping of notes and loud; got {type(raw).__name__}") from error
        if not notes:
            raise DataError("a chord has a note")
        return {"notes": notes, "loud": loud}

    def example(self, generator):
        loud = bool(torch.rand((), generator=generator) > 0.5)
        return {"notes": torch.rand(3, generator=generator).tolist(), "loud": loud}


class Plain:
    augments = False

    def fit(self, values):
        pass

    def __call__(self, values, generator=None):
        mask = torch.tensor([value is not None for value in values])
        return {"x": torch.tensor([[0.0, 0.0] if value is None else self.of(value) for value in values]), "mask": mask}

    def state(self):
        return {}

    def restore(self, state):
        pass


class TapeTransform(Plain):
    def of(self, value):
        return [sum(value[4:]) / 2048, value[4] / 256]


class ChordTransform(Plain):
    def of(self, value):
        return [sum(value["notes"]), float(value["loud"])]


class Linear(nn.Module):
    def __init__(self, transform):
        super().__init__()
        self.width = 4
        self.map = nn.Linear(2, 4)

    def forward(self, batch):
        return Features.of(self.map(batch["x"]), batch["mask"])


class HolesEncoder(Linear):
    reads = TapeTransform


class NotesEncoder(Linear):
    reads = ChordTransform
'''


class Tunes:
    """High or low?"""

    description = "Tapes and chords; generated."

    def __init__(self):
        self.inputs = {"tape": "tape", "chord": "chord"}
        self.target, self.metric = "classes", "accuracy"
        self.encoders, self.training = {}, {}

    def split(self, name):
        first = 100 * ("train", "validation", "test").index(name)
        tapes = [b"TAPE" + bytes([(first + 7 * i) % 256] * 8) for i in range(24)]
        chords = [{"notes": [0.1 * (i % 5), 0.2], "loud": i % 2 == 0} for i in range(24)]
        truth = ["high" if i % 2 else "low" for i in range(24)]
        return Samples([f"{name}-{i}" for i in range(24)], {"tape": tapes, "chord": chords}, truth)


def test_it_is_asked_read_explained_and_shown(distribution, tmp_path, monkeypatch):
    (tmp_path / "stranger_tapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger_tapes", raising=False)
    distribution("stranger-tapes", PLUGIN)
    for name in ("tape", "chord"):
        assert mmkit.testing.check("modality", name).ok
    model, _ = mmkit.fit(task=Tunes, fusion="concat", training=QUICK, device="cpu", progress=False)
    model.save(tmp_path / "tunes")
    tape, chord = b"TAPE" + bytes(range(8)), {"notes": [0.5, 0.25], "loud": True}
    (expected,) = model.predict([{"tape": tape, "chord": chord}])
    with served(tmp_path / "tunes") as (client, _):
        (listed,) = client.get("/models")[1]["models"]
        asked = {one["name"]: one for one in listed["inputs"]}
        assert {name: one["travels"] for name, one in asked.items()} == {"tape": "bytes", "chord": "json"}
        assert asked["tape"]["extensions"] == [".tape"]
        assert set(asked["chord"]["example"]) == {"notes", "loud"}
        sample = {"tape": base64.b64encode(tape).decode(), "chord": chord}
        status, (found,) = client.ask(sample, path="/predict?explain=true")
        assert status == 200
        assert found["label"] == expected["label"]
        for name, share in expected["probabilities"].items():
            assert abs(found["probabilities"][name] - share) < 1e-5
        assert set(found["explanation"]["contributions"]) == {"tape", "chord"}
        status, (by_form,) = client.form(tape=tape, chord='{"notes": [0.5, 0.25], "loud": true}')
        assert (status, by_form["label"]) == (200, expected["label"])
        answers = client.ask(
            {"tape": base64.b64encode(b"/etc/passwd").decode()},
            {"chord": {"notes": [], "loud": True}},
            {"chord": "/etc/passwd"},
        )[1]
        reasons = [one["error"]["reason"] for one in answers]
        assert reasons[0] == "a tape is bytes that begin with TAPE"
        assert reasons[1] == "a chord has a note"
        assert "got a string" in reasons[2]
