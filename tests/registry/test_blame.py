"""An exception of a component is told with its kind and name, its distribution, and file and line within that."""

import json
import re

import pytest

from mmkit.cli import main
from mmkit.errors import DataError
from mmkit.registry.blame import blaming, chosen, registered
from mmkit.registry.catalog import installed
from mmkit.registry.options import Choice

PLUGIN = """
import torch
from torch import nn
from mmkit.contract import Features
from mmkit.encoders.table_mlp import TableMlpEncoder
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.heads.linear import LinearHead
from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, hookimpl
from mmkit.transforms.series import SeriesTransform
from mmkit.encoders.fcn import FcnEncoder


def helper(value):
    return value["nothing"]  # HELPER


class Glue(ConcatFusion):
    def forward(self, features):
        return helper({})


class Birth(ConcatFusion):
    def __init__(self, widths):
        raise RuntimeError("no birth")  # BIRTH


class Reading(SeriesTransform):
    def __call__(self, values, generator=None):
        raise RuntimeError("no reading")  # READING


class Encoder(FcnEncoder):
    reads = Reading


class Head(LinearHead):
    def loss(self, output, truth):
        raise ZeroDivisionError  # HEAD


class Objective(nn.Module):
    def __init__(self, widths, width, target):
        super().__init__()

    def forward(self, output, truth):
        return torch.zeros(3) + torch.zeros(2)  # OBJECTIVE


class Predicts(LinearHead):
    def predict(self, output):
        raise RuntimeError("no answer")  # PREDICTS


@hookimpl
def mmkit_fusions():
    yield FusionSpec("glue", "THIS:Glue", "x")
    yield FusionSpec("birth", "THIS:Birth", "x")


@hookimpl
def mmkit_encoders():
    yield EncoderSpec("unread", "THIS:Encoder", "x", modality="series")


@hookimpl
def mmkit_heads():
    yield HeadSpec("wordless", "THIS:Predicts", "x", targets=("classes",))
    yield HeadSpec("zero", "THIS:Head", "x", targets=("classes",))


@hookimpl
def mmkit_objectives():
    yield ObjectiveSpec("odd", "THIS:Objective", "x")
"""
SMALL = ["--task", "synthetic-unique:train=48", "-o", "train.epochs=1", "-o", "train.min_steps=0", "--no-cost"]
CASES = {
    "HELPER": (["--fusion", "glue"], "fusion glue", "KeyError: 'nothing'", "helper"),
    "BIRTH": (["--fusion", "birth"], "fusion birth", "RuntimeError: no birth", "__init__"),
    "READING": (["--encoder", "series=unread"], "encoder unread", "RuntimeError: no reading", "__call__"),
    "HEAD": (["--head", "zero"], "head zero", "ZeroDivisionError", "loss"),
    "PREDICTS": (["--head", "wordless"], "head wordless", "RuntimeError: no answer", "predict"),
    "OBJECTIVE": (["--objective", "odd"], "objective odd", "RuntimeError: The size of tensor a (3)", "forward"),
}


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["bench", *SMALL, *arguments])
        return end.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("mark", CASES)
def test_a_suite_ends_before_its_first_run_with_whose_fault_it_is(bench, distribution, tmp_path, mark):
    module = distribution("acme-glue", PLUGIN, version="0.3")
    arguments, who, what, function = CASES[mark]
    fusion = [] if "--fusion" in arguments else ["--fusion", "concat"]
    code, out, err = bench(*fusion, *arguments, "--out", "suite")
    line = 1 + next(n for n, text in enumerate(PLUGIN.splitlines()) if text.endswith(f"# {mark}"))
    assert (code, out) == (1, "")
    told = err.splitlines()[-1]
    assert told.startswith(f"mmkit: error: {who} of acme-glue 0.3 raised {what}")
    assert f" ({module}.py:{line}, in {function}); --traceback shows all of it" in told
    assert "Traceback" not in err
    assert (tmp_path / "suite" / "records.jsonl").read_bytes() == b""


def test_traceback_shows_all_of_it(bench, distribution):
    distribution("acme-glue", PLUGIN)
    err = bench("--fusion", "glue", "--out", "suite", "--traceback")[2]
    assert "Traceback (most recent call last)" in err
    assert 'return value["nothing"]' in err
    assert "KeyError: 'nothing'" in err


def test_beside_others_only_its_own_runs_fail_and_traceback_shows_why(bench, distribution, tmp_path):
    distribution("acme-glue", PLUGIN)
    code, out, err = bench("--fusion", "glue,concat", "--seeds", "1", "--no-baselines", "--out", "a")
    assert code == 1
    assert "failed: glue: ContractError: fusion glue of acme-glue 1.0 raised KeyError: 'nothing' (" in out
    assert "Traceback" not in out + err
    records = [json.loads(line) for line in (tmp_path / "a" / "records.jsonl").read_text().splitlines()]
    compared = [record["status"] for record in records if record["purpose"] == "comparison"]
    assert sorted(compared) == ["failed", "ok", "ok"]  # the race, and concat once more with a fresh seed
    err = bench("--fusion", "glue,concat", "--seeds", "1", "--no-baselines", "--out", "b", "--traceback")[2]
    assert err.count("KeyError: 'nothing'") == 1
    assert 'return value["nothing"]' in err


def test_a_dry_run_says_it_and_traceback_shows_it(bench, distribution):
    distribution("acme-glue", PLUGIN)
    code, out, err = bench("--fusion", "glue", "--dry-run", "--traceback")
    assert code == 1
    assert "fusion glue of acme-glue 1.0 raised KeyError" in out
    assert 'return value["nothing"]' in err


def test_errors_of_mmkit_are_left_as_they_are():
    error = DataError("given, expected, to do")
    assert blaming(error, registered(installed().entries)) is error


def raised(call):
    """What a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it is)
        return error
    raise AssertionError("nothing was raised")


def test_what_no_component_raised_is_left_as_it_is():
    error = raised(lambda: json.loads("{"))
    assert blaming(error, registered(installed().entries)) is error


def test_a_component_that_is_installed_is_found_without_having_been_chosen():
    fusion = installed().find("fusion", "sum").load()({"a": 3, "b": 4})
    told = str(blaming(raised(lambda: fusion({"a": None, "b": None})), registered(installed().entries)))
    assert re.match(r"fusion sum of mmkit-core \S+ raised .* \(mmkit/fusions/vectors/sum.py:\d+, in ", told)


class Own:
    """A component of a user's own."""

    def __init__(self):
        raise LookupError("mine")


def test_a_class_that_no_plugin_registers_is_named():
    told = str(blaming(raised(Own), chosen([Choice("fusion", "tests.Own", None, (Own,), {})])))
    assert told.startswith("fusion tests.Own raised LookupError: mine (")
    assert "test_blame.py:" in told
