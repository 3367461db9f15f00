"""What is timed: every fusion has an obvious form that computes the same, and a record goes on where it stopped."""

import importlib
import json
import sys
from dataclasses import replace

import pytest
import torch

from mmkit.registry.catalog import BUILTIN, installed

speed, record, cells, public, load = (  # by name: what is timed is not type-checked
    importlib.import_module(f"benchmarks.fusions.{name}")
    for name in ("speed", "record", "cells", "public.__main__", "public.load")
)
ALL = [entry.name for entry in installed().available("fusion") if entry.distribution == BUILTIN]


def test_all_fusions_of_the_registry_are_timed_here_and_on_a_gpu():
    gpu = importlib.import_module("benchmarks.gpu.fusions")
    assert list(gpu.speed.SPECS) == list(speed.SPECS) == ALL
    assert all(any(cells.cells(spec)) for spec in speed.SPECS.values())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("inputs", [2, 3])
def test_the_obvious_form_computes_the_same(name, inputs):
    spec, tokens = speed.SPECS[name], 5 if speed.over_tokens(name) else 1
    if inputs < spec.min_inputs or inputs > (spec.max_inputs or inputs):
        pytest.skip("it takes another number of inputs")
    fusion, features = speed.make(name, 4, 8, inputs, tokens, missing=False)
    for backward in (False, True):
        forms = speed.candidates(name, fusion, features, backward=backward)  # raises where they differ
        assert set(forms) == {"mmkit", "obvious"}


def test_another_form_is_refused_where_it_differs():
    fusion, features = speed.make("sum", 4, 8, 2, 1, missing=False)
    wrong = lambda vectors: speed.hand("sum").obvious(fusion, vectors) * 1.01  # noqa: E731
    with pytest.raises(ValueError, match="sum: the two forms differ"):
        speed.candidates("sum", fusion, features, backward=False, other=(wrong, []))


def test_sizes_keep_to_their_limits():
    vectors, tokens = list(cells.cells(speed.SPECS["film"])), list(cells.cells(speed.SPECS["attention"]))
    assert len(vectors) == 3 * 2 * 2 * 2 * 2
    assert {cell.goal for cell in vectors if cell.batch > 8 and not cell.missing} == {1.05}
    assert {cell.goal for cell in vectors if cell.batch == 8 or cell.missing} == {1.15}
    assert all(cell.batch <= 64 for cell in tokens if cell.tokens == 128 or cell.width == 512)
    assert {cell.inputs for cell in cells.cells(speed.SPECS["mutan"])} == {2}


class TestRecord:
    CELLS = tuple(cells.cells(speed.SPECS["sum"], quick=True))

    def row(self, cell):
        return {**cell.as_json(), "ratio": 1.0}

    def test_a_run_that_was_stopped_goes_on(self, tmp_path):
        file = tmp_path / "fusions.json"
        first = record.Record.read(file, self.CELLS)
        first.rows[self.CELLS[0]] = self.row(self.CELLS[0])
        first.left_out[self.CELLS[1]] = "a call takes 3.00 s"
        first.write(finished=False)
        again = record.Record.read(file, self.CELLS)
        assert (list(again.rows), again.left_out) == ([self.CELLS[0]], {self.CELLS[1]: "a call takes 3.00 s"})
        assert [path.name for path in tmp_path.iterdir()] == ["fusions.json"]

    def test_of_a_finished_one_what_is_asked_for_is_measured_anew(self, tmp_path):
        file = tmp_path / "fusions.json"
        other = replace(self.CELLS[0], fusion="max")
        whole = record.Record(file, {cell: self.row(cell) for cell in (*self.CELLS, other)})
        whole.write(finished=True)
        assert list(record.Record.read(file, self.CELLS).rows) == [other]

    def test_figures_of_another_machine_are_not_mixed_in(self, tmp_path):
        file = tmp_path / "fusions.json"
        record.Record(file).write(finished=True)
        document = json.loads(file.read_text())
        document["machine"]["cores"] = -1
        file.write_text(json.dumps(document))
        with pytest.raises(SystemExit, match="another machine or with other software"):
            record.Record.read(file, self.CELLS)


def test_published_code_that_is_not_there_is_left_out(tmp_path):
    assert len(public.NAMES) >= 8
    assert all(name in ALL for name in public.NAMES)
    assert public.read("mutan", tmp_path) is None
    adapter, _, origin = public.read("attention", tmp_path)
    assert origin["repository"] == adapter.REPOSITORY == "pytorch/pytorch"


def test_what_a_published_file_imports_of_its_repository_is_read_and_then_forgotten(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "beside.py").write_text("NUMBER = 3\n")
    (tmp_path / "theirs" / "network.py").write_text("import absent.part\nfrom theirs.beside import NUMBER\n")
    before, path = set(sys.modules), list(sys.path)
    found = load.load(tmp_path / "theirs" / "network.py", {"absent.part": {}}, tmp_path)
    assert found.NUMBER == 3
    assert sys.path == path
    assert not {name for name in set(sys.modules) - before if name.startswith(("theirs", "absent.part", "published_"))}


class TestPublishedRecord:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """Measures `attention` at one small size, into a file."""
        monkeypatch.setattr(public, "SIZES", ((2, 8),))
        monkeypatch.setattr(public, "TOKENS", 2)
        monkeypatch.setattr(public, "keep_large_blocks", lambda: None)
        monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
        file = tmp_path / "public.json"
        arguments = ["public", str(tmp_path), "--fusion", "attention", "--rounds", "2", "--json", str(file)]
        monkeypatch.setattr(sys, "argv", arguments)
        return file, public.main

    def test_what_is_not_measured_anew_is_kept(self, run):
        file, main = run
        rows = [{"fusion": "attention", "ratio": 9.0}, {"fusion": "mutan", "ratio": 1.0}]
        file.write_text(record.document(rows, published={"mutan": {"repository": "a/b"}}))
        main()
        found = json.loads(file.read_text())
        assert [row["fusion"] for row in found["rows"]] == ["attention", "attention", "mutan"]
        assert found["rows"][-1] == rows[1]
        assert all(row["ratio"] != 9.0 for row in found["rows"])
        assert list(found["published"]) == ["attention", "mutan"]
        assert found["published"]["mutan"] == {"repository": "a/b"}

    def test_figures_of_another_machine_are_not_mixed_in(self, run):
        file, main = run
        document = json.loads(record.document([], published={}))
        document["software"]["torch"] = "0.1"
        file.write_text(json.dumps(document))
        with pytest.raises(SystemExit, match="another machine or with other software"):
            main()
