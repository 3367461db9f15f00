"""Large tables are read once; a second start maps what the first one wrote, and a changed file is read anew."""

import os
import signal
import subprocess
import sys
import textwrap
from unittest.mock import ANY

import pyarrow as pa
import pyarrow.parquet
import pytest

from mmkit.cli import main
from mmkit.errors import DataError
from mmkit.features.cache import cache_entries
from mmkit.sources import formats, kept
from mmkit.sources.reading import read


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "LARGE", 0)
    return tmp_path / "cache"


def lists(path):
    return {name: column.to_pylist() for name, column in read(path, {}).columns.items()}


ROWS = {
    "name": ["Zoë", "我爱北京天安门", None, "x"] * 500,
    "n": [1, None, 3, 4] * 500,
    "w": [0.5, None, 2.0, 1.0] * 500,
}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_second_start_maps_what_the_first_one_wrote(written, kind, cache, monkeypatch):
    path = written(ROWS, kind)
    monkeypatch.setattr(kept, "LARGE", 2**60)
    plain = lists(path)
    monkeypatch.setattr(kept, "LARGE", 0)
    assert lists(path) == plain
    monkeypatch.setattr("mmkit.sources.reading.parts_of", None)
    assert lists(path) == plain
    (entry,) = cache_entries(cache)
    assert entry.about["samples"] == 2000


def test_a_changed_file_is_read_anew_in_place_of_the_old(written, cache):
    path = written({"a": [1]}, "csv")
    assert lists(path) == {"a": ["1"]}
    written({"a": [22]}, "csv")
    assert lists(path) == {"a": ["22"]}
    assert len(cache_entries(cache)) == 1


@pytest.mark.parametrize("harm", ["cut", "gone", "no note", "nonsense"])
def test_a_damaged_entry_is_made_again(written, cache, harm):
    path = written(ROWS, "csv")
    plain = lists(path)
    (home,) = [one for one in cache.iterdir() if not one.name.startswith(".")]
    table, about = home / "table.arrow", home / "about.json"
    if harm == "cut":
        table.write_bytes(table.read_bytes()[:-100])
    elif harm == "gone":
        table.unlink()
    elif harm == "no note":
        about.unlink()
    else:
        about.write_text('{"of": 1}')
    assert lists(path) == plain
    assert cache_entries(cache)[0].about["samples"] == 2000


def test_without_a_cache_that_can_be_written_to_the_table_is_in_memory(written, tmp_path, monkeypatch):
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "plain"))
    assert lists(written({"a": [1]}, "csv")) == {"a": ["1"]}


def test_a_broken_table_leaves_nothing_behind(tmp_path, cache):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 2_000_000 + "1,2,3\n")
    with pytest.raises(DataError, match=r"a\.csv cannot be read as csv"):
        read(str(path), {})
    assert [entry.about for entry in cache_entries(cache)] == [None]
    assert not list(cache.glob("[!.]*/*"))
    path.write_text("a,b\n1,2\n")
    assert lists(str(path)) == {"a": ["1"], "b": ["2"]}


def test_dictionaries_and_fields_of_objects_are_kept(tmp_path):
    table = pa.table(
        {
            "kind": pa.chunked_array([["a", "b"], ["c", "a"]]).dictionary_encode(),
            "at": [{"city": "Ulm"}, None, {"city": "x"}, None],
        }
    )
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    expected = {"kind": ["a", "b", "c", "a"], "at.city": ["Ulm", None, "x", None]}
    for _ in range(2):
        assert lists(str(tmp_path / "a.parquet")) == expected


def test_rows_before_a_row_that_is_longer_than_a_block_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_BLOCKS", (1024, 2**20))
    path = tmp_path / "a.csv"
    cells = [f"row {i}" for i in range(300)] + ["x" * 5000] + [f"row {i}" for i in range(300, 400)]
    path.write_text("a\n" + "\n".join(cells) + "\n")
    assert lists(str(path)) == {"a": cells}


def test_the_cache_is_listed_and_cleared(written, cache, capsys):
    lists(written(ROWS, "csv"))
    with pytest.raises(SystemExit, match="0"):
        main(["cache", "list"])
    assert capsys.readouterr().out.split("\t")[2::2] == ["2000 samples", "table of table.csv", ANY]
    with pytest.raises(SystemExit, match="0"):
        main(["cache", "clear", "--all"])
    assert cache_entries(cache) == []


@pytest.mark.full
def test_a_process_that_is_killed_while_it_writes_does_no_harm(tmp_path, cache):
    """The first process stops in the middle of the file; the second one finds no entry and makes it."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f"{i},{'x' * 40}\n" for i in range(300_000)))
    program = f"""
        import os, signal
        from mmkit.sources import formats, kept, reading
        kept.LARGE = 0
        whole = reading.parts_of
        def parts(path):
            for number, part in enumerate(whole(path)):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield part
        reading.parts_of = parts
        reading.read({str(path)!r}, {{}})
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [entry.about for entry in cache_entries(cache)] == [None]
    source = read(str(path), {})
    assert source.rows == 300_000
    assert source.columns["a"][299_999].as_py() == "299999"
    assert [entry.about["samples"] for entry in cache_entries(cache)] == [300_000]
    assert len(list(cache.glob("[!.]*/*"))) == 2  # nothing is left of the first process
