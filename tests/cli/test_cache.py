"""`mmkit cache` from outside: what is kept, and how it is removed."""

import json
import time

import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.contract import Features
from mmkit.features.cache import Pass, cache_entries, encoded
from mmkit.system.places import default_folder

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def kept(folder, *, key=KEY):
    """An entry of ten samples."""
    encoded(Pass(lambda values, _: Features.of(torch.ones(len(values), 2)), range(10)), folder, key, {"encoder": "x"})


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

    def test_what_is_damaged_or_unfinished_is_listed_as_such(self, folder, capsys):
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
        assert "a number of days, 0 or more; got nan" in self.call(capsys, "clear", "--older-than", "nan")[2]
        assert [one.key for one in cache_entries(folder)] == [KEY]

    def test_where_it_is(self):
        assert str(default_folder({"MMKIT_CACHE": "/x"})) == "/x"
        assert str(default_folder({"XDG_CACHE_HOME": "/c"})) == "/c/mmkit/features"
