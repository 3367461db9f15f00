"""A saved model is what was saved: whatever its predictions hang on cannot change without a word."""

import json
import struct
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import mmkit
from mmkit.contract import Features
from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.fusions.vectors.concat import ConcatFusion


@pytest.fixture
def titles():
    class Titles:
        """Each modality whose transform has a state, and classes."""

        inputs: ClassVar = {"title": "text", "row": "table", "curve": "series"}
        target, metric, encoders, training = "classes", "accuracy", {}, {}

        def split(self, name):
            words = ["red car", "blue car", "red boat", "blue boat"] * 8
            rows = [{"doors": i % 3, "kind": "ab"[i % 2]} for i in range(32)]
            curves = [torch.linspace(0, i, 6)[:, None] for i in range(32)]
            inputs = {"title": words, "row": rows, "curve": curves}
            return mmkit.Samples([f"{name}-{i}" for i in range(32)], inputs, ["x", "y"] * 16)

    return Titles


@pytest.fixture
def folder(titles, tmp_path):
    model, _ = mmkit.fit(task=titles, fusion="attention:heads=2", training={"epochs": 1, "min_steps": 0}, device="cpu")
    model.save(tmp_path / "model")
    return tmp_path / "model"


def tensors(content):
    """Name -> first and last byte in the file, of each tensor that safetensors wrote."""
    (size,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + size])
    return {n: [8 + size + at for at in e["data_offsets"]] for n, e in head.items() if n != "__metadata__"}


def test_as_it_was_saved_it_loads_and_answers_alike(folder):
    first, again = mmkit.load(folder), mmkit.load(folder)
    assert first.predict([{"title": "red car"}, {}]) == again.predict([{"title": "red car"}, {}])


@pytest.mark.parametrize("where", ["the length", "the head", "the first weight", "the middle", "the last bit"])
def test_a_flipped_bit_of_the_weights_is_refused(folder, where):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    (size,) = struct.unpack("<Q", content[:8])
    places = {"the length": 1, "the head": 20, "the first weight": 8 + size, "the middle": len(content) // 2}
    content[places.get(where, len(content) - 1)] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"model\.safetensors does not fit model\.json beside it") as raised:
        mmkit.load(folder)
    assert "\n" not in str(raised.value)


def test_every_tensor_of_the_weights_counts(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for begin, end in tensors(whole).values():
        if begin == end:
            continue
        content = bytearray(whole)
        content[end - 1] ^= 0x80  # a sign
        path.write_bytes(bytes(content))
        with pytest.raises(DataError, match=r"model\.safetensors does not fit"):
            mmkit.load(folder)


def test_weights_that_were_made_nan_are_refused(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    begin, _ = tensors(content)["head.logits.weight"]
    content[begin : begin + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"model\.safetensors does not fit model\.json beside it"):
        mmkit.load(folder)


def test_a_model_whose_weights_are_nan_is_not_saved(folder, tmp_path):
    model = mmkit.load(folder)
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(MmkitError, match=r"holds NaN, so the model is not saved: its training diverged"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_infinite_buffers_are_no_fault(folder, tmp_path):
    model = mmkit.load(folder)
    model.module.register_buffer("never", torch.tensor(float("-inf")))
    model.save(tmp_path / "other")  # a model may hold a mask of -inf


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (["combination", "fusion", "options", "heads"], 4),
        (["combination", "encoders", "title", "options", "width"], 32),
        (["combination", "head", "options", "dropout"], 0.9),
        (["target"], "labels"),
        (["inputs", "title"], "table"),
        (["truth", "names"], ["y", "x"]),
        (["weights"], "0" * 32),
    ],
)
def test_a_changed_description_is_refused(folder, way, value):
    path = folder / "model.json"
    description = json.loads(path.read_text())
    place = description
    for key in way[:-1]:
        place = place[key]
    assert place.get(way[-1]) != value
    place[way[-1]] = value
    path.write_text(json.dumps(description))
    with pytest.raises(DataError, match=r"model\.json was changed after it was saved") as raised:
        mmkit.load(folder)
    assert "\n" not in str(raised.value)


def test_every_number_of_a_transforms_state_counts(folder):
    path = folder / "model.json"
    whole = json.loads(path.read_text())

    def numbers(tree, way=()):
        for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
            yield from numbers(tree[key], (*way, key))
        if isinstance(tree, int | float) and not isinstance(tree, bool):
            yield way

    ways = list(numbers(whole["transforms"]))
    assert len(ways) == 5  # mean and deviation, of the curve and of the doors, and the rows of the table
    for way in ways:
        changed = json.loads(json.dumps(whole))
        place = changed["transforms"]
        for key in way[:-1]:
            place = place[key]
        place[way[-1]] += 1
        path.write_text(json.dumps(changed))
        with pytest.raises(DataError, match=r"model\.json was changed"):
            mmkit.load(folder)


def test_white_space_of_the_description_is_no_change_and_its_order_is_one(folder):
    path = folder / "model.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description))
    mmkit.load(folder)
    description["inputs"] = dict(reversed(description["inputs"].items()))
    path.write_text(json.dumps(description))
    with pytest.raises(DataError, match=r"model\.json was changed"):
        mmkit.load(folder)


@pytest.mark.parametrize("constant", ["NaN", "Infinity"])
def test_what_is_no_json_is_refused(folder, constant):
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"width": ', f'"wide": {constant}, "width": ', 1))
    with pytest.raises(DataError, match="holds no readable model"):
        mmkit.load(folder)


@pytest.mark.parametrize("left", [[], [".model.json.fresh"], [".model.json.fresh", ".model.safetensors.fresh"]])
def test_what_a_killed_process_left_does_not_stand_in_the_way(folder, tmp_path, left):
    (tmp_path / "other").mkdir()
    for name in left:
        (tmp_path / "other" / name).write_bytes(b"half")
    mmkit.load(folder).save(tmp_path / "other")
    mmkit.load(tmp_path / "other")
    whole = ["model.json", "model.safetensors", "trained_on.safetensors"]
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == whole


def test_a_process_that_is_killed_between_the_files_leaves_a_folder_that_can_be_saved_to(folder, tmp_path, monkeypatch):
    model = mmkit.load(folder)

    def killed(self, target, replace=Path.replace):
        if target.name == "model.safetensors":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            model.save(tmp_path / "other")
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read: No such file"):
        mmkit.load(tmp_path / "other")
    model.save(tmp_path / "other")
    mmkit.load(tmp_path / "other")


def test_a_component_that_was_edited_since_is_said(tmp_path):
    def made(gain):
        class Fusion(ConcatFusion):
            def forward(self, features):
                fused = super().forward(features)
                return Features.of(fused.vector() * gain)

        return Fusion

    asked = {"task": "synthetic-unique:train=32", "training": {"epochs": 1, "min_steps": 0}, "device": "cpu"}
    model, _ = mmkit.fit(fusion=made(1.0), **asked)
    model.save(tmp_path / "model")
    name = model.combination.fusion.name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mmkit.load(tmp_path / "model", components={name: made(1.0)})
    with pytest.warns(UserWarning, match=r"was saved by other code: that of fusion .*Fusion has changed"):
        mmkit.load(tmp_path / "model", components={name: made(2.0)})


def test_a_name_that_is_too_long_is_said(folder, tmp_path):
    with pytest.raises(UsageError, match=r"cannot write to .*: File name too long; choose another folder"):
        mmkit.load(folder).save(tmp_path / ("y" * 300))
