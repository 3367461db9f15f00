"""`hub:NAME` reads the cache of `datasets`, as `datasets` itself does without a network, and reaches for none."""

import json
import os
import socket

import pyarrow as pa
import pytest

from mmkit.errors import DataError, UsageError
from mmkit.sources import hub
from mmkit.sources.reading import read, stamp
from mmkit.tasks.own_data import OwnData

CLASSES = ["no", "yes"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def no_network(*given, **more):
        raise AssertionError("something asks for the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    return tmp_path / "cache"


def put(cache, parts, folder="acme___fruit_notes", config="default", digest="0a", shards=1, name="fruit_notes"):
    """A data set as `datasets` leaves it after a download."""
    home = cache / folder / config / "0.0.0" / digest
    home.mkdir(parents=True)
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}
    splits = {}
    for split, (texts, labels) in parts.items():
        table = pa.table({"text": pa.array(texts), "label": pa.array(labels, pa.int64())})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        size = -(-len(table) // shards)
        for n in range(shards):
            end = f"-{n:05}-of-{shards:05}" if shards > 1 else ""
            path = str(home / f"{name}-{split}{end}.arrow")
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table.slice(n * size, size))
        splits[split] = {"name": split, "num_bytes": 1, "num_examples": len(table), "dataset_name": name}
        if shards > 1:
            splits[split]["shard_lengths"] = [len(table.slice(n * size, size)) for n in range(shards)]
    info = {"builder_name": "parquet", "dataset_name": name, "config_name": config, "features": features}
    version = {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0}
    (home / "dataset_info.json").write_text(json.dumps({**info, "version": version, "splits": splits}))
    return home


def some(count, start=0):
    return [f"a note number {start + i} on some fruit" for i in range(count)], [i % 2 for i in range(count)]


@pytest.mark.parametrize("shards", [1, 3])
def test_what_datasets_reads_from_its_cache_is_read_here(cache, shards, monkeypatch):
    datasets = pytest.importorskip("datasets")
    put(cache, {"train": some(60), "test": some(20, 60)}, shards=shards)
    source = read("hub:acme/FruitNotes", {})
    assert source.made == {"split"}
    for config in (datasets.config, __import__("huggingface_hub").constants):
        monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    own = datasets.load_dataset("acme/FruitNotes", cache_dir=str(cache))
    texts = [text for split in ("train", "test") for text in own[split]["text"]]
    labels = [CLASSES[label] for split in ("train", "test") for label in own[split]["label"]]
    assert source.columns["text"].to_pylist() == texts
    assert source.columns["label"].to_pylist() == labels
    assert source.columns["split"].to_pylist() == ["train"] * 60 + ["test"] * 20


def test_its_splits_are_the_given_ones(cache):
    put(cache, {"train": some(60), "validation": some(10, 70), "test": some(20, 80), "unsupervised": some(5, 200)})
    found = OwnData(data="hub:acme/fruit_notes", target="label").found
    assert [found.count(name) for name in ("train", "validation", "test")] == [60, 10, 20]
    assert "hub:acme/fruit_notes has splits that are not read: unsupervised" in str(found.findings)


def test_without_test_all_is_split_anew_and_that_is_told(cache):
    put(cache, {"train": some(60), "validation": some(20, 60)})
    found = OwnData(data="hub:acme/fruit_notes", target="label").found
    assert found.how == "stratified, seed 0"
    assert "has no split test: train and validation are read as one table" in str(found.findings)


def test_a_configuration_is_named_where_there_are_several(cache):
    put(cache, {"train": some(9)}, config="small")
    put(cache, {"train": some(30)}, config="large")
    assert read("hub:acme/fruit_notes:small", {}).rows == 9
    with pytest.raises(UsageError, match="several configurations: large, small; write hub:acme/fruit_notes:large"):
        read("hub:acme/fruit_notes", {})
    with pytest.raises(DataError, match=r"not in the cache .*\(did you mean small\? Possible: large, small\)"):
        read("hub:acme/fruit_notes:smal", {})


def test_the_version_that_was_written_last_counts_and_a_change_is_noticed(cache):
    old = put(cache, {"train": some(9)}, digest="0a")
    before = stamp("hub:acme/fruit_notes")
    new = put(cache, {"train": some(10)}, digest="0b")
    os.utime(old / "dataset_info.json", (1, 1))
    assert read("hub:acme/fruit_notes", {}).rows == 10
    assert stamp("hub:acme/fruit_notes") != before
    os.utime(new / "dataset_info.json", (0, 0))
    assert read("hub:acme/fruit_notes", {}).rows == 9


def test_what_is_not_in_the_cache_is_said_with_how_to_get_it(cache, monkeypatch):
    said = (
        r"hub:acme/other is not in the cache of datasets, .*cache, and nothing is fetched here; where there is a "
        r"network: python -c \"import datasets; datasets.load_dataset\('acme/other'\)\"$"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(DataError, match=said):
        read("hub:acme/other", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"network: pip install 'mmkit-core\[hub\]', then python -c .*'x', 'small'"):
        read("hub:x:small", {})


@pytest.mark.parametrize("name", ["hub:", "hub:../x", "hub:a/b/c", "hub:a\0b", "hub:..", "hub:/etc", "hub:a/.."])
def test_names_that_are_none(name):
    with pytest.raises((UsageError, DataError)) as found:
        read(name, {})
    assert "expected hub:NAME" in str(found.value)


@pytest.mark.parametrize("harm", ["shard", "note", "bytes", "splits"])
def test_a_damaged_cache_is_one_error(cache, harm):
    home = put(cache, {"train": some(60)}, shards=3)
    first = min(home.glob("*.arrow"))
    if harm == "shard":
        first.unlink()
    elif harm == "bytes":
        first.write_bytes(first.read_bytes()[:200])
    else:
        (home / "dataset_info.json").write_text("{}" if harm == "splits" else "no JSON")
    with pytest.raises(DataError, match="again"):
        read("hub:acme/fruit_notes", {})


def test_where_the_cache_is(tmp_path):
    assert hub.cache_of_datasets({"HF_DATASETS_CACHE": "/a"}).as_posix() == "/a"
    assert hub.cache_of_datasets({"HF_HOME": "/b"}).as_posix() == "/b/datasets"
    assert hub.cache_of_datasets({"XDG_CACHE_HOME": "/c"}).as_posix() == "/c/huggingface/datasets"
