"""Transformed splits on disk: what is read is what the transform gives, whatever was killed or waited for."""

import json
import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch import Generator

from mmkit.data.bad_values import RejectedError
from mmkit.data.columns import Column
from mmkit.data.decoded import Decoded, Raw
from mmkit.errors import DataError, MmkitError
from mmkit.features import pieces
from mmkit.features.cache import cache_entries, clear
from mmkit.features.sharing import Shared
from mmkit.features.transformed import Packing, UnpackableError, packed
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.text import TextTransform

FEW = 8


class Same:
    """Values as they are."""

    def decode(self, raw):
        return raw


def column(values):
    return Column(Decoded(Raw(values, Same()), None))


def pack(transform, values, folder, monkeypatch=None, name="n"):
    work = Packing(name, transform, column(values), [f"s{i}" for i in range(len(values))], about={"input": name})
    return packed(work, folder, "0123456789abcdef", {"of": "a test"})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of a few values, so that there are several."""
    monkeypatch.setattr(Decoded, "at_once", FEW)


def transforms():
    """A fitted transform of each installed encoder that can be built, with values, some of them missing."""
    catalog = installed()
    found = []
    for entry in catalog.available("encoder"):
        spec = entry.spec
        assert isinstance(spec, EncoderSpec)
        modality = catalog.find("modality", spec.modality).load()()
        generator = Generator().manual_seed(0)
        values = [modality.example(generator) for _ in range(5 * FEW)]
        for i in (0, 3, FEW + 1):
            values[i] = None
        found.append(pytest.param(entry, values, id=spec.name))
    return found


@pytest.mark.parametrize(("entry", "values"), transforms())
def test_rows_are_those_of_the_transform(entry, values, tmp_path):
    try:
        component = entry.load()
        transform = component.reads()
        transform.fit(values)
    except (MmkitError, ImportError, OSError, TypeError) as error:
        pytest.skip(f"it needs weights: {str(error)[:80]}")
    try:
        whole = pack(transform, values, tmp_path)
    except UnpackableError as error:
        pytest.skip(f"its rows are read live: {error}")
    for index in ([5], [0], [0, 3], [1, 2, 4], list(range(len(values))), [30, 2, 2, 9]):
        expected = transform([values[i] for i in index])
        found = whole.rows(torch.tensor(index))
        assert found.keys() == expected.keys()
        for leaf in expected:
            assert found[leaf].dtype == expected[leaf].dtype
            assert torch.equal(found[leaf], expected[leaf]), leaf


def texts(count=100):
    return [None if i % 11 == 0 else " ".join(["red apple boats"] * (1 + i * 7 % 13)) for i in range(count)]


def fitted(values):
    transform = TextTransform()
    transform.fit(values)
    return transform


def test_only_real_steps_are_on_disk(tmp_path):
    values = texts()
    whole = pack(fitted(values), values, tmp_path)
    real = sum(0 if text is None else len(text.split()) for text in values)
    assert whole.leaves["tokens"].shape == (real,)
    assert whole.size == 0  # none of it is in memory


def test_sequences_of_one_length_are_read_as_they_are(tmp_path):
    values = [torch.randn(6, 2) for _ in range(30)]
    transform = SeriesTransform()
    transform.fit(values)
    whole = pack(transform, values, tmp_path)
    assert whole.leaves["steps"].shape == (30, 6, 2)
    assert torch.equal(whole.rows(torch.tensor([7, 3]))["steps"], transform([values[7], values[3]])["steps"])


def test_padding_that_no_part_has_is_found(tmp_path):
    class Ones(SeriesTransform):
        def __call__(self, values, generator=None):
            batch = super().__call__(values, generator)
            return {**batch, "steps": batch["steps"].masked_fill(~batch["mask"].unsqueeze(2), 1)}

    values = [torch.randn(3 if i < FEW else 5, 1) for i in range(2 * FEW)]
    transform = Ones(standardize=False)
    transform.fit(values)
    index = [0, FEW]
    whole = pack(transform, values, tmp_path)
    assert torch.equal(whole.rows(torch.tensor(index))["steps"], transform([values[i] for i in index])["steps"])


def test_a_transform_whose_padding_is_not_one_value_is_not_packed(tmp_path):
    class Counted(SeriesTransform):
        def __call__(self, values, generator=None):
            batch = super().__call__(values, generator)
            place = torch.arange(batch["mask"].shape[1]).float().view(1, -1, 1)
            return {**batch, "steps": torch.where(batch["mask"].unsqueeze(2), batch["steps"], place)}

    values = [torch.randn(1 + i % 5, 1) for i in range(30)]
    transform = Counted(standardize=False)
    transform.fit(values)
    with pytest.raises(UnpackableError, match="padding of steps"):
        pack(transform, values, tmp_path)


def test_what_is_rejected_is_named_at_once(tmp_path):
    class Picky(TextTransform):
        def __call__(self, values, generator=None):
            if any(value == "bad" for value in values):
                raise DataError("bad")
            return super().__call__(values, generator)

    values = texts()
    transform = Picky()
    transform.fit(values)
    values[40] = values[90] = "bad"
    with pytest.raises(RejectedError) as caught:
        pack(transform, values, tmp_path)
    assert caught.value.reasons == {"s40": "bad", "s90": "bad"}


def test_the_cache_lists_and_clears_it(tmp_path):
    pack(fitted(texts()), texts(), tmp_path)
    (entry,) = cache_entries(tmp_path)
    assert entry.about["samples"] == 100
    assert entry.about["input"] == "n"
    assert clear(tmp_path, [entry.key]) == entry.size
    assert cache_entries(tmp_path) == []


@pytest.mark.parametrize("file", ["about.json", "leaf0.npy", "offsets.npy"])
def test_a_damaged_entry_is_made_again(file, tmp_path):
    values = texts()
    pack(fitted(values), values, tmp_path)
    (tmp_path / "0123456789abcdef" / file).write_bytes(b"")
    whole = pack(fitted(values), values, tmp_path)
    assert torch.equal(whole.rows(torch.arange(100))["tokens"], fitted(values)(values)["tokens"])


class Slow(TextTransform):
    """It writes each part that it is asked for to a file, and takes its time."""

    log = ""

    def __call__(self, values, generator=None):
        with open(self.log, "a") as file:  # noqa: PTH123
            file.write(f"{len(values)}\n")
        time.sleep(0.03)
        return super().__call__(values, generator)


def _pack(folder, log):
    pieces.SECONDS = 0.0  # each part is made sure of
    setattr(Decoded, "at_once", FEW)  # noqa: B010 (a property, in this process for good)
    values = texts(400)
    transform = Slow()
    transform.log = str(log)
    transform.fit(values)
    pack(transform, values, folder)


def parts_in(log):
    """How many whole parts were transformed; single values are for the layout."""
    return log.read_text().split().count(str(FEW))


@pytest.mark.full
def test_a_pass_that_was_killed_goes_on(tmp_path):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_pack, args=(tmp_path / "c", tmp_path / "log"))
    process.start()
    progress = tmp_path / "c" / "0123456789abcdef" / "progress.json"
    deadline = time.monotonic() + 120
    while not progress.exists() or len(json.loads(progress.read_text())["pieces"]) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (progress.parent / "about.json").exists()
    before = parts_in(tmp_path / "log")
    _pack(tmp_path / "c", tmp_path / "log")
    after = parts_in(tmp_path / "log") - before
    values = texts(400)
    whole = pack(fitted(values), values, tmp_path / "c")
    expected = fitted(values)(values)
    assert all(torch.equal(whole.rows(torch.arange(400))[leaf], expected[leaf]) for leaf in expected)
    assert after < 400 / FEW - 5  # what was written is not transformed again


@pytest.mark.full
def test_of_two_processes_one_packs_and_the_other_waits(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_pack, args=(tmp_path / "c", tmp_path / "log")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert parts_in(tmp_path / "log") == 400 // FEW


class TestShared:
    @pytest.fixture
    def large(self, monkeypatch):
        """Every split is large."""
        monkeypatch.setattr("mmkit.features.sharing.IN_MEMORY", 0)

    def work(self, count=100):
        values = texts(count)
        return Packing("n", fitted(values), column(values), [str(i) for i in range(count)])

    def choice(self):
        return installed().choose("encoder", "bag")

    def test_a_large_split_is_packed_and_the_same_again(self, large, tmp_path):
        one = Shared(tmp_path).packed(self.work(), self.choice())
        other = Shared(tmp_path).packed(self.work(), self.choice())
        assert len(cache_entries(tmp_path)) == 1
        assert torch.equal(one.leaves["tokens"], other.leaves["tokens"])

    def test_what_could_not_be_read_is_met_again_where_it_is_read_from_disk(self, large, tmp_path):
        class Read(Same):
            def decode(self, raw):
                if raw == "broken":
                    raise DataError("it is broken")
                return raw

        def met():
            found = []
            raws = [*texts(2), "broken", *texts(98)]  # at a place that the estimate of the size passes over
            values = Column(Decoded(Raw(raws, Read()), lambda place, _: found.append(place)))
            work = Packing("n", fitted(texts(100)), values, [str(i) for i in range(101)])
            assert Shared(tmp_path).packed(work, self.choice()) is not None
            return set(found)

        assert met() == met() == {2}

    def test_other_values_or_another_fit_are_another_entry(self, large, tmp_path):
        shared = Shared(tmp_path)
        shared.packed(self.work(100), self.choice())
        shared.packed(self.work(101), self.choice())
        changed = self.work(100)
        changed.transform.restore({**changed.transform.state(), "stop_words": ["red"]})
        shared.packed(changed, self.choice())
        assert len(cache_entries(tmp_path)) == 3

    def test_it_is_not_packed_where_it_is_small_or_there_is_no_room(self, tmp_path, monkeypatch):
        assert Shared(tmp_path).packed(self.work(), self.choice()) is None
        monkeypatch.setattr("mmkit.features.sharing.IN_MEMORY", 0)
        assert Shared(None).packed(self.work(), self.choice()) is None
        with pytest.warns(UserWarning, match="more than --keep leaves"):
            assert Shared(tmp_path, keep=10).packed(self.work(), self.choice()) is None
        assert cache_entries(tmp_path) == []
