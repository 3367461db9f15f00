"""What inspect says before the first training: what is read of inputs, epochs, encoders, the next command."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmkit
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.registry.options import options_of
from mmkit.sources.memory import hold
from mmkit.tasks.own_data import OwnData
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.series import SeriesTransform

ENCODERS = [e.spec for e in installed().available("encoder") if isinstance(e.spec, EncoderSpec)]


def lines(found, begins):
    return [line for line in found.advice if line.startswith(begins)]


def table(**columns):
    rows = len(next(iter(columns.values())))
    return {**columns, "label": ["yes" if row % 2 else "no" for row in range(rows)]}


def pictures(sizes):
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def test_pictures_of_several_sizes_are_brought_to_one_and_it_is_said():
    found = mmkit.inspect(table(photo=pictures([(320, 240), (100, 80), (640, 480), (320, 240)] * 5)), target="label")
    (line,) = lines(found, "read of photo: ")
    assert line.startswith("read of photo: 64x64 pixels; they have several sizes, the median is 320x240")


def test_pictures_of_one_size_are_read_as_they_are():
    found = mmkit.inspect(table(photo=pictures([(20, 20)] * 20)), target="label")
    assert lines(found, "read of") == []


def test_long_texts_and_series_are_cut_and_it_is_said():
    texts = [" ".join(f"w{row} a{n}" for n in range(200)) for row in range(20)]
    series = [[float(n % 7) for n in range(10 if row % 2 else 5000)] for row in range(20)]
    found = mmkit.inspect(table(note=texts, pulse=series), target="label")
    (text,) = lines(found, "read of note: ")
    assert "the first 256 tokens; " in text
    assert "up to 400" in text
    (pulse,) = lines(found, "read of pulse: ")
    assert "the first 4,096 steps; " in pulse
    assert "up to 5,000" in pulse


def test_what_is_cut_is_what_is_read():
    values = [np.zeros((5000, 1), np.float32), np.zeros((10, 1), np.float32)]
    transform = SeriesTransform(time_mask=0, noise=0)
    series = [torch.from_numpy(value) for value in values]
    transform.fit(series)
    assert transform(series)["mask"].sum(1).tolist() == [4096, 10]
    assert SeriesTransform(max_length=None, noise=0, time_mask=0)(series)["mask"].sum(1).tolist() == [5000, 10]
    clip = (torch.zeros(1, 8000 * 40), 8000)
    mel = MelTransform()
    mel.fit([clip])
    assert mel([clip])["mask"].sum().item() == 1 + (10 * 16000 - 400) // 160
    assert mel.told([clip]) == "the first 10 s; 1 of 1 last longer, up to 40 s (seconds)"
    assert MelTransform(seconds=None).told([clip]) == ""


def test_epochs_hang_on_the_rows():
    (line,) = lines(mmkit.inspect(table(price=[float(n * n) for n in range(40)]), target="label"), "epochs: ")
    assert line.startswith("epochs: 40 for 24 training rows, ")


def test_installed_encoders_with_weights_are_offered_by_their_specs():
    found = mmkit.inspect(table(note=[f"the cat sat on mat number {n} today" for n in range(20)]), target="label")
    offered = {s.name: s.pretrained for s in ENCODERS if s.modality == "text" and s.pretrained is not None}
    told = lines(found, "encoder of note: ")
    assert told == ([f"encoder of note: bag (pretrained: {', '.join(offered)})"] if offered else [])
    examples = [
        f"  weights on this machine: --encoder note={name}:{option}" for name, option in offered.items() if option
    ]
    assert lines(found, "  weights") == examples[:1]


def test_encoders_with_weights_take_a_line_an_input_and_one_for_all():
    words = [f"the cat sat on mat number {n} today" for n in range(20)]
    found = mmkit.inspect(table(note=words, other=[f"{text} too" for text in words]), target="label")
    told = [line for line in found.text().splitlines() if "encoder" in line]
    assert len(told) <= 3
    assert max(map(len, found.text().splitlines())) <= 80


@pytest.mark.parametrize("spec", [one for one in ENCODERS if one.pretrained], ids=lambda spec: spec.name)
def test_the_option_that_a_spec_names_is_one_of_its_encoder(spec):
    encoder: Any = installed().find("encoder", spec.name).load()
    option, equals, value = spec.pretrained.partition("=")
    assert option in options_of(encoder, encoder.reads)
    assert equals
    assert value


def test_the_next_command_asks_for_what_was_asked(tmp_path):
    path = tmp_path / "my table.csv"
    path.write_text("id,x,y,label\n" + "".join(f"r{n},{n * n % 17},{n},{'ab'[n % 2]}\n" for n in range(30)))
    options = {"data": str(path), "target": "label", "columns": {"x": "category"}, "id": "id", "folds": 3}
    (line,) = lines(OwnData.describe(options), "next: ")
    words = shlex.split(line.removeprefix("next: "))
    assert words[:4] == ["mmkit", "bench", "--data", str(path)]
    pairs = set(zip(words[4::2], words[5::2], strict=True))
    assert pairs == {("--target", "label"), ("--column", "x=category"), ("--id", "id"), ("--folds", "3")}
    (line,) = lines(OwnData.describe({"data": str(path)}), "next: ")
    assert line.endswith("--target COLUMN")


def test_a_table_in_memory_has_no_command():
    assert lines(mmkit.inspect(table(price=[float(n * n) for n in range(40)]), target="label"), "next") == []


def test_a_wide_table_gets_an_encoder_whose_cost_grows_with_its_columns():
    wide = table(**{f"c{n}": [float((row * row * n) % 9973) for row in range(30)] for n in range(2, 260)})
    task = OwnData(data=hold(wide), target="label")
    assert task.encoders == {"table": "table-lasso"}
    (said,) = lines(mmkit.inspect(wide, target="label"), "encoder of table: ")
    assert said == (
        "encoder of table: table-lasso, as of more than 200 columns few may carry signal, and it learns which "
        "(--encoder table=table-mlp reads all alike)"
    )
    lists = table(vector=[[float((row * n) % 13) for n in range(260)] for row in range(30)])
    assert OwnData(data=hold(lists), target="label").encoders == {"table": "table-lasso"}
    assert OwnData(data=hold(table(x=[float(n * n) for n in range(30)])), target="label").encoders == {}


def test_the_next_command_names_each_column_of_the_target_though_one_has_a_comma(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('x,"arms, legs",height\n' + "".join(f"{i / 7},{i + 0.5},{i * 3 % 11 + 0.5}\n" for i in range(40)))
    (line,) = lines(mmkit.inspect(str(path), target=["arms, legs", "height"]), "next: ")
    words = shlex.split(line)
    assert words[words.index("--target") + 1] == '"arms, legs",height'
