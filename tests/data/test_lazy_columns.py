"""Columns larger than memory: decoded when they are asked for, to the same values; what cannot be read is met then."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkit.contract import Samples
from mmkit.data import decoding
from mmkit.data.bad_values import MOST_FITTED, MOST_TEXTS, RejectedError, fit_transform, fitted_on, without
from mmkit.data.columns import Column
from mmkit.data.decoded import Decoded, Raw
from mmkit.data.decoding import decode_all
from mmkit.data.missing import missing_values
from mmkit.data.readings import Live
from mmkit.data.subset import select, small_subset, with_truth
from mmkit.data.whole import whole
from mmkit.errors import DataError
from mmkit.system import machine
from mmkit.transforms.text import TextTransform


class Read:
    """Reads a file of a number; files that hold none cannot be read."""

    def __init__(self):
        self.calls = []

    def decode(self, raw):
        self.calls.append(raw)
        text = Path(raw).read_text()
        if not text.isdigit():
            raise DataError(f"{Path(raw).name} holds no number")
        return torch.tensor(float(text))


class Plain:
    """A number a row; negative ones are rejected."""

    augments = False

    def fit(self, values):
        self.seen = list(values)

    def __call__(self, values, generator=None):
        if any(value is not None and value < 0 for value in values):
            raise DataError("negative")
        return {
            "x": torch.tensor([0.0 if value is None else float(value) for value in values]),
            "mask": torch.tensor([value is not None for value in values]),
        }

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Names of 300 files, whose column counts as large; number 7 is missing, 100 and 200 are broken."""
    monkeypatch.setattr(decoding, "EAGER", 0)
    for i in range(300):
        (tmp_path / f"{i}.txt").write_text("broken" if i in {100, 200} else str(i))
    return [None if i == 7 else str(tmp_path / f"{i}.txt") for i in range(300)]


def given(column):
    return Samples([f"s{i}" for i in range(len(column))], {"n": column}, [i % 3 for i in range(len(column))])


def test_nothing_is_decoded_before_it_is_asked_for(paths):
    modality = Read()
    found, _ = decode_all(given(paths), {"n": modality}, "missing")
    column = Column.of(found.inputs["n"])
    assert column.lazy is not None
    assert len(modality.calls) <= 64  # a few, to know their size
    chosen = select(found, [3, 7, 250])
    assert len(modality.calls) <= 64
    assert [None if v is None else int(v) for v in chosen.inputs["n"]] == [3, None, 250]
    assert column[5].item() == 5
    assert [int(v) for v in column[10:12]] == [10, 11]
    with pytest.raises(IndexError):
        column[300]


def test_the_values_are_those_of_a_column_in_memory(paths, monkeypatch):
    lazy = Column.of(decode_all(given(paths), {"n": Read()}, "missing")[0].inputs["n"])
    monkeypatch.setattr(decoding, "EAGER", 1 << 40)
    plain = Column.of(decode_all(given(paths), {"n": Read()}, "missing")[0].inputs["n"])
    assert plain.lazy is None
    assert [v is None for v in lazy] == [v is None for v in plain]
    one, other = (whole("n", Plain(), c, [str(i) for i in range(300)]) for c in (lazy, plain))
    assert one.leaves.keys() == other.leaves.keys()
    assert all(torch.equal(one.leaves[leaf], other.leaves[leaf]) for leaf in one.leaves)


def test_what_cannot_be_read_fails_drops_the_value_or_the_sample(paths):
    column = decode_all(given(paths), {"n": Read()})[0].inputs["n"]
    with pytest.raises(RejectedError, match=r"sample s100, input n: 100\.txt holds no number"):
        list(column)
    found, unread = decode_all(given(paths), {"n": Read()}, "missing")
    list(found.inputs["n"])
    list(found.inputs["n"])
    assert [(line.sample, line.reason) for line in unread] == [
        ("s100", "100.txt holds no number"),
        ("s200", "200.txt holds no number"),
    ]
    assert missing_values(found, ["n"]) == {"n": 3}
    found, unread = decode_all(given(paths), {"n": Read()}, "skip")
    assert len(found) == 298
    assert {line.sample for line in unread} == {"s100", "s200"}
    assert "s100" not in list(found.ids)


def test_a_live_reading_names_the_value_that_it_cannot_read(paths):
    samples = decode_all(given(paths), {"n": Read()})[0]
    live = Live("n", Plain(), samples.inputs["n"], samples.ids, augment=False)
    assert live.rows(torch.tensor([3, 7]))["x"].tolist() == [3, 0]
    with pytest.raises(RejectedError, match="sample s200") as caught:
        live.rows(torch.tensor([3, 200]))
    left = without(samples, caught.value, "missing")
    assert Column.of(left.inputs["n"]).lazy is not None
    assert left.inputs["n"][200] is None
    assert Column.of(left.inputs["n"]).fingerprint != Column.of(samples.inputs["n"]).fingerprint
    with pytest.raises(RejectedError):  # it does not occur there any more
        without(left, caught.value, "missing")


def test_a_transform_s_refusals_are_named_at_once_though_only_their_parts_are_tried(tmp_path):
    class Number:
        def decode(self, raw):
            return float(raw)

    calls = []

    class Counts(Plain):
        def __call__(self, values, generator=None):
            calls.append(len(values))
            return super().__call__(values, generator)

    raw = [float(i) for i in range(20_000)]
    raw[5000], raw[15_000] = -1.0, -2.0
    lazy = Column(Decoded(Raw(raw, Number()), None))
    with pytest.raises(RejectedError) as caught:
        whole("n", Counts(), lazy, [str(i) for i in range(20_000)])
    assert caught.value.reasons == {"5000": "negative", "15000": "negative"}
    assert sum(size == 1 for size in calls) <= 2 * 4096


@pytest.mark.parametrize("values", [list(range(MOST_FITTED + 5)), ["word"] * (MOST_TEXTS + 3)], ids=["others", "texts"])
def test_a_fit_that_does_not_stream_gets_some_values_of_a_large_column(values):
    class Same:
        def decode(self, raw):
            return raw

    most = MOST_TEXTS if isinstance(values[0], str) else MOST_FITTED
    column = Column(Decoded(Raw(values, Same()), None))
    one, other = Plain(), Plain()
    for transform in (one, other):
        fit_transform("n", transform, column, [str(i) for i in range(len(values))])
    assert len(one.seen) == most == fitted_on(one, column)
    assert one.seen == other.seen
    assert fitted_on(TextTransform(), column) == len(values)
    assert fitted_on(one, Column(values)) == len(values)


def test_a_file_that_changes_is_another_column(paths):
    column = Column.of(decode_all(given(paths), {"n": Read()}, "missing", {"n": "image"})[0].inputs["n"])
    again = Column.of(decode_all(given(paths), {"n": Read()}, "missing", {"n": "image"})[0].inputs["n"])
    assert column.same(again)
    Path(paths[3]).write_text("30")
    changed = Column.of(decode_all(given(paths), {"n": Read()}, "missing", {"n": "image"})[0].inputs["n"])
    assert not column.same(changed)


def test_all_samples_with_truth_are_the_samples():
    samples = given(["a"] * 9)
    assert with_truth(samples) is samples
    assert small_subset(samples, 4).truth == [0, 1, 2, 0]


def test_gaps_of_a_lazy_source_are_asked_for_and_not_read():
    class Source(list):
        fingerprint = "x"

        def subset(self, index):
            return self

        def gaps(self, index):
            return np.arange(len(self))[index] % 2 == 0

    column = Column(Decoded(Raw(Source("abcd"), None), None))
    assert column.gaps().tolist() == [True, False, True, False]
    assert column.take([1, 2]).gaps().tolist() == [False, True]


def test_values_that_another_version_decodes_are_others(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1")
    known = metadata.version

    def found(**versions):
        monkeypatch.setattr(metadata, "version", lambda name: versions.get(name) or known(name))
        return Column(Decoded(Raw([tmp_path / "a"], Read()), None)).fingerprint

    monkeypatch.setattr(machine, "_packages", lambda: {Read.__module__.partition(".")[0]: ["acme"]})
    assert found(acme="1.0") == found(acme="1.0")
    assert len({found(acme="1.0"), found(acme="1.1"), found(acme="1.0", pillow="0.1")}) == 3
