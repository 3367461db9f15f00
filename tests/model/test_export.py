"""Exported models: the folder, what refuses it, and the graph run without mmkit."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import mmkit
from benchmarks.export import names, of_encoder, of_fusion, taken
from mmkit.errors import DataError, MmkitError, UnavailableError, UsageError
from mmkit.layers import attention
from mmkit.model.exporting import graph, values
from tests.model.conftest import Titles
from tests.model.network_cases import FIRST

pytestmark = pytest.mark.minutes


def run_readme(folder, banned=("mmkit",)):
    """What the script in the README prints, in a process that cannot import what is banned."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    closed = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in banned)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", closed + code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def titles_model():
    return mmkit.fit(task=Titles, training={"epochs": 1, "min_steps": 0}, device="cpu")[0]


@pytest.fixture(scope="module")
def exported(titles_model, tmp_path_factory):
    """A model of texts and a table, as ONNX."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    return titles_model.export(folder)


@pytest.mark.full
def test_its_readme_runs_it_with_onnxruntime_and_numpy_alone(exported):
    told = run_readme(exported.folder, banned=("mmkit", "torch"))
    off = float(re.search(r"probabilities .* off by (\S+)", told)[1])
    assert off <= 1e-5


def test_it_is_checked_on_every_kind_of_batch(exported):
    kinds = ["5 samples", "1 sample", "half as long", "longer by one"]
    assert list(exported.apart) == [*kinds, "without title", "without type", "without any input"]
    assert max(exported.apart.values()) <= 1e-5


def test_the_signature_says_what_the_graph_takes_and_gives(exported):
    signature = json.loads((exported.folder / "signature.json").read_text())
    axes = {one["name"]: (one["type"], one["axes"]) for one in signature["inputs"]}
    assert axes["title.tokens"] == ("int64", ["batch", "title length"])
    assert axes["title.mask"] == ("bool", ["batch", "title length"])
    assert axes["type.numbers"] == ("float32", ["batch", 1])
    assert signature["outputs"] == [{"name": "probabilities", "type": "float32", "axes": ["batch", 2]}]
    assert (signature["names"], signature["target"], signature["format"]) == (["off", "on"], "classes", "onnx")
    assert torch.__version__.startswith(signature["versions"]["torch"])
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.folder / "model.onnx")
    assert [one.name for one in session.get_inputs()] == [one["name"] for one in signature["inputs"]]
    assert [one.name for one in session.get_outputs()] == ["probabilities"]


def test_raw_samples_beside_it_have_the_answers_that_the_model_gives(exported, titles_model):
    smoke = json.loads((exported.folder / "smoke.json").read_text())
    arrays = np.load(exported.folder / "smoke.npz")
    samples = [{name: values.read_back(raw, arrays) for name, raw in one.items()} for one in smoke["samples"]]
    assert all(one["title"] for one in samples)
    for told, answer in zip(smoke["answers"], titles_model.predict(samples), strict=True):
        assert told["label"] == answer["label"]
        assert told["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)


def test_its_transforms_are_those_of_the_saved_model(exported, titles_model, tmp_path):
    titles_model.save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "model.json").read_text())
    mine = json.loads((exported.folder / "model.json").read_text())
    assert mine == {name: part for name, part in saved.items() if name not in {"digest", "weights"}}


def test_given_samples_are_what_it_is_checked_with(titles_model, tmp_path):
    titles_model.export(tmp_path / "x", "pt2", samples=[{"title": "a red house", "type": {"size": 2.0, "shop": "a"}}])
    smoke = json.loads((tmp_path / "x" / "smoke.json").read_text())
    assert smoke["samples"] == 5 * [{"title": "a red house", "type": {"mapping": {"size": 2.0, "shop": "a"}}}]


@pytest.mark.full
def test_pt2_runs_with_torch_alone_and_replaces_what_was_there(titles_model, exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    found = titles_model.export(folder, "pt2")
    assert not (folder / "model.onnx").exists()
    assert max(found.apart.values()) <= 1e-5
    assert "off by 0" in run_readme(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_link_to_a_folder_stays_one(titles_model, exported, tmp_path):
    shutil.copytree(exported.folder, tmp_path / "first")
    (tmp_path / "current").symlink_to("first")
    for _ in range(2):
        titles_model.export(tmp_path / "current", "pt2")
    assert (tmp_path / "current").is_symlink()
    assert (tmp_path / "first" / "model.pt2").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "first"]


def test_what_else_is_in_the_folder_is_not_lost(titles_model, exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    (folder / "client").mkdir()
    (folder / "client" / "run.py").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"which would be lost: client, notes\.txt; move it, or choose another"):
        titles_model.export(folder, "pt2")
    assert (folder / "client" / "run.py").read_text() == (folder / "notes.txt").read_text() == "mine"
    assert (folder / "model.onnx").exists()


def test_another_answer_refuses_it_and_leaves_what_was_there(titles_model, exported, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    right = graph.write

    def off(*given):
        run = right(*given)
        return lambda tensors: [leaf + 2e-5 * (len(tensors[0]) == 1) for leaf in run(tensors)]

    monkeypatch.setattr("mmkit.model.exporting.folder.write", off)
    with pytest.raises(MmkitError, match=r"2e-05 apart from the model on a batch 1 sample, 1e-05 allowed; nothing was"):
        titles_model.export(folder, "pt2")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_nan_is_another_answer(titles_model, tmp_path, monkeypatch):
    right = graph.write

    def off(*given):
        run = right(*given)
        return lambda tensors: [leaf.masked_fill(leaf == leaf.max(), torch.nan) for leaf in run(tensors)]

    monkeypatch.setattr("mmkit.model.exporting.folder.write", off)
    with pytest.raises(MmkitError, match="the graph is nan apart from the model on a batch 5 samples"):
        titles_model.export(tmp_path / "x", "pt2")


@pytest.mark.full
def test_attention_that_leaves_rows_without_keys_to_the_backend_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "_zeroed", lambda found, mask: found)
    with pytest.raises(MmkitError, match="apart from the model on a batch without"):
        of_fusion("cross-attention").export(tmp_path / "x", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_said_in_one_line(titles_model, tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and holds no exported model; choose an empty or a new folder"):
        titles_model.export(tmp_path)
    with pytest.raises(UsageError, match="there is no format 'onx'; did you mean onnx"):
        titles_model.export(tmp_path / "x", "onx")
    with pytest.raises(UsageError, match="unknown input 'titel'"):
        titles_model.export(tmp_path / "x", samples=[{"titel": "a"}])
    with pytest.raises(DataError, match="input title is missing in all samples"):
        titles_model.export(tmp_path / "x", samples=[{"type": {"size": 1.0}}])
    frozen = titles_model.combination.encoders["title"]
    packed = dataclasses.replace(frozen, spec=dataclasses.replace(frozen.spec, exports=False))
    other = {**titles_model.combination.encoders, "title": packed}
    with pytest.raises(UnavailableError, match=r"encoder .* of input title cannot be exported: its spec says so"):
        dataclasses.replace(
            titles_model, combination=dataclasses.replace(titles_model.combination, encoders=other)
        ).export(tmp_path / "x", "pt2")
    monkeypatch.setattr(graph, "lacking", lambda: "onnx, onnxruntime")
    with pytest.raises(UnavailableError, match=r'ONNX needs onnx, onnxruntime: pip install "mmkit-core\[export\]"'):
        titles_model.export(tmp_path / "x")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UnavailableError, match=r"needs a C\+\+ compiler, and there is no no-such-compiler"):
        titles_model.export(tmp_path / "x", "aoti")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    titles_model = dataclasses.replace(titles_model, target="text")
    with pytest.raises(UsageError, match="answers in texts makes them token by token, which is no one graph to export"):
        titles_model.export(tmp_path / "x", "pt2")


def test_a_branch_on_values_is_refused_by_its_reason(titles_model, tmp_path, monkeypatch):
    fusion = type(titles_model.module.fusion)
    right = fusion.forward

    def branches(self, features):
        if bool(features["title"].mask.any()):
            return right(self, features)
        return right(self, dict(reversed(features.items())))

    monkeypatch.setattr(fusion, "forward", branches)
    with pytest.raises(UnavailableError, match=r"cannot be exported as pt2: torch\.export cannot take it: "):
        titles_model.export(tmp_path / "x", "pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
@pytest.mark.parametrize("fusion", FIRST)  # the kit exports each fusion alone
def test_models_are_exported_with_fusions_of_every_family(fusion):
    apart = taken(of_fusion(fusion))
    assert {name: one for name, one in apart.items() if not isinstance(one, float)} == {}
    assert max(apart.values()) <= 1e-5


@pytest.mark.full
def test_a_loop_over_steps_is_refused_by_its_reason():
    """A graph can take it of one length alone."""
    apart = taken(of_fusion("memory"))
    assert all(str(one).startswith("torch.export cannot take it: ") for one in apart.values())


@pytest.mark.full
@pytest.mark.parametrize("encoder", names("encoder"))
def test_every_encoder_is_exported(encoder):
    apart = taken(of_encoder(encoder))
    assert {name: one for name, one in apart.items() if not isinstance(one, float)} == {}
    assert max(apart.values()) <= 1e-5


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # inductor's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="aoti needs a C++ compiler")
def test_compiled_for_this_machine(tmp_path):
    found = of_encoder("cnn").export(tmp_path / "x", "aoti")
    assert max(found.apart.values()) <= 1e-5
    assert "off by" in run_readme(found.folder)
