"""What is made of large columns is mapped: the same cells, and no memory for them."""

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import DataError
from mmkit.sources import inputs, spooled
from mmkit.sources.inputs import Input, store_of


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder of the cache."""
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


def test_a_spooled_table_is_the_table(folder):
    plain = table()
    before = pa.total_allocated_bytes()
    mapped = spooled.spooled(plain.schema, plain.to_batches(130), "a table")
    assert mapped.to_pydict() == plain.to_pydict()
    assert mapped.schema == plain.schema
    assert pa.total_allocated_bytes() - before < plain.nbytes / 2
    assert list(folder.iterdir()) == []  # no file is left behind


def test_a_spooled_array_is_the_array(folder, monkeypatch):
    monkeypatch.setattr(spooled, "SOME", 0)
    values = np.arange(1001, dtype=np.float64).reshape(7, 143) / 3
    mapped = spooled.spooled_array(values, "numbers")
    assert mapped is not values
    np.testing.assert_array_equal(mapped, values)
    assert list(folder.iterdir()) == []


def test_texts_that_are_joined_are_spooled_where_they_are_large(folder, tmp_path, monkeypatch):
    texts = {"a": pa.chunked_array([["one", None]]), "b": pa.chunked_array([["two", "three"]])}
    both = Input("a+b", "text", ("a", "b"))
    plain = store_of(both, {}, texts, files=tmp_path)
    monkeypatch.setattr(inputs, "LARGE", 0)
    mapped = store_of(both, {}, texts, files=tmp_path)
    assert [mapped.value(row) for row in range(2)] == [plain.value(row) for row in range(2)]
    assert [plain.value(row) for row in range(2)] == ["a: one\nb: two", "b: three"]


def test_a_source_that_breaks_off_leaves_nothing_behind(folder):
    def parts():
        yield from table().to_batches(130)[:2]
        raise pa.ArrowInvalid("it breaks off")

    with pytest.raises(pa.ArrowInvalid, match="breaks off"):
        spooled.spooled(table().schema, parts(), "a table")
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"a table is too large for memory.*set MMKIT_CACHE"):
        spooled.spooled(table().schema, table().to_batches(), "a table")
