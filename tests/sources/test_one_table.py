"""One table from every kind of source: the same splits, the same description, the same record."""

import io
import json
import random
import tarfile

import pyarrow as pa
import pytest

import mmkit
from mmkit.tasks.own_data import OwnData

WORDS = {"apple": "red and round and sweet", "pear": "green and soft at its foot", "plum": "small and dark and sour"}


def rows(count=120):
    draw = random.Random(0)
    labels = [list(WORDS)[i % 3] for i in range(count)]
    return {
        "note": [f"{WORDS[label]} on table {i}, 我爱北京天安门" for i, label in enumerate(labels)],
        "zip": [f"{draw.randrange(500, 520):05}" for _ in labels],
        "weight": [None if i % 9 == 4 else round(draw.gauss(len(label) * 10, 5), 2) for i, label in enumerate(labels)],
        "day": [f"2024-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}" for _ in labels],
        "label": labels,
    }


def as_tar(table, path):
    with tarfile.open(path, "w") as tar:
        for i, row in enumerate(pa.table(table).to_pylist()):
            content = json.dumps(row, ensure_ascii=False).encode()
            member = tarfile.TarInfo(f"{i:04}.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def data(kind, table, written, tmp_path):
    """The table as a source of a kind."""
    if kind in {"csv", "tsv", "jsonl", "parquet", "feather"}:
        return written(table, kind)
    if kind in {"pandas", "polars"}:
        return pytest.importorskip(kind).DataFrame(table)
    made = {"tar": tmp_path / "table.tar", "folder": tmp_path / "parts", "datasets": tmp_path / "saved"}
    if kind == "tar":
        as_tar(table, made[kind])
    elif kind == "folder":
        made[kind].mkdir()
        for n in range(3):
            pa.parquet.write_table(pa.table(table).slice(n * 40, 40), made[kind] / f"{n}.parquet")
    elif kind == "datasets":
        pytest.importorskip("datasets").Dataset.from_dict(table).save_to_disk(str(made[kind]))
    return str(made[kind]) if kind in made else {"mapping": table, "arrow": pa.table(table)}[kind]


KINDS = (
    "csv",
    "tsv",
    "jsonl",
    "parquet",
    "feather",
    "folder",
    "tar",
    "datasets",
    "pandas",
    "polars",
    "arrow",
    "mapping",
)


def plain(found, prefix=""):
    """What does not hang on where the table was and on types that only some sources have."""
    document = found.document()
    columns = [
        {"name": one["name"].removeprefix(prefix), "missing": one["missing"], "is": one["is"]}
        for one in document["columns"]
        if one["name"] != "__key__"
    ]
    inputs = [
        {
            **one,
            "name": one["name"].removeprefix(prefix),
            "columns": [name.removeprefix(prefix) for name in one["columns"]],
        }
        for one in document["inputs"]
    ]
    target = {**document["target"], "columns": ["label"]}
    return {**document, "source": {}, "fingerprint": "", "columns": columns, "inputs": inputs, "target": target}


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_description_and_splits(kind, written, tmp_path):
    table = rows()
    prefix = "json." if kind == "tar" else ""
    expected = OwnData(data=written(table, "csv", "expected"), target="label")
    options = OwnData.options(data(kind, table, written, tmp_path), f"{prefix}label", {})
    made = OwnData(**options)
    assert plain(made.found, prefix) == plain(expected.found)
    for name in ("train", "validation", "test"):
        one, other = made.split(name), expected.split(name)
        assert (list(one.ids), list(one.truth)) == (list(other.ids), list(other.truth))
        assert list(one.inputs[f"{prefix}note"]) == list(other.inputs["note"])
        stripped = [{key.removeprefix(prefix): cell for key, cell in row.items()} for row in one.inputs["table"]]
        assert stripped == list(other.inputs["table"])
    if kind != "tar":  # whose columns have other names
        assert made.identity == expected.identity


@pytest.mark.full
def test_three_sources_give_the_same_record(written, tmp_path):
    table = rows()
    records = []
    for kind in ("csv", "datasets", "polars"):
        suite = mmkit.bench(
            data=data(kind, table, written, tmp_path),
            target="label",
            fusion="late",
            seeds=1,
            baselines=False,
            cost=False,
            yardsticks=False,
            training={"epochs": 2, "lr": 0.003},
            out=tmp_path / kind,
        )
        (record,) = suite.records
        records.append(record)
    first, *others = records
    for record in others:
        assert record.id == first.id
        assert record.metrics == first.metrics
        assert record.validation == first.validation
    assert first.status == "ok"
