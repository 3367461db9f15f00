"""Features that are kept on the disk: one pass, and all that may happen to it."""

import json
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mmkit.contract import Features
from mmkit.errors import UsageError
from mmkit.features import pieces
from mmkit.features.cache import CacheWriteError, Pass, cache_entries, clear, encoded
from mmkit.system.files import owned

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


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

    @pytest.mark.parametrize("name", ["tokens.npy", "pooled.npy", "lengths.npy"])
    @pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
    def test_from_a_damaged_piece_on_all_is_computed_again(self, tmp_path, monkeypatch, name, damage):
        monkeypatch.setattr(pieces, "SECONDS", 0)  # each batch is a piece
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        file = tmp_path / KEY / name
        content = bytearray(file.read_bytes())
        content[-6] ^= 1  # in the last batch that is written
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(content if damage == "changed" else content[:-6])
        found, seen = kept(tmp_path)
        assert seen == list(range(0 if damage == "gone" else 4, 10))
        assert is_whole(found)

    @pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"batch_size": 3, "width": 1, "pieces": []}'])
    def test_without_a_readable_note_of_progress_all_is_computed_again(self, tmp_path, content):
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        (tmp_path / KEY / "progress.json").write_bytes(content)
        found, seen = kept(tmp_path)
        assert seen == list(range(10))
        assert is_whole(found)

    def test_a_piece_is_made_sure_of_when_it_is_large_enough(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pieces, "BYTES", 80)  # a batch takes 40: 4 tokens, 2 lengths, 2 pooled vectors
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        noted = json.loads((tmp_path / KEY / "progress.json").read_text())["pieces"]
        assert [piece["samples"] for piece in noted] == [4, 6]  # the last by the interruption

    def test_what_was_not_made_sure_of_is_overwritten(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, stop=6)
        for name in ("tokens", "pooled", "lengths"):  # as a killed process leaves it
            with (tmp_path / KEY / f"{name}.npy").open("ab") as stream:
                stream.write(b"more that nobody noted")
        found, seen = kept(tmp_path)
        assert seen == [6, 7, 8, 9]
        assert is_whole(found)
        assert kept(tmp_path)[1] == []

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

    def test_one_batch_at_a_time_is_in_memory_while_an_entry_is_written(self, tmp_path):
        import tracemalloc

        wide = Pass(lambda values, _: Features.of(torch.ones(len(values), 2**16)), range(128), batch_size=4)
        tracemalloc.start()
        stored = encoded(wide, tmp_path, KEY, {})  # 32 MiB in 32 batches of 1 MiB
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
from mmkit.contract import Features
from mmkit.features import pieces
from mmkit.features.cache import Pass, encoded

pieces.SECONDS = 0  # each batch is a piece

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

    @pytest.mark.parametrize("last", [False, True])
    def test_a_full_disk_is_an_error_and_with_room_the_pass_continues(self, tmp_path, full, last):
        full(1700 if last else 500)  # a batch takes 16 bytes of tokens, all tokens 1728, all offsets 1736
        first, second = Numbers(count=200), Numbers(count=200)
        with pytest.raises(
            CacheWriteError, match=r"cannot write features to .*: File too large; make room there, or set"
        ):
            encoded(first.work(), tmp_path, KEY, {})
        full(resource.RLIM_INFINITY)
        stored = encoded(second.work(), tmp_path, KEY, {})
        assert stored.pooled.flatten().tolist() == list(range(200))
        # At 500 bytes 23 batches of tokens have room behind the header, at 1700 the pass ends with one batch missing.
        written = 46 if not last else 196
        assert (len(first.seen), len(second.seen)) == (written + 2, 200 - written)
