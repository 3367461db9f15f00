"""Tables that tests write: the same rows in every format."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest


@pytest.fixture
def written(tmp_path):
    """Writes a table, given as a mapping of columns, in a format; returns the path as text."""

    def write(columns, kind, name="table"):
        path = tmp_path / f"{name}.{kind}"
        table = pa.table(columns)
        if kind in {"csv", "tsv"}:
            options = pa.csv.WriteOptions(delimiter="\t" if kind == "tsv" else ",")
            pa.csv.write_csv(table, path, options)
        elif kind == "jsonl":
            lines = [json.dumps(row, ensure_ascii=False, default=str) for row in table.to_pylist()]
            path.write_text("\n".join(lines) + "\n", "utf-8")
        elif kind == "parquet":
            pa.parquet.write_table(table, path)
        else:
            pa.feather.write_feather(table, path, compression="uncompressed")
        return str(path)

    return write


class Frame:
    """The least that a frame of another library has."""

    def __init__(self, columns):
        self._table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def frame():
    """A frame of some library that speaks Arrow."""
    return Frame
