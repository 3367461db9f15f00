"""`mmkit export` from outside: what it prints and writes, and its errors."""

import json

import pytest

import mmkit
import mmkit.cli
from mmkit.registry.builtin.tasks import FRUIT


@pytest.mark.parametrize("data", [(), ("--data", FRUIT)], ids=["random", "data"])
def test_it_says_what_was_written_in_80_columns(model, run, tmp_path, data):
    code, out, err = run("export", model, "--format", "pt2", "--out", "fruit", *data)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("fruit: pt2, ")
    assert "0 apart at most (1e-05 allowed)" in lines[1]
    assert lines[-2].split() == ["gives", "probabilities", "batch", "x", "3"]
    assert lines[-1] == "how to run it: fruit/README.md"
    assert max(map(len, lines)) <= 80
    samples = json.loads((tmp_path / "fruit" / "smoke.json").read_text())["samples"]
    if data:
        first = mmkit.MultimodalModel.load(model)
        assert len(samples) == 5
        assert set(samples[0]) == set(first.inputs)


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--format", "onx"), 2, "there is no format 'onx'; did you mean onnx"),
        (("--data", "none.csv"), 4, "none.csv"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(model, run, tmp_path, given, code, message):
    found, out, err = run("export", model, "--out", "x", *given)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_model_is_said_so(run, tmp_path):
    code, _, err = run("export", tmp_path, "--out", "x")
    assert code == 4
    assert "holds no readable model of mmkit" in err


@pytest.mark.full
@pytest.mark.parametrize("out", ["fruit", "~/fruit"])
def test_an_exported_model_is_replaced_where_that_is_asked_for(model, run, tmp_path, monkeypatch, out):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = out.replace("~", str(tmp_path))
    call = ("export", model, "--format", "pt2", "--out", out)
    assert run(*call)[0] == 0
    before = {path.name: path.stat().st_ino for path in (tmp_path / "fruit").iterdir()}
    code, out, err = run(*call)
    assert (code, out) == (2, "")
    assert err == f"mmkit: error: {folder} holds an exported model; give --force to replace it, or another folder\n"
    assert {path.name: path.stat().st_ino for path in (tmp_path / "fruit").iterdir()} == before
    assert run(*call, "--force")[0] == 0
    assert {path.name: path.stat().st_ino for path in (tmp_path / "fruit").iterdir()} != before
