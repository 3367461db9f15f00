"""A column is known by what stands in it: any change of a value changes its fingerprint, and nothing is decoded."""

import datetime as dt
import decimal
import os
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import mmkit
from mmkit.contract import Samples
from mmkit.data.content import UNKNOWN, content_of, content_of_split
from mmkit.data.splits import Splits
from mmkit.errors import DataError
from mmkit.system.settings import Settings


class Opaque:
    """A value that says nothing of its content."""


def picture(color, mode="RGB", **info):
    made = Pillow.new(mode, (4, 3), color)
    made.info.update(info)
    return made


def paletted(first):
    made = Pillow.new("P", (4, 3), 0)
    made.putpalette([first, 0, 0] * 256)
    return made


DIFFERENT = [
    (["a cat", None], ["a cat", "None"]),
    (["ab", "c"], ["a", "bc"]),
    (["7"], [7]),
    ([7], [7.0]),
    ([True], [1]),
    ([0.1], [0.1 + 2**-55]),
    ([-0.0], [0.0]),
    ([None], [float("nan")]),
    (["\udc80"], ["\udc81"]),
    (["caf\u00e9"], ["cafe\u0301"]),
    ([{"a": 1}], [{"a": 2}]),
    ([{"a": 1}], [{"b": 1}]),
    ([{"a": 1}], [{"a": 1, "b": None}]),
    ([{"a": True}], [{"a": 1}]),
    ([{"a": np.float64(1)}], [{"a": np.float32(1)}]),
    ([["x"], ["y", "z"]], [["x", "y"], ["z"]]),
    ([{"x", "y"}], [{"x", "z"}]),
    ([b"png"], [b"pnG"]),
    ([b"a", b"bc"], [b"ab", b"c"]),
    ([np.zeros((2, 3))], [np.zeros((3, 2))]),
    ([np.zeros(3)], [np.zeros(3, np.float32)]),
    ([np.array([1, 2], ">i2")], [np.array([1, 2], "<i2")]),
    ([torch.zeros(3)], [torch.tensor([0.0, 0, 1e-30])]),
    ([torch.zeros(3).bfloat16()], [torch.zeros(3).half()]),
    ([(torch.zeros(1, 4), 8000)], [(torch.zeros(1, 4), 16000)]),
    (np.zeros((3, 2, 2)), np.eye(2)[None].repeat(3, 0)),
    (np.arange(4), np.arange(4.0)),
    (np.array(["a", "b"]), np.array(["a", "c"])),
    (torch.arange(6).reshape(3, 2), torch.arange(6).reshape(3, 2) + 1),
    (np.array([{"a": 1}, None], object), np.array([{"a": 2}, None], object)),
    ([picture("red")], [picture("blue")]),
    ([picture(1, "L")], [picture(1, "I")]),
    ([paletted(9)], [paletted(200)]),
    ([picture("red", exif=b"6")], [picture("red", exif=b"8")]),
    ([dt.date(2026, 1, 2)], [dt.date(2026, 2, 1)]),
    ([decimal.Decimal("1.0")], [decimal.Decimal("1.00")]),
    ([np.ma.masked], [0.0]),
    ([], [None]),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_has_another_fingerprint(one, other):
    assert content_of(one).fingerprint != content_of(other).fingerprint


@pytest.mark.parametrize("column", [given for pair in DIFFERENT for given in pair])
def test_the_same_again_has_the_same(column):
    first, again = content_of(column), content_of(column)
    assert first.fingerprint == again.fingerprint
    assert first.rows.tolist() == again.rows.tolist()
    assert len(first.rows) == len(column)


def test_the_order_of_samples_counts():
    assert content_of(["a", "b"]).fingerprint != content_of(["b", "a"]).fingerprint


def test_one_object_twice_is_as_two_that_are_equal():
    text = f"a {'cat'}"
    row = {"a": text}
    assert content_of([row, row, text]).fingerprint == content_of([{"a": "a cat"}, {"a": "a cat"}, "a cat"]).fingerprint


@pytest.mark.parametrize("place", [0, 4095, 4096, 9999])
def test_a_single_value_among_many_counts_and_is_found(place):
    column = [f"text {i}" for i in range(10_000)]
    changed = [*column]
    changed[place] += "!"
    before, after = content_of(column), content_of(changed)
    assert before.fingerprint != after.fingerprint
    assert np.flatnonzero(before.rows != after.rows).tolist() == [place]


@pytest.mark.parametrize("array", [np.arange(30.0).reshape(10, 3), torch.arange(10)])
def test_of_an_array_a_changed_row_is_found(array):
    changed = array + 0
    changed[7] += 1
    assert np.flatnonzero(content_of(array).rows != content_of(changed).rows).tolist() == [7]


def test_a_file_is_known_by_path_size_and_time_and_is_not_opened(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture at all")
    os.utime(path, ns=(1, 1))

    def found(files=True, given=str(path)):
        return content_of([given], files=files).fingerprint

    first = found()
    assert found() == first
    os.utime(path, ns=(1, 2))
    second = found()
    path.write_bytes(b"longer than it was before")
    os.utime(path, ns=(1, 2))
    third = found()
    path.unlink()
    assert len({first, second, third, found(), found(files=False), found(given=str(tmp_path / "b.png"))}) == 6


def test_a_path_is_a_file_in_every_modality_and_a_string_is_none_where_it_is_a_text(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("one")

    def columns(kind, given):
        return content_of_split(Samples(["a"], {"x": [given]}, [0]), {"x": kind}).columns["input x"]

    before = {(kind, type(given)): columns(kind, given) for kind in ("text", "image") for given in (path, str(path))}
    path.write_text("another")
    after = {(kind, type(given)): columns(kind, given) for kind in ("text", "image") for given in (path, str(path))}
    assert [key for key in before if before[key] == after[key]] == [("text", str)]


def test_of_a_folder_each_file_counts(tmp_path):
    (tmp_path / "frames" / "deep").mkdir(parents=True)
    (tmp_path / "frames" / "deep" / "0.png").write_bytes(b"1")
    before = content_of([tmp_path / "frames"]).fingerprint
    (tmp_path / "frames" / "deep" / "0.png").write_bytes(b"22")
    assert content_of([tmp_path / "frames"]).fingerprint != before


def test_a_lazy_column_with_a_fingerprint_is_not_read():
    class Lazy:
        def __init__(self, fingerprint):
            self.fingerprint = fingerprint

        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise AssertionError("read")

    assert content_of(Lazy("a")).fingerprint == content_of(Lazy("a")).fingerprint != content_of(Lazy("b")).fingerprint


@pytest.mark.full
def test_another_process_finds_the_same():
    code = "from mmkit.data.content import content_of\n"
    code += "print(content_of([{'b': 1.5, 'a': 'x'}, {'p', 'q', 'r'}]).fingerprint)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {content_of([{"b": 1.5, "a": "x"}, {"p", "q", "r"}]).fingerprint.encode() + b"\n"}


def test_what_cannot_be_told_from_another_is_unknown_and_never_the_same():
    samples = Samples(["a"], {"x": [Opaque()]}, [0])
    first, again = (content_of_split(samples, {"x": "odd"}) for _ in range(2))
    assert first.columns["input x"].startswith(UNKNOWN)
    assert first.columns["input x"] != again.columns["input x"]
    assert first.columns["truth"] == again.columns["truth"]
    assert first.unknown == ("input x: values of type Opaque cannot be hashed by their content",)


def test_mappings_of_other_types_count_by_their_content():
    assert content_of([OrderedDict(a=1)]).fingerprint != content_of([OrderedDict(a=2)]).fingerprint


class TestSplits:
    class Task:
        inputs = {"x": "image"}  # noqa: RUF012
        asked: list = []  # noqa: RUF012

        def split(self, name):
            self.asked.append(name)
            return Samples([f"{name}-{i}" for i in range(6)], {"x": [b"no picture"] * 6, "y": [0] * 6}, [0, 1] * 3)

    class Refusing:
        def decode(self, raw):
            raise DataError("decoded")

        def example(self, generator):
            return b""

    def test_a_split_is_read_once_and_not_decoded(self):
        self.Task.asked.clear()
        splits = Splits(self.Task(), {"x": self.Refusing()})
        for _ in range(2):
            assert set(splits.content("test").columns) == {"ids", "truth", "input x"}
        assert splits.own().content("test") is splits.content("test")
        with pytest.raises(DataError, match="decoded"):
            splits("test")
        with pytest.raises(DataError, match="decoded"):
            splits("test")
        assert self.Task.asked == ["test"]

    def test_the_limit_is_a_setting_and_no_other_content(self):
        few = Splits(self.Task(), {"x": self.Refusing()}, Settings("cpu", limit=2))
        assert few.content("train").columns == Splits(self.Task(), {"x": self.Refusing()}).content("train").columns

    @pytest.mark.parametrize("name", ["digits", "clipart", "synthetic-unique:train=64"])
    def test_shipped_tasks_have_the_same_content_each_time(self, name):
        catalog = mmkit.installed()
        task = catalog.choose("task", name)
        found = []
        for _ in range(2):
            made = task.component(**task.part(task.component))
            splits = Splits(made, {one: self.Refusing() for one in made.inputs})
            found.append([splits.content(split).columns for split in ("train", "validation", "test")])
        assert found[0] == found[1]
