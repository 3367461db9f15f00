"""The description of a large table is kept: the next process has the same, and whatever changes makes it anew."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from mmkit.cli import main
from mmkit.features.cache import cache_entries
from mmkit.sources import describing, kept_descriptions
from mmkit.sources.description import Request
from mmkit.tasks.own_data import describe_installed


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_descriptions, "ROWS", 0)
    return tmp_path / "cache"


@pytest.fixture
def described(monkeypatch):
    """Describes as a process of its own does; tells how often that was done anew."""
    made = []
    plain = describing._describe

    def counted(*arguments):
        made.append(arguments[0])
        return plain(*arguments)

    monkeypatch.setattr(describing, "_describe", counted)

    def describe(**options):
        describing._described.clear()
        before = len(made)
        found = describe_installed(Request(**options))
        return found, len(made) > before

    return describe


def run(arguments):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


def table(path, target, rows=200):
    draw = np.random.default_rng(0)
    columns = {
        "name": [f"row {i}" for i in range(rows)],
        "user": [f"u{i % 40}" for i in range(rows)],
        "day": [f"2024-01-{1 + i % 28:02}" for i in range(rows)],
        "n": draw.normal(size=rows),
        "text": [f"some words about {draw.integers(90)} and {draw.integers(90)} things" for _ in range(rows)],
    }
    values = {
        "classes": [["yes", "no", None][i % 3] for i in range(rows)],
        "labels": [[["a"], ["a", "b"], ["b"], None][i % 4] for i in range(rows)],
        "scalar": draw.normal(size=rows),
        "text": [f"an answer of some words, number {i}" for i in range(rows)],
    }
    pa.parquet.write_table(pa.table({**columns, "label": values[target]}), path)
    return str(path)


def content(found):
    """All that a description says, of rows too."""
    target = found.target
    rows = None
    if target is not None:
        rows = target.values.tolist() if isinstance(target.values, np.ndarray) else target.values.to_pylist()
        rows = [str(target.values.type) if hasattr(target.values, "type") else str(target.values.dtype), str(rows)]
    arrays = [None if one is None else (one.dtype, one.tolist()) for one in (found.sides, found.folds)]
    said = [found.text(80), found.document(), found.layout(), found.request, found.guesses, found.inputs, found.names]
    return [*said, found.roles, found.groups, found.findings, rows, arrays, target and type(target.values)]


@pytest.mark.parametrize(
    "options",
    [
        {"target": ("label",), "id": "name", "group": ("user",)},
        {"target": ("label",), "folds": 3},
        {"target": ("label",), "time": "day", "columns": (("user", "text"),)},
        {},
    ],
    ids=["named", "folds", "time", "no target"],
)
def test_a_second_process_has_the_same(tmp_path, described, options):
    path = table(tmp_path / "t.parquet", "classes")
    first, anew = described(data=path, **options)
    assert anew
    second, anew = described(data=path, **options)
    assert not anew
    assert content(second) == content(first)


@pytest.mark.parametrize("target", ["classes", "labels", "scalar", "text"])
def test_truth_of_every_kind_is_kept(tmp_path, described, target):
    path = table(tmp_path / "t.parquet", target)
    asked = {"data": path, "target": ("label",), "target_kind": target}
    first, second = described(**asked)[0], described(**asked)
    assert not second[1]
    assert content(second[0]) == content(first)
    assert first.identity == second[0].identity


def test_whatever_changes_describes_anew(tmp_path, described, monkeypatch):
    path = table(tmp_path / "t.parquet", "classes")
    asked = {"data": path, "target": ("label",)}
    described(**asked)
    for change in ({"split_seed": 1}, {"columns": (("n", "ignore"),)}, {"deep": True}, {"splits": "70/10/20"}):
        assert described(**asked, **change)[1]
        assert not described(**asked, **change)[1]
    os.utime(path, ns=(1, 1))
    assert described(**asked)[1]
    with monkeypatch.context() as patch:
        patch.setattr(kept_descriptions, "code_of_core", lambda: "other code")
        assert described(**asked)[1]
    with monkeypatch.context() as patch:
        patch.setattr(kept_descriptions, "software", lambda: {"python": "4"})
        assert described(**asked)[1]
    table(tmp_path / "t.parquet", "classes", rows=190)
    found, anew = described(**asked)
    assert anew
    assert found.source.rows == 190


def test_a_file_that_a_cell_names_counts(tmp_path, described):
    for i in range(30):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    names = [f"{i}.png" for i in range(30)]
    pa.parquet.write_table(pa.table({"image": names, "label": ["a", "b", "c"] * 10}), tmp_path / "t.parquet")
    asked = {"data": str(tmp_path / "t.parquet"), "target": ("label",)}
    described(**asked)
    assert not described(**asked)[1]
    Image.new("RGB", (16, 16)).save(tmp_path / "3.png")
    assert described(**asked)[1]


@pytest.mark.parametrize("harm", ["state.json", "sides.npy", "about.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "nonsense"])
def test_a_damaged_entry_is_made_anew(tmp_path, described, cache, harm, how):
    path = table(tmp_path / "t.parquet", "classes")
    asked = {"data": path, "target": ("label",)}
    first = described(**asked)[0]
    (entry,) = cache_entries(cache)
    file = cache / entry.key / harm
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:20] if how == "cut" else b"[1]")
    again, anew = described(**asked)
    assert anew
    assert content(again) == content(first)
    assert not described(**asked)[1]


def test_relative_names_are_of_their_folder(tmp_path, described, monkeypatch):
    for name, target in (("one", "classes"), ("two", "scalar")):
        (tmp_path / name).mkdir()
        table(tmp_path / name / "t.parquet", target)
        monkeypatch.chdir(tmp_path / name)
        found, anew = described(data="t.parquet", target=("label",))
        assert anew
        assert found.target.kind == target


def test_the_cache_shows_and_clears_it(tmp_path, described, capsys):
    path = table(tmp_path / "t.parquet", "classes")
    described(data=path, target=("label",))
    assert run(["cache", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert (entry["about"]["input"], entry["about"]["split"], entry["about"]["samples"]) == (
        "description", "t.parquet", 200,
    )  # fmt: skip
    assert run(["cache", "list"]) == 0
    assert "description of t.parquet" in capsys.readouterr().out
    assert run(["cache", "clear", entry["key"]]) == 0
    assert described(data=path, target=("label",))[1]


def test_a_cache_that_cannot_be_written_to_is_no_obstacle(tmp_path, described, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "file"))
    path = table(tmp_path / "t.parquet", "classes")
    assert described(data=path, target=("label",))[0].source.rows == 200


def test_few_rows_are_not_kept(tmp_path, described, cache, monkeypatch):
    monkeypatch.setattr(kept_descriptions, "ROWS", 201)
    described(data=table(tmp_path / "t.parquet", "classes"), target=("label",))
    assert cache_entries(cache) == []
