"""A fusion within encoders: when it is called, what it is shown, and what its changes lead to."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features
from mmkit.errors import UsageError
from mmkit.fusions.inner.mmtm import MmtmFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.model.network import Model
from mmkit.testing import tiny_task


class Chain(nn.Module):
    """Parts that add 1 to what they are given, and note when they ran."""

    def __init__(self, name, parts, notes, *, frozen=False):
        super().__init__()
        self.name, self.parts, self.notes = name, parts, notes
        self.width, self.inner, self.frozen = 2, (2,) * (parts - 1), frozen

    def begin(self, batch):
        return batch["values"], batch["mask"]

    def stage(self, number, state):
        self.notes.append(f"{self.name}{number}")
        return state[0] + 1, state[1]

    def get(self, state):
        return Features(state[0].unsqueeze(1), state[1].unsqueeze(1))

    def put(self, state, features):
        return features.tokens.squeeze(1), state[1]

    def finish(self, state):
        return Features.of(*self.stage(len(self.inner), state))

    def forward(self, batch):
        state = self.begin(batch)
        for number in range(len(self.inner)):
            state = self.stage(number, state)
        return self.finish(state)


class Doubles(nn.Module):
    """Doubles what stands at its places, and notes what it was shown."""

    def __init__(self, places, notes):
        super().__init__()
        self.places, self.notes, self.width = places, notes, 4
        self.join = ConcatFusion({"a": 2, "b": 2, "c": 2}, width=4)

    def exchange(self, place, features):
        self.notes.append(f"{place}:{','.join(features)}")
        of = {n: {f"at.{place}": f.vector() + 1} for n, f in features.items()}
        return {n: replace(f, tokens=2 * f.tokens, details=of[n], inner=of[n]) for n, f in features.items()}

    def forward(self, features):
        return self.join(features)


def _batch(rows=3):
    mask = torch.ones(rows, dtype=torch.bool)
    mask[1] = False
    return {name: {"values": torch.zeros(rows, 2), "mask": mask} for name in "abc"}


def _model(places, notes, **frozen):
    encoders = {n: Chain(n, parts, notes, frozen=frozen.get(n, False)) for n, parts in (("a", 3), ("b", 2), ("c", 1))}
    return Model(encoders, Doubles(places, notes), nn.Identity())


def test_encoders_meet_where_they_end_and_one_without_places_is_shown_whole():
    notes = []
    features = _model((3, 2), notes).encode(_batch())
    assert notes == ["c0", "a0", "3:c,a", "a1", "b0", "2:c,a,b", "a2", "b1"]
    # a: (((0 + 1) * 2 + 1) * 2) + 1, b: (0 + 1) * 2 + 1, c as it was; where an input is missing, nothing.
    assert [features[n].vector()[0, 0].item() for n in "abc"] == [7, 3, 1]
    assert all(not f.present()[1] and f.vector()[1].eq(0).all() for f in features.values())
    assert set(features["a"].details) == {"at.3", "at.2"}
    assert features["b"].details["at.2"].tolist() == [[2, 2], [1, 1], [2, 2]]
    assert set(features["a"].inner) == {"at.3", "at.2"}
    assert features["b"].inner["at.2"].tolist() == [[2, 2], [0, 0], [2, 2]]  # zero where the input is missing
    assert not features["c"].inner


def test_it_is_called_at_its_places_alone():
    notes = []
    features = _model((2,), notes).encode(_batch())
    assert [n for n in notes if ":" in n] == ["2:c,a,b"]
    assert [features[n].vector()[0, 0].item() for n in "abc"] == [5, 3, 1]


def test_without_places_every_input_is_encoded_for_itself():
    notes = []
    model = _model((1,), notes)
    model.encode(_batch())
    assert notes == ["a0", "a1", "a2", "b0", "b1", "c0"]
    assert not model.fuses_within


def test_a_frozen_encoder_is_whole_and_features_may_be_given():
    notes = []
    model = _model((3, 2), notes, a=True, b=True)
    assert not model.fuses_within
    given = {**_batch(), "a": Features.of(torch.ones(3, 2))}
    assert model.encode(given)["a"].vector().tolist() == [[1, 1]] * 3


def test_rows_are_not_grouped_where_they_must_meet():
    class Rowwise(Chain):
        rowwise = True

    encoders = {n: Rowwise(n, 2, []) for n in "abc"}
    assert Model(encoders, Doubles((1,), []), nn.Identity()).rowwise == ["a", "b", "c"]
    assert Model(encoders, Doubles((2,), []), nn.Identity()).rowwise == []


@pytest.fixture(scope="module")
def fitted():
    task = tiny_task({"wave": "series", "note": "text", "cells": "table"})
    return mmkit.fit(
        task=task, fusion="mmtm:at=all,width=8", encoders={"wave": "tcn", "note": "text-transformer"},
        training={"epochs": 2}, device="cpu",
    )[0]  # fmt: skip


SAMPLES = [{"wave": None, "note": "north", "cells": None}]


def test_it_trains_is_saved_and_answers_alike(fitted, tmp_path):
    assert isinstance(fitted.module.fusion, MmtmFusion)
    assert fitted.module.fusion.places == (2, 1)
    moved = [
        gate.weight.detach().abs().sum()
        for site in fitted.module.fusion.transfers.values()
        for gate in site.gates.values()
    ]
    assert all(float(one) > 0 for one in moved)  # every gate has learned something
    fitted.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model")
    assert again.predict(SAMPLES) == fitted.predict(SAMPLES)


def test_an_explanation_of_inputs_that_meet_within_encoders_is_refused(fitted):
    with pytest.raises(UsageError, match=r"fusion mmtm.*acts between the parts of encoders.*at=last"):
        fitted.explain(SAMPLES[0])
