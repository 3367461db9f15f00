"""Cached features: computed once, equal to those without a cache, with another key for anything that differs."""

import json
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.contract import Features
from mmkit.data.packed import _pad
from mmkit.encoders.tcn import TcnEncoder
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.cache import CacheWriteError, Pass, cache_entries, clear, default_folder, encoded
from mmkit.features.sharing import Shared
from mmkit.plugin import EncoderSpec
from mmkit.pretrained.tuning import Decay
from mmkit.system.files import owned
from mmkit.system.hashing import digest
from mmkit.system.settings import Settings

TASK = "synthetic-unique:train=48,missing=0.2"
SMALL = {"epochs": 3, "min_steps": 0}
KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


class FrozenTcn(TcnEncoder):
    """An encoder whose weights come from elsewhere and never change."""

    calls = 0

    def __init__(self, transform, *, width: int = 16, origin: int = 0, decay: Decay = 1.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(origin)
            super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        type(self).calls += 1
        with torch.no_grad():
            return super().forward(batch)


def chosen(**options):
    spec = EncoderSpec("frozen-tcn", "x:X", "Frozen", modality="series")
    return mmkit.installed().choose("encoder", FrozenTcn, {"noise": 0.0, "time_mask": 0.0, **options}, spec=spec)


def fit(cache=None, fusion="concat", precision="float32", **options):
    asked = plan(
        mmkit.installed(),
        task=TASK,
        encoders={"series": [chosen(**options)]},
        fusions=[fusion],
        training=SMALL,
        seeds=1,
        settings=Settings("cpu", precision),
    )
    FrozenTcn.calls = 0
    return execute(asked.runs()[0], shared=Shared(cache))


class TestPacked:
    @staticmethod
    def features(lengths, width=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        mask = torch.arange(max(*lengths, 1)) < torch.tensor(lengths).unsqueeze(1)
        return Features.of(torch.randn(*mask.shape, width, generator=generator), mask)

    def stored(self, lengths, folder=None):
        whole = self.features(lengths)
        parts = [Features(whole.tokens[i : i + 2], whole.mask[i : i + 2]) for i in range(0, len(lengths), 2)]
        work = Pass(lambda _, start: parts[start // 2], list(range(len(lengths))), batch_size=2)
        return whole, work.in_memory() if folder is None else encoded(work, folder, KEY, {})

    @pytest.mark.parametrize("kept", [True, False])
    @pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4], [1, 4, 0, 2, 3], [0, 0, 0], [1]])
    def test_rows_equal_those_of_the_padded_features(self, lengths, kept, tmp_path):
        whole, stored = self.stored(lengths, tmp_path if kept else None)
        for index in (torch.arange(len(lengths)), torch.tensor([len(lengths) - 1, 0])):
            found = stored.rows(index)
            longest = max(int(whole.mask[index].sum(1).max()), 1)
            assert torch.equal(found.mask, whole.mask[index][:, :longest])
            assert torch.equal(found.tokens, whole.tokens[index][:, :longest])

    @pytest.mark.parametrize("lengths", [[1, 4, 0, 2, 3], [0, 0, 0]])
    def test_padding_on_a_gpu_gives_the_same(self, lengths):
        _, stored = self.stored(lengths)
        index = torch.arange(len(lengths)).flip(0)
        tokens, mask = _pad(stored.tokens, stored.offsets, index)
        assert torch.equal(tokens, stored.rows(index).tokens)
        assert torch.equal(mask, stored.rows(index).mask)

    def test_samples_of_one_length_need_no_padding(self):
        assert self.stored([4, 4, 4])[1].length == 4
        assert self.stored([4, 3, 4])[1].length is None

    @pytest.mark.parametrize("summaries", [True, False])
    @pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4], [1, 4, 0, 2, 3], [0, 0, 0], [1]])
    def test_vectors_are_those_of_the_features(self, lengths, summaries):
        whole = self.features(lengths)
        pooled = torch.randn(len(lengths), 3, generator=torch.Generator().manual_seed(1)) if summaries else None
        whole = Features.of(whole.tokens, whole.mask, pooled)
        stored = Pass(lambda _, start: whole, list(range(len(lengths)))).in_memory()
        found = stored.vectors.rows(torch.arange(len(lengths)))
        assert found.tokens.shape == (len(lengths), 1, 3)
        assert found.pooled is None
        assert torch.equal(found.present(), whole.present())
        torch.testing.assert_close(found.vector(), whole.vector())


class TestDigest:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (["ab", "c"], ["a", "bc"]),
            ([1, None], [None, 1]),
            ([1], [True]),
            ([1], [1.0]),
            (torch.zeros(2, 3), torch.zeros(3, 2)),
            (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
            ({"a": 1}, {"b": 1}),
            ([[1], [2]], [[1, 2]]),
            (np.zeros(2, np.float32), torch.zeros(2)),
            (b"a", "a"),
            (torch.zeros(0), torch.zeros(0, 2)),
            (np.int64(1), np.int32(1)),
            ("\udc80", "\udc81"),
        ],
    )
    def test_different_values_have_different_digests(self, one, other):
        assert digest(one) != digest(other)

    def test_equal_values_have_equal_digests(self):
        assert digest({"a": torch.ones(2), "b": ["x", None]}) == digest({"b": ["x", None], "a": torch.ones(2)})

    @pytest.mark.parametrize("one", [object(), np.array([object()]), {1}])
    def test_values_that_cannot_be_hashed_are_an_error(self, one):
        with pytest.raises(TypeError, match=r"values of type .* cannot be hashed"):
            digest([one])


class TestRun:
    def test_each_sample_is_encoded_once_and_never_again(self, tmp_path):
        fit(tmp_path)
        batches = sum(-(-size // 64) for size in (48, 256, 512)) * 2
        assert FrozenTcn.calls == batches
        fit(tmp_path, fusion="gated")
        assert FrozenTcn.calls == 0
        assert all(one.about["samples"] in {48, 256, 512} for one in cache_entries(tmp_path))
        assert len(cache_entries(tmp_path)) == 6

    def test_the_cache_changes_nothing(self, tmp_path):
        first, model = fit(tmp_path)
        again, other = fit(tmp_path)
        without, third = fit(None)
        for record, one in ((again, other), (without, third)):
            assert record.history == first.history
            assert record.metrics == first.metrics
            for name, tensor in model.module.state_dict().items():
                assert torch.equal(tensor, one.module.state_dict()[name])
        assert first.encoded_once == ["left", "right"]

    def test_frozen_weights_do_not_change_and_are_saved(self, tmp_path):
        _, model = fit(tmp_path / "cache")
        fresh = FrozenTcn(model.transforms.inputs["left"])
        for name, tensor in fresh.state_dict().items():
            assert torch.equal(tensor, model.module.encoders["left"].state_dict()[name])
        model.save(tmp_path / "model")
        name = model.combination.encoders["left"].name
        again = mmkit.load(tmp_path / "model", components={name: chosen()})
        assert again.predict([{}]) == model.predict([{}])

    @pytest.mark.parametrize("options", [{"origin": 1}, {"width": 8}, {"max_length": 3}])
    def test_other_weights_options_or_transforms_have_another_key(self, tmp_path, options):
        fit(tmp_path)
        fit(tmp_path, **options)
        assert FrozenTcn.calls > 0
        assert len(cache_entries(tmp_path)) == 12

    def test_options_of_training_do_not_change_the_key(self, tmp_path):
        fit(tmp_path)
        fit(tmp_path, decay=0.5)
        assert FrozenTcn.calls == 0
        assert len(cache_entries(tmp_path)) == 6

    def test_another_version_of_a_library_has_another_key(self, tmp_path, monkeypatch):
        fit(tmp_path)
        monkeypatch.setattr("mmkit.features.extraction.libraries", lambda _: {"timm": "1.0.99"})
        fit(tmp_path)
        assert FrozenTcn.calls > 0
        assert len(cache_entries(tmp_path)) == 12

    def test_with_augmentation_training_samples_are_encoded_in_every_epoch_and_that_is_reported(self, tmp_path):
        record, _ = fit(tmp_path, noise=0.1)
        assert record.encoded_anew == ["left", "right"]
        assert len(cache_entries(tmp_path)) == 6  # validation and test, and what the scale is fitted on
        assert record.encoded_once == record.encoded_in_copies == []


class Numbers:
    """An encoder that makes two tokens and a summary of a number, and remembers what it has seen."""

    def __init__(self, stop=None, count=10):
        self.seen, self.stop, self.values = [], stop, tuple(range(count))

    def __call__(self, values, _start):
        self.seen.extend(values)
        if self.stop and len(self.seen) > self.stop:
            raise KeyboardInterrupt
        numbers = torch.tensor(values).float()
        return Features.of(numbers.reshape(-1, 1, 1).expand(-1, 2, 1), pooled=numbers[:, None])

    def work(self):
        return Pass(self, self.values, batch_size=2)


def kept(folder, *, key=KEY, stop=None):
    """The features of ten numbers, and those numbers that had to be encoded for it."""
    numbers = Numbers(stop)
    return encoded(numbers.work(), folder, key, {"encoder": "x"}), numbers.seen


def is_whole(stored):
    return stored.pooled.flatten().tolist() == list(range(10)) and stored.tokens[::2].tolist() == stored.pooled.tolist()


class TestPass:
    """One pass of encoding, and what may happen to it."""

    def test_an_interrupted_pass_continues_where_it_stopped(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        assert cache_entries(tmp_path)[0].about is None
        found, seen = kept(tmp_path)
        assert seen == [6, 7, 8, 9]
        assert is_whole(found)
        assert sorted(path.name for path in (tmp_path / KEY).iterdir()) == [
            "about.json",
            "offsets.npy",
            "pooled.npy",
            "tokens.npy",
        ]

    def test_a_damaged_part_is_computed_again(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        for part, content in zip(sorted((tmp_path / KEY / "parts").iterdir()), (b"", b"PK\x03\x04"), strict=False):
            part.write_bytes(content)
        found, seen = kept(tmp_path)
        assert seen == [0, 1, 2, 3, 6, 7, 8, 9]
        assert is_whole(found)

    @pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy", "pooled.npy", "about.json"])
    @pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other"])
    def test_a_damaged_entry_is_computed_again(self, tmp_path, name, damage):
        kept(tmp_path)
        kept(tmp_path, key=OTHER)
        file = tmp_path / KEY / name
        if damage == "gone":
            file.unlink()
        elif damage == "other":
            file.write_bytes(b"null" if name == "about.json" else _array(np.zeros((3, 5))))
        else:
            file.write_bytes(file.read_bytes()[: -5 if damage == "cut" else 0])
        assert len(cache_entries(tmp_path)) == 2
        found, seen = kept(tmp_path)
        assert seen == list(range(10))
        assert is_whole(found)
        assert kept(tmp_path)[1] == []

    def test_invalid_offsets_are_damage(self, tmp_path):
        kept(tmp_path)
        offsets = np.load(tmp_path / KEY / "offsets.npy")
        offsets[3] = 99
        np.save(tmp_path / KEY / "offsets.npy", offsets)
        assert kept(tmp_path)[1] == list(range(10))

    def test_one_batch_at_a_time_is_in_memory_while_an_entry_is_packed(self, tmp_path):
        import tracemalloc

        wide = Pass(lambda values, _: Features.of(torch.ones(len(values), 2**16)), range(128), batch_size=4)
        encoded(wide, tmp_path, KEY, {})  # 32 MiB in 32 batches of 1 MiB
        (tmp_path / KEY / "about.json").unlink()
        tracemalloc.start()
        stored = encoded(wide, tmp_path, KEY, {})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert stored.tokens.shape == (128, 2**16)
        assert peak < 2**23

    def test_writing_to_features_does_not_change_the_file(self, tmp_path):
        kept(tmp_path)[0].tokens.zero_()
        assert kept(tmp_path)[0].tokens.sum() == 90

    def test_features_in_half_precision_are_stored_in_float32(self):
        half = Features.of(torch.ones(2, 3, 4, dtype=torch.bfloat16))
        assert Pass(lambda *_: half, [0, 1]).in_memory().tokens.dtype == torch.float32

    def test_entries_are_listed_and_cleared(self, tmp_path):
        kept(tmp_path)
        (one,) = cache_entries(tmp_path)
        assert (one.key, one.about["samples"], one.about["tokens"], one.about["of"]) == (KEY, 10, 20, {"encoder": "x"})
        assert one.size == sum(path.stat().st_size for path in (tmp_path / KEY).iterdir())
        assert clear(tmp_path, [KEY]) == one.size
        assert cache_entries(tmp_path) == []
        assert cache_entries(tmp_path / "nowhere") == []

    def test_only_entries_are_listed_and_removed(self, tmp_path):
        kept(tmp_path)
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
        (tmp_path / OTHER).write_text("a file")
        assert [one.key for one in cache_entries(tmp_path)] == [KEY]
        clear(tmp_path, [KEY, OTHER, "thesis", ".locks"])
        assert (tmp_path / "thesis" / "chapter.txt").exists()
        assert (tmp_path / OTHER).exists()

    def test_an_entry_that_is_being_written_is_not_removed(self, tmp_path):
        kept(tmp_path)
        with owned(tmp_path / ".locks" / KEY), pytest.raises(UsageError, match="another process is writing"):
            clear(tmp_path, [KEY])
        assert len(cache_entries(tmp_path)) == 1


def _array(array):
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PROCESS = """
import sys, time
from pathlib import Path
import torch
from mmkit.features.cache import Pass, encoded
from mmkit.contract import Features
from mmkit.system.settings import Settings

folder, log = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)

def encode(values, start):
    log.write(f"{start}\\n")
    time.sleep(0.02)
    numbers = torch.tensor(list(values)).float()
    return Features.of(numbers.reshape(-1, 1, 1).expand(-1, 2, 1), pooled=numbers[:, None])

stored = encoded(Pass(encode, range(200), batch_size=2), folder, "0123456789abcdef", {})
assert stored.pooled.flatten().tolist() == list(range(200))
assert stored.tokens.flatten().tolist() == [i // 2 for i in range(400)]
"""


@pytest.mark.full
class TestProcesses:
    """Real processes on one folder."""

    @staticmethod
    def start(folder, log):
        return subprocess.Popen([sys.executable, "-c", PROCESS, str(folder), str(log)], stderr=subprocess.PIPE)

    @staticmethod
    def seen(log):
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    def test_a_killed_pass_continues_where_it_stopped(self, tmp_path):
        folder, first, second = tmp_path / "cache", tmp_path / "first", tmp_path / "second"
        killed = self.start(folder, first)
        while len(self.seen(first)) < 30:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        killed.stderr.close()
        assert cache_entries(folder)[0].about is None
        going_on = self.start(folder, second)
        assert going_on.communicate()[1] == b""
        assert going_on.returncode == 0
        before, after = self.seen(first), self.seen(second)
        assert 30 <= len(before) < 100
        assert after[0] in {before[-1], before[-1] + 2}  # the batch that was under way, or the next
        assert after == list(range(after[0], 200, 2))

    def test_of_two_processes_one_computes_and_the_other_waits(self, tmp_path):
        logs = [tmp_path / "first", tmp_path / "second"]
        both = [self.start(tmp_path / "cache", log) for log in logs]
        for one in both:
            assert one.communicate()[1] == b""
            assert one.returncode == 0
        assert sorted(len(self.seen(log)) for log in logs) == [0, 100]

    def test_if_one_process_is_killed_the_waiting_one_continues(self, tmp_path):
        logs = [tmp_path / "first", tmp_path / "second"]
        both = [self.start(tmp_path / "cache", log) for log in logs]
        while not any(self.seen(log) for log in logs):
            time.sleep(0.01)
        working = 0 if self.seen(logs[0]) else 1
        time.sleep(0.3)
        both[working].kill()
        both[working].communicate()
        assert both[1 - working].communicate()[1] == b""
        assert both[1 - working].returncode == 0
        rest = self.seen(logs[1 - working])
        assert rest == list(range(rest[0], 200, 2))
        assert rest[0] > 0


class TestRoom:
    """A disk that is full, a folder that cannot be written to."""

    @pytest.fixture
    def full(self):
        """No file may grow beyond so many bytes: what a full disk is like, in a process that may write anywhere."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        yield limit
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    @pytest.mark.parametrize("packing", [False, True])
    def test_a_full_disk_is_an_error_and_with_room_the_pass_continues(self, tmp_path, full, packing):
        full(1500 if packing else 500)  # a part takes 800 bytes, all tokens together 1728
        first, second = Numbers(count=200), Numbers(count=200)
        with pytest.raises(
            CacheWriteError, match=r"cannot write features to .*: File too large; make room there, or set"
        ):
            encoded(first.work(), tmp_path, KEY, {})
        full(resource.RLIM_INFINITY)
        stored = encoded(second.work(), tmp_path, KEY, {})
        assert stored.pooled.flatten().tolist() == list(range(200))
        assert (len(first.seen), len(second.seen)) == ((200, 0) if packing else (2, 200))

    def test_a_run_continues_in_memory_with_a_warning(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.warns(UserWarning, match=r"cannot write features to .*: Not a directory; make room") as told:
            record, _ = fit(tmp_path / "file" / "cache")
        assert len(told) == 1
        assert record.metrics == fit(None)[0].metrics


class TestCommand:
    @staticmethod
    def call(capsys, *arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["cache", *arguments])
        return end.value.code, *capsys.readouterr()

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MMKIT_CACHE", str(tmp_path))
        return tmp_path

    def test_list_and_clear(self, folder, capsys):
        assert self.call(capsys, "list")[1].startswith("0 entries")
        kept(folder)
        code, out, _ = self.call(capsys, "list")
        key, size, samples, _, *rest = out.splitlines()[0].split("\t")
        assert (code, key, size, samples, *rest) == (0, KEY, "0.0 MiB", "10 samples", "- of -", "-", "-")
        assert out.splitlines()[1] == f"1 entries, 0.0 MiB in {folder}"
        assert json.loads(self.call(capsys, "list", "--json")[1])["entries"][0]["key"] == KEY
        assert self.call(capsys, "clear")[0] == 2
        assert self.call(capsys, "clear", KEY, "--all")[0] == 2
        assert f"the cache has no entry {KEY[:-1]}; did you mean {KEY}?" in self.call(capsys, "clear", KEY[:-1])[2]
        assert "1 entries removed" in self.call(capsys, "clear", "--all")[1]

    def test_the_list_shows_split_and_precision(self, folder, capsys):
        fit(folder)
        fit(folder, precision="bfloat16")
        lines = self.call(capsys, "list")[1].splitlines()[:-1]
        assert {line.split("\t")[6] for line in lines} == {str(chosen())}
        assert sorted(line.split("\t")[4:6] for line in lines) == [
            [f"{name} of {split}", precision]
            for name in ("left", "right")
            for split in ("test", "train", "validation")
            for precision in ("bfloat16", "float32")
        ]

    def test_damaged_and_unfinished_entries_are_marked(self, folder, capsys):
        kept(folder)
        (folder / KEY / "about.json").write_text('{"samples": 10, "ma')
        assert self.call(capsys, "list")[1].splitlines()[0].split("\t")[2::2] == ["unfinished", "-", "-"]
        assert "1 entries removed" in self.call(capsys, "clear", KEY)[1]

    def test_clear_by_age(self, folder, capsys):
        kept(folder)
        kept(folder, key=OTHER)
        about = json.loads((folder / OTHER / "about.json").read_text())
        (folder / OTHER / "about.json").write_text(json.dumps(about | {"made": time.time() - 3 * 24 * 3600}))
        assert "0 entries removed" in self.call(capsys, "clear", "--older-than", "4")[1]
        assert "1 entries removed" in self.call(capsys, "clear", "--older-than", "2.5")[1]
        assert [one.key for one in cache_entries(folder)] == [KEY]

    def test_the_default_folder(self):
        assert str(default_folder({"MMKIT_CACHE": "/x"})) == "/x"
        assert str(default_folder({"XDG_CACHE_HOME": "/c"})) == "/c/mmkit/features"
