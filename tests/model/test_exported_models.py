"""An exported folder as a model: the answers of the saved one in predict, evaluate and serve; and what it cannot do."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import mmkit
import mmkit.cli
from benchmarks.export import of_encoder, of_fusion
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.experiments.measuring import evaluate_table
from mmkit.model.description import combination_in, digest_of
from mmkit.model.exporting import loading
from mmkit.model.exporting.values import examples
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.registry.catalog import installed
from mmkit.serving.answering import Answers, Question
from mmkit.serving.limits import Limits
from mmkit.serving.service import Loaded
from mmkit.sources.streaming import stream_of
from tests.cli.test_predict_workers import OutOfOrder

APART = 1e-5
"""What an export allows."""
ROWS = {
    "weight": [150, None, 90, 20, None],
    "colour": ["red", "green", None, "violet", None],
    "picked": ["2024-05-01", None, None, "2024-06-01", None],
    "note": ["a sweet fruit with a stone", None, "small, with a stone", None, "juicy"],
}
"""Rows in which inputs are missing, one or the other."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of the table of fruit, saved and exported."""
    folder = tmp_path_factory.mktemp("fruit")
    training = {"epochs": 2, "min_steps": 0}
    model, _ = mmkit.fit(
        data=FRUIT, target="fruit", fusion="attention", training=training, progress=False, device="cpu"
    )
    model.save(folder / "saved")
    for kind in ("onnx", "pt2"):
        model.export(folder / kind, kind)
    return folder


def close(one, other):
    assert one.column_names == other.column_names
    for name in one.column_names:
        if pa.types.is_floating(one[name].type):
            assert np.abs(one[name].to_numpy() - other[name].to_numpy()).max() <= APART, name
        else:
            assert one[name] == other[name]


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_its_answers_are_those_of_the_saved_model_where_inputs_are_missing(folders, kind):
    saved, exported = mmkit.load(folders / "saved"), mmkit.load(folders / kind)
    (one,), (other,) = saved.answers(ROWS), exported.answers(ROWS)
    close(one, other)
    samples = [{"note": "a stone"}, {"table": {"weight": 100}}, {}]
    for told, answer in zip(saved.predict(samples), exported.predict(samples), strict=True):
        assert told["label"] == answer["label"]
        assert told["probabilities"] == pytest.approx(answer["probabilities"], abs=APART)
    assert [exported.predict([sample])[0]["label"] for sample in samples] == [
        one["label"] for one in exported.predict(samples)
    ]
    assert repr(exported).endswith(f"exported as {kind}>")


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_evaluate_measures_what_the_saved_model_reaches(folders, kind):
    stream = stream_of(FRUIT, installed())
    one, other = (evaluate_table(mmkit.load(folders / name), stream) for name in ("saved", kind))
    assert one.confusion == other.confusion
    assert one.missing == other.missing
    assert sum(one.missing.values()) > 0
    assert {name: value.value for name, value in other.metrics.items()} == pytest.approx(
        {name: value.value for name, value in one.metrics.items()}, abs=1e-4
    )


def test_the_commands_take_it(folders, run, monkeypatch):
    for out, folder in (("a.csv", "saved"), ("b.csv", "onnx")):
        code, said, _ = run("predict", folders / folder, "--data", FRUIT, "--out", out, "--include", "fruit")
        assert (code, said.startswith(f"{out}: 120 answers to 120 rows")) == (0, True)
    close(*(pa.csv.read_csv(out) for out in ("a.csv", "b.csv")))
    code, said, _ = run("evaluate", folders / "onnx", "--data", FRUIT)
    assert code == 0
    assert "120 of 120 rows measured" in said
    monkeypatch.setattr("mmkit.cli.predict.executor_of", lambda *_: OutOfOrder())
    assert run("predict", folders / "onnx", "--data", FRUIT, "--out", "c.csv", "--include", "fruit")[0] == 0
    assert Path("c.csv").read_bytes() == Path("b.csv").read_bytes()


@pytest.mark.parametrize("beside", [True, False])
def test_samples_of_a_table_are_given_as_predict_takes_them(folders, tmp_path, beside):
    saved, row = mmkit.load(folders / "saved"), {"weight": 150, "colour": "red", "picked": "2024-05-01"}
    samples = [{"note": "a sweet fruit", **row} if beside else {"note": "a sweet fruit", "table": row}]
    saved.export(tmp_path / "exported", "pt2", samples=samples)
    (answer, *_) = json.loads((tmp_path / "exported" / "smoke.json").read_text())["answers"]
    assert answer["probabilities"] == pytest.approx(saved.predict(samples)[0]["probabilities"], abs=APART)


def test_an_input_that_the_first_samples_lack_is_said(folders, tmp_path):
    saved = mmkit.load(folders / "saved")
    with pytest.raises(DataError, match="input note is missing in all samples that the export is checked with"):
        saved.export(tmp_path / "exported", "pt2", samples=[*[{"weight": 100}] * 5, {"note": "sweet", "weight": 1}])


def test_a_service_answers_and_says_what_each_input_gave(folders):
    def load(folder):
        return mmkit.load(folder)

    found = {}
    questions = [Question({"note": "sweet", "table": {"weight": 60}}, explain=True), Question({"note": "a stone"})]
    for name in ("saved", "onnx"):
        loaded = Loaded.of(folders / name, load, installed(), Limits())
        assert loaded.digest == digest_of(folders / name)
        found[name] = Answers(loaded.model, loaded.schema)(questions)
    for one, other in zip(*found.values(), strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=APART)
    one, other = (answers[0]["explanation"] for answers in found.values())
    assert one["output"] == other["output"]
    assert one["contributions"] == pytest.approx(other["contributions"], abs=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("name", ["cnn", "mel-cnn", "fcn", "text-transformer"])
def test_every_modality(name, tmp_path):
    model = of_encoder(name)
    model.export(tmp_path / "exported")
    exported = mmkit.load(tmp_path / "exported")
    samples = drawn(model)
    for told, answer in zip(model.predict(samples), exported.predict(samples), strict=True):
        assert numbers(told) == pytest.approx(numbers(answer), abs=APART)


def drawn(model):
    """Random samples: whole ones, with one input alone, and with none."""
    columns = examples(model)
    whole = [{name: values[place] for name, values in columns.items()} for place in range(3)]
    return [*whole, *({one: sample[one]} for sample in whole for one in sample), {}]


def numbers(answer):
    """What an answer holds, but for its label."""
    if isinstance(answer, dict):
        return answer["probabilities"]
    return answer


@pytest.mark.full
@pytest.mark.parametrize("name", ["concat", "attention", "late"])
def test_compiled_models_are_taken(name, tmp_path):
    if shutil.which(os.environ.get("CXX") or "g++") is None:
        pytest.skip("there is no C++ compiler")
    model = of_fusion(name)
    model.export(tmp_path / "exported", "aoti")
    exported = mmkit.load(tmp_path / "exported")
    samples = drawn(model)
    for told, answer in zip(model.predict(samples), exported.predict(samples), strict=True):
        assert numbers(told) == pytest.approx(numbers(answer), abs=APART)


@pytest.mark.parametrize("file", ["model.onnx", "model.json", "signature.json"])
def test_a_changed_folder_is_refused(folders, run, tmp_path, file):
    folder = tmp_path / "changed"
    shutil.copytree(folders / "onnx", folder)
    path = folder / file
    content = bytearray(path.read_bytes())
    place = content.rindex(b'"batch"') + 1 if file == "signature.json" else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{file} was changed after the export.*export the model again"):
        mmkit.load(folder)
    for command in ("predict", "evaluate"):
        code, out, err = run(command, folder, "--data", FRUIT, *(("--out", "a.csv") if command == "predict" else ()))
        assert (code, out, err.count("\n")) == (4, "", 1)
        assert f"{file} was changed after the export" in err
    path.unlink()
    with pytest.raises(DataError):
        mmkit.load(folder)


def test_a_damaged_signature_is_one_line(folders, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(folders / "onnx", folder)
    path = folder / "signature.json"
    for text, said in (
        ("{", "no signature"),
        ('{"schema": 1}', "has schema 1, and this"),
        ('{"schema": 2}', "digest is"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            mmkit.load(folder)
    signature = json.loads((folders / "onnx" / "signature.json").read_text())
    assert "model.onnx" in signature["files"]
    assert signature["digest"] == digest_of(folders / "onnx")


def test_the_digest_hangs_on_what_answers_hang_on(folders):
    digests = {name: digest_of(folders / name) for name in ("saved", "onnx", "pt2")}
    assert len(set(digests.values())) == 3
    (folders / "onnx" / "README.md").write_text("mine")
    assert mmkit.load(folders / "onnx").predict([{"note": "a stone"}])
    assert digest_of(folders / "onnx") == digests["onnx"]


def test_what_it_cannot_do_is_said(folders, run, tmp_path, monkeypatch):
    exported = mmkit.load(folders / "onnx")
    for call in (
        lambda: exported.explain({"note": "a stone"}),
        lambda: exported.save(tmp_path / "again"),
        lambda: exported.export(tmp_path / "again"),
    ):
        with pytest.raises(UsageError, match="an exported model is one graph: it predicts, and cannot be looked into"):
            call()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"holds an exported model.*give the folder of the saved model"):
        combination_in(folders / "onnx")
    code, _, err = run("explain", folders / "onnx", "--data", FRUIT, "--row", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "an exported model is one graph" in err
    code, _, err = run("export", folders / "onnx", "--out", "x")
    assert (code, err.count("\n")) == (2, 1)
    with pytest.raises(UsageError, match="computes on the CPU; got --device cuda"):
        mmkit.load(folders / "onnx", device="cuda")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"model\.onnx runs in onnxruntime: pip install"):
        mmkit.load(folders / "onnx")


def test_a_graph_that_its_engine_does_not_take_is_one_line(folders, monkeypatch):
    def fails(*_):
        raise RuntimeError("no\nsuch thing")

    monkeypatch.setattr(loading, "reading", fails)
    with pytest.raises(DataError, match=r"model.pt2 cannot be run here \(RuntimeError: no such thing\); it was"):
        mmkit.load(folders / "pt2")
