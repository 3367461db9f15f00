"""Each check of encoders has a control, and forbids no sound encoder."""

import pytest
import torch
from torch import nn

from mmkit.plugin import EncoderSpec
from mmkit.testing import checks_of
from tests.testing import test_encoder_form as form
from tests.testing import test_encoder_numbers as numbers
from tests.testing import test_encoder_rows as rows
from tests.testing.sound_encoders import SPEC, BatchNormed, Frozen, Noisy, Sound, Steps
from tests.testing.test_surroundings import HERE


class Augmenting(Sound):
    """Its transform augments."""

    reads = Noisy


class Recurrent(Sound):
    """`torch.compile(fullgraph=True)` cannot take an LSTM, and its spec says so."""

    def __init__(self, transform):
        super().__init__(transform)
        self.cell = nn.LSTM(3, 6, batch_first=True)

    def tokens(self, batch):
        lengths = batch["mask"].sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(batch["steps"], lengths, batch_first=True, enforce_sorted=False)
        states = nn.utils.rnn.pad_packed_sequence(
            self.cell(packed)[0], batch_first=True, total_length=batch["steps"].shape[1]
        )[0]
        return self.out(torch.tanh(self.map(batch["steps"])) + states)


class Embedding(Sound):
    """An embedding whose row of padding is zero and stays it: summing without a mask is right."""

    def __init__(self, transform):
        super().__init__(transform)
        self.table = nn.Embedding(5, 6, padding_idx=0)

    def tokens(self, batch):
        index = (batch["steps"][..., 0].abs().long() % 4 + 1) * batch["mask"]
        summary = self.table(index).sum(1, keepdim=True)
        return super().tokens(batch) + summary


SOUND = [Sound, Augmenting, BatchNormed, Recurrent, Embedding, Frozen]

HEAVY = {c.name for c in checks_of("encoder", full=True) if c.full}


def test_every_check_has_a_control():
    planted = {*form.CONTROLS, *rows.CONTROLS, *numbers.CONTROLS}
    planted |= {"stages", "processes", "transform-asides"}  # in files of their own
    assert planted == {c.name for c in checks_of("encoder", full=True)} - HERE


@pytest.mark.parametrize("component", SOUND)
def test_no_sound_encoder_is_forbidden(examine, component):
    results = examine("encoder", component, spec=SPEC, modality=Steps)
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []


@pytest.mark.full
@pytest.mark.parametrize("component", [Sound, BatchNormed, Embedding])
def test_sound_encoders_are_captured(examine, component):
    results = examine("encoder", component, spec=SPEC, modality=Steps, names=HEAVY)
    assert {r.status for r in results.values()} == {"passed"}, results


@pytest.mark.full
def test_spec_may_say_that_an_encoder_cannot_be_captured(examine):
    spec = EncoderSpec("steps", "", "", modality="steps", fullgraph=False, exports=False)
    results = examine("encoder", Recurrent, spec=spec, modality=Steps, names={"compiles", "exports", "onnx"})
    exports = "its spec says exports=False"
    said = {"compiles": "its spec says fullgraph=False", "exports": exports, "onnx": exports}
    assert {name: result.message for name, result in results.items()} == said
    assert {result.status for result in results.values()} == {"not applicable"}
