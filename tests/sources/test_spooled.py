"""Large tables are mapped: the same cells, and no memory for them."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mmkit.errors import DataError
from mmkit.sources import folders, formats
from mmkit.sources.formats import read_file


@pytest.fixture
def spooling(monkeypatch, tmp_path):
    """Every file counts as large; the folder of the cache."""
    for module in (formats, folders):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def table(rows=1000):
    return pa.table(
        {
            "text": [None if i % 7 == 0 else f"row {i}, 我喜欢\n这个" for i in range(rows)],
            "number": pa.array([i / 3 for i in range(rows)]),
            "kind": pa.array([f"k{i % 3}" for i in range(rows)]).dictionary_encode(),
            "place": [{"city": f"c{i}", "zip": i} for i in range(rows)],
        }
    )


def write(whole, path):
    if path.suffix == ".parquet":
        pa.parquet.write_table(whole, path, row_group_size=130)
    elif path.suffix == ".csv":
        pa.csv.write_csv(whole.select(["text", "number"]), path)
    else:
        path.write_text("".join(f'{{"text": "row {i}", "number": {i}}}\n' for i in range(len(whole))))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_spooled_table_is_the_table(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / f"a.{kind}"
    write(table(), path)
    plain = read_file(path)
    before = pa.total_allocated_bytes()
    mapped = read_file(path, large=True)
    assert mapped.to_pydict() == plain.to_pydict()
    assert [field.type for field in mapped.schema] == [field.type for field in plain.schema]
    assert pa.total_allocated_bytes() - before < plain.nbytes / 2


def test_no_file_is_left_behind(tmp_path, spooling):
    write(table(), tmp_path / "a.parquet")
    mapped = read_file(tmp_path / "a.parquet")
    assert list(spooling.iterdir()) == []
    assert mapped["text"][999].as_py() == "row 999, 我喜欢\n这个"


def test_a_damaged_file_leaves_nothing_behind(tmp_path, spooling):
    write(table(), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:200] + bytes(1000) + whole[1200:])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_file(tmp_path / "a.parquet")
    assert list(spooling.iterdir()) == []


def test_tables_of_a_folder_are_large_together(tmp_path, spooling):
    (tmp_path / "many").mkdir()
    for number in range(3):
        write(table(100), tmp_path / "many" / f"{number}.parquet")
    before = pa.total_allocated_bytes()
    found, _ = folders.read_folder(tmp_path / "many", {}, outside=False)
    assert len(found) == 300
    assert pa.total_allocated_bytes() - before < found.nbytes / 2


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    write(table(), tmp_path / "a.parquet")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"a\.parquet is too large for memory.*set MMKIT_CACHE"):
        read_file(tmp_path / "a.parquet", large=True)
