"""What a user can look up: options of training, raw values, truth and metrics; what components take."""

import json
import re

import pytest

import mmkit
from mmkit.metrics.answers import measures_of
from mmkit.metrics.tensors import metric_names
from mmkit.registry.options import options_of
from mmkit.training.optimisation import Training


def test_every_option_of_training_is_shown(run):
    code, out, _ = run("plugins", "show", "train")
    assert code == 0
    shown = {line.split()[0] for line in out.splitlines() if line.startswith("    ")}
    assert shown == set(options_of(Training))
    found = json.loads(run("plugins", "show", "train", "--json")[1])
    assert {option["name"] for option in found["pages"][0]["options"]} == set(options_of(Training))


@pytest.mark.parametrize("kind", ["classes", "labels", "scalar", "text"])
def test_the_metrics_of_a_kind_of_target_are_those_that_it_has(run, kind):
    code, out, _ = run("plugins", "show", kind, "--kind", "target")
    assert code == 0
    named = set(re.search(r"metrics +(.*)", out)[1].partition(".")[0].split(", "))
    if kind == "text":
        assert named == {*measures_of(object(), "text"), "head_loss"}
    else:
        if kind == "labels":
            named = named - {"those of classes"} | set(metric_names("classes"))
        assert named == set(metric_names(kind))
    assert {"truth", "batch", "predicted", "answer"} <= {line.split()[0] for line in out.splitlines()}
    assert ("Macro averages are over the classes" in out) == (kind in {"classes", "labels"})


def test_a_name_of_a_modality_and_of_a_target_shows_both(run):
    out = run("plugins", "show", "text")[1]
    assert out.startswith("modality text\n")
    assert "\ntarget text\n" in out
    assert run("plugins", "show", "text", "--kind", "modality")[1] in out
    assert "did you mean classes?" in run("plugins", "show", "clases")[2]


@pytest.mark.parametrize("name", [entry.name for entry in mmkit.installed().available("modality")])
def test_every_modality_says_what_its_raw_values_are(run, name):
    out = run("plugins", "show", name, "--kind", "modality")[1]
    assert re.search(r"about +A raw value is ", out)


def test_requirements_of_mmkit_itself_are_not_repeated(run, distribution):
    source = """
    from mmkit.plugin import FusionSpec, hookimpl

    @hookimpl
    def mmkit_fusions():
        yield FusionSpec("braid", "mmkit.fusions.vectors.sum:SumFusion", "x", requires=("rich>=1",))
        yield FusionSpec("plait", "mmkit.fusions.vectors.sum:SumFusion", "x")
        yield FusionSpec("queue", "mmkit.fusions.vectors.sum:SumFusion", "x", requires=("numpy>=99",))
    """
    distribution("acme", source, requires=["mmkit-core", "numpy>=1", "pluggy", "pytest"])

    def requires(name):
        return re.findall(r"([\w.>=-]+) \(", (re.search(r"requires +(.*)", run("plugins", "show", name)[1]) or " ")[0])

    assert requires("concat") == []
    assert requires("plait") == ["mmkit-core", "pytest"]
    assert requires("braid") == ["mmkit-core", "pytest", "rich>=1"]
    assert "numpy>=99" in requires("queue")


def test_lists_say_what_a_component_takes(run, distribution):
    distribution(
        "acme",
        """
        from mmkit.plugin import FusionSpec, hookimpl

        @hookimpl
        def mmkit_fusions():
            yield FusionSpec("braid", "THIS:Fusion", "x", min_inputs=2, max_inputs=3)
        """,
    )
    takes = {tuple(line.split("\t")[:2]): line.split("\t")[7] for line in run("list-plugins")[1].splitlines()}
    assert takes["fusion", "braid"] == "2 to 3 inputs"
    assert takes["fusion", "late"] == "outputs of 1+ inputs"
    assert takes["encoder", "cnn"] == "image"
    assert takes["head", "regression"] == "scalar"
    assert takes["task", "digits"] == "series, image -> classes"
    assert takes["objective", "contrastive"] == "2+ inputs"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_on_a_terminal_of_any_width_the_list_is_whole(run, monkeypatch, width):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    out = re.sub(r"\x1b\[[\d;]*m", "", run("list-plugins")[1])
    assert max(map(len, out.splitlines())) <= width
    told = " ".join(out.split())
    for entry in mmkit.installed().entries:
        assert f" {entry.name} " in f" {told} "
        if entry.status == "ok":
            assert entry.summary in told
