"""What the contract's page says of values and kinds of target is what the code does."""

import re
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import mmkit.contract
import mmkit.errors
import mmkit.heads.loss
import mmkit.testing
import mmkit.transforms.truth
from mmkit.contract import Modality
from mmkit.heads.linear import LinearHead
from mmkit.heads.regression import RegressionHead
from mmkit.metrics.answers import HEAD_LOSS
from mmkit.metrics.tensors import higher_is_better, metric_names
from mmkit.metrics.texts import MEASURES
from mmkit.registry.catalog import installed
from mmkit.testing.specimens.head import KINDS
from mmkit.transforms.truth import Categories, Numbers, category_name, numbers_of

PAGE = mmkit.contract.__doc__
TRUTHS = {
    "classes": ["oak", 7, "7", True, None],
    "labels": [["oak", 7], [], {"7"}, (True,), None],
    "scalar": [3, 2.5, torch.tensor(1.0), np.float32(2), None],
}


def of_kind(kind):
    """The lines of a kind of target: what -> text."""
    block = re.search(rf"^    {kind} (.*?)(?=^    \w|^\S)", PAGE, re.DOTALL | re.MULTILINE)[1]
    found, what = {}, ""
    for line in block.splitlines():
        head = re.match(r"\s{0,14}(truth|batch|predicted|answer|metrics)\s+", line)
        what = head[1] if head else what
        found[what] = f"{found.get(what, '')} {line[head.end() if head else 0 :].strip()}".strip()
    return found


def test_all_kinds_of_target_are_there():
    assert re.findall(r"^    (\w+) +truth ", PAGE, re.MULTILINE) == list(KINDS)
    assert "another   of a plugin's own" in PAGE


def test_metrics_are_told_by_name():
    assert of_kind("classes")["metrics"].split(", ") == list(metric_names("classes"))
    said = of_kind("labels")["metrics"].split(", ")
    assert said == [
        "those of classes",
        *(name for name in metric_names("labels") if name not in metric_names("classes")),
    ]
    assert of_kind("scalar")["metrics"].split(", ") == list(metric_names("scalar"))
    assert of_kind("text")["metrics"].split(", ") == [*MEASURES, HEAD_LOSS]
    names = {name for kind in ("classes", "labels", "scalar") for name in metric_names(kind)}
    lower = re.search(r"name; (.*?) are better where they are lower", " ".join(PAGE.split()))[1]
    assert set(re.findall(r"`(\w+)`", lower)) == {n for n in names if not higher_is_better(n)} | {HEAD_LOSS}


@pytest.mark.parametrize("kind", TRUTHS)
def test_truths_batches_predictions_and_answers_are_as_told(kind):
    transform = (Numbers if kind == "scalar" else Categories)(kind)
    transform.fit(TRUTHS[kind])
    target = transform.target()
    batch = transform(TRUTHS[kind])
    head = (RegressionHead if kind == "scalar" else LinearHead)(4, target, transform)
    prediction = head.predict(torch.zeros(5, target.size))
    told = of_kind(kind)
    for said, found in ((told["batch"], batch), (told["predicted"], prediction)):
        assert dict.fromkeys(re.findall(r"(\w+) \[", said)) == dict.fromkeys(found)
        for leaf, axes in re.findall(r"(\w+) \[([BC ]+)\]", said):
            assert list(found[leaf].shape) == [{"B": 5, "C": target.size}[axis] for axis in axes.split()]
    if kind == "classes":
        assert "label [B] int64" in told["batch"]
        assert batch["label"].dtype == torch.int64
    assert not batch["mask"][-1]
    assert batch["mask"][:-1].all()
    for answer in transform.inverse(prediction):
        assert set(answer) <= set(re.findall(r'"(\w+)"', told["answer"]))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [("classes", ""), ("classes", 1.5), ("classes", ["oak"]), ("labels", "oak"), ("scalar", "3"), ("scalar", [])],
)
def test_other_truths_are_refused(kind, raw):
    with pytest.raises(mmkit.errors.DataError):
        (Numbers if kind == "scalar" else Categories)(kind).fit([*list(cast(Any, TRUTHS[kind])), raw])


def test_what_may_be_reused_is_there():
    told = PAGE.partition("What may be reused")[2]
    found = {}
    for line in told.splitlines():
        module = re.match(r"    (mmkit[\w.]+) ", line)
        if module:
            found[module[1]] = []
        if line.startswith("    "):
            found[next(reversed(found))] += re.findall(
                r"\b(?:[A-Z][a-z]+[A-Z]\w+|[a-z]+_\w+|check|cases|Categories|Numbers)\b", line
            )
    assert set(found) == {"mmkit.errors", "mmkit.transforms.truth", "mmkit.heads.loss", "mmkit.testing"}
    modules = {name: __import__(name, fromlist=["x"]) for name in found}
    for module, names in found.items():
        assert len(names) >= 2
        for name in names:
            assert hasattr(modules[module], name), f"{module}.{name}"
    assert category_name(7.0) == category_name("7") == "7"
    assert numbers_of([1, 2.5]) == [1.0, 2.5]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    home = tmp_path_factory.mktemp("values")
    (home / "a.txt").write_text("words")
    Image.new("RGB", (4, 3)).save(home / "a.png")
    soundfile.write(home / "a.wav", np.zeros(80), 8000)
    return home


def raws(files):
    """Of each modality, one of each raw form that the page names."""
    picture = Image.new("L", (4, 3))
    return {
        "text": ["words", b"words", files / "a.txt"],
        "image": [
            str(files / "a.png"),
            files / "a.png",
            (files / "a.png").read_bytes(),
            picture,
            np.zeros((3, 4), np.uint8),
            np.zeros((3, 4, 3), np.uint8),
            torch.zeros(3, 5, 4, dtype=torch.uint8),
        ],
        "audio": [
            str(files / "a.wav"),
            (files / "a.wav").read_bytes(),
            (torch.zeros(1, 80), 8000),
            (np.zeros(80), 8000),
        ],
        "series": [[1.0, 2.0], [[1.0], [2.0]], np.zeros((4, 2)), torch.zeros(4)],
        "table": [{"a": 1, "b": "x", "c": True, "d": None}, {"a": float("nan"), "b": "x"}],
    }


def test_the_modalities_of_the_page_are_mmkits_own():
    rows = re.findall(r"^        (\w+) ", Modality.__doc__, re.MULTILINE)
    own = {entry.name for entry in installed().available("modality") if entry.distribution == "mmkit-core"}
    assert set(rows) == own == {"text", "image", "audio", "series", "table"}


@pytest.mark.parametrize("kind", ["text", "image", "audio", "series", "table"])
def test_raw_values_are_taken_and_values_in_memory_are_as_told(kind, files):
    modality = installed().find("modality", kind).load()()
    for raw in raws(files)[kind]:
        value = modality.decode(raw)
        if kind == "text":
            assert isinstance(value, str)
            assert value.strip()
        elif kind == "image":
            assert (value.dtype, value.ndim, len(value) in {1, 3}) == (torch.uint8, 3, True)
        elif kind == "audio":
            assert (value[0].dtype, value[0].ndim, value[1]) == (torch.float32, 2, 8000)
        elif kind == "series":
            assert (value.dtype, value.ndim) == (torch.float32, 2)
        else:
            assert isinstance(value, dict)
            assert value[list(raw)[-1]] == raw[list(raw)[-1]]
        assert type(modality.decode(value)) is type(value)
