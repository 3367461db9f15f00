"""`mmkit train` from outside: what it prints, what it refuses, and how it ends when it is interrupted."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmkit
import mmkit.cli
from mmkit.records.record import Record
from mmkit.report.card import notes, scores_title

TASK = ["--task", "synthetic-unique:train=48"]
SMALL = [*TASK, "--fusion", "concat", "--epochs", "1", "--lr", "0.002"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MMKIT_TASK", "MMKIT_FUSION", "MMKIT_CONFIG", "MMKIT_SEEDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def train(capsys):
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["train", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def test_it_says_what_the_model_is_worth_and_where_it_is(train, tmp_path):
    code, out, _ = train(*SMALL, "--out", "m")
    assert code == 0
    record = json.loads((tmp_path / "m" / "record.json").read_text())
    score, (low, high) = record["metrics"]["accuracy"], record["intervals"]["test"]["accuracy"]
    assert re.search(rf"^accuracy % .* {100 * score:.1f} \[{100 * low:.1f}, {100 * high:.1f}\]$", out, re.MULTILINE)
    assert record["intervals"]["test"].keys() == record["metrics"].keys()
    assert out.startswith("Scores with 95 % intervals over samples; those of other seeds may differ more\n")
    alone = {"test": {"log_loss": record["intervals"]["test"]["log_loss"]}}
    perfect = dataclasses.replace(Record.of(record, Path("m/record.json")), intervals=alone)
    assert scores_title(perfect).startswith("Scores with 95 % intervals over samples (log loss alone); ")
    assert "The model is in m, its card is m/README.md." in out
    assert record["calibrated"] is not None  # unasked
    assert mmkit.load("m").predict([{}])[0]["label"] in {"00", "01", "10", "11"}
    assert f"mmkit train {' '.join([*SMALL, '--out', 'm'])}".split() == sorted_like(
        (tmp_path / "m" / "README.md").read_text(), SMALL
    )
    code, out, err = train(*SMALL, "--out", "m")
    assert code == 0
    assert "m holds this model already; nothing is trained" in err
    assert "The model is in m" in out
    code, out, err = train(*SMALL, "--out", "m", "--no-calibrate")
    assert (code, out) == (2, "")
    assert "its train.calibrate was True, and now it is False" in err


def sorted_like(card, arguments):
    """The words of the command in a card, in the order of some arguments."""
    (command,) = re.findall(r"```\n(mmkit train .*)\n```", card)
    words = command.split()[2:]
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    order = [*arguments[::2], "--out"]
    assert pairs.keys() == set(order)
    return ["mmkit", "train", *(word for name in order for word in (name, pairs[name]))]


def test_own_data_ends_with_the_command_that_predicts(train, written):
    path = written({"x": [i / 8 for i in range(60)], "z": [i % 5 for i in range(60)], "y": ["no", "yes"] * 30}, "csv")
    code, out, err = train("--data", path, "--target", "y", "--epochs", 1, "--lr", 0.002, "--out", "a model")
    assert code == 0
    assert "  mmkit predict 'a model' --data NEW --out ANSWERS.parquet" in out
    assert "splits: train 36" in err


def test_a_class_that_is_never_said_is_told_with_what_may_help(train, written):
    rare = {"x": [i % 7 / 8 for i in range(160)], "y": [*["no"] * 15, "rare"] * 10}
    code, out, _ = train("--data", written(rare, "csv"), "--target", "y", "--epochs", 4, "--lr", 0.01, "--out", "m")
    assert code == 0
    (count,) = re.findall(r"^On validation the model never says rare \((\d+) samples?\)\.", out, re.MULTILINE)
    record = Record.of(json.loads(Path("m/record.json").read_text()), Path("m"))
    assert record.never == {"rare": int(count)}
    samples = f"{count} sample{'s' * (count != '1')}"
    told = f"On validation the model never says rare ({samples}). More epochs may help (--epochs)"
    equal = ", and classes shown equally often (-o train.sampler=balanced)."
    assert f"{told}{equal}" in " ".join(out.split())
    assert f"- {told}" in Path("m/README.md").read_text()
    balanced = dataclasses.replace(record, run={**record.run, "training": {"sampler": "balanced"}})
    assert f"{told}." in notes(balanced)
    assert [one for one in notes(record) if one not in notes(dataclasses.replace(record, never={}))] == [
        f"{told}{equal}"
    ]


def test_json_has_the_folder_and_the_record(train):
    code, out, _ = train(*SMALL, "--out", "m", "--json")
    assert code == 0
    assert json.loads(out)["folder"] == "m"
    assert json.loads(out)["record"]["fusion"] == "concat"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--fusion", "concat", "--fusion", "sum"],
            2,
            "one model has one fusion; got concat, sum: mmkit bench compares",
        ),
        (["--fusion", "concat,sum"], 2, "got several of a kind (fusion: concat, sum): mmkit bench compares them"),
        (["--head", "linear", "--head", "mlp"], 2, "one model has one head; got linear, mlp"),
        (["--encoder", "left=fcn", "--encoder", "left=tcn"], 2, "encoder of left: fcn, tcn"),
        (["--fusion", "only:up"], 2, "only:up: the task has no input up; Possible: left, right"),
        (["--fusion", "atention"], 2, "did you mean attention?"),
        (["--checkpoint-minutes", "0"], 2, "minutes between checkpoints are more than 0; got 0"),
        (["--checkpoint-epochs", "0"], 2, "epochs between checkpoints are 1 or more; got 0"),
        (["--ema", "1.0"], 2, "ema"),
        (["--seed", "-1"], 2, "the seed of a run is 0 or more; got -1"),
        (["--target", "y"], 2, "--target says something of --data"),
        (["--config", "nowhere.toml"], 2, "cannot read --config nowhere.toml"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(train, tmp_path, arguments, code, message):
    found, out, err = train(*TASK, *arguments, "--out", "m")
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert line.startswith("mmkit: error: ")
    assert message in line
    assert not (tmp_path / "m").exists()


def test_a_folder_is_needed(train):
    code, _, err = train(*SMALL)
    assert code == 2
    assert "Missing option '--out'" in err


def test_options_come_from_a_file(train, tmp_path):
    (tmp_path / "t.toml").write_text(
        "task = 'synthetic-unique:train=48'\nfusion = 'sum'\nseed = 3\ncheckpoint_minutes = 2\nlicence = 'MIT'\n"
        "[train]\nepochs = 1\nlr = 0.002\nema = 0.9\n"
    )
    assert train("--config", "t.toml", "--out", "m")[0] == 0
    record = json.loads((tmp_path / "m" / "record.json").read_text())
    assert (record["fusion"], record["seed"], record["run"]["training"]["ema"]) == ("sum", 3, 0.9)
    assert "## Licence\n\nMIT" in (tmp_path / "m" / "README.md").read_text()


def test_a_rate_at_which_training_diverges_is_one_error(train):
    code, _, err = train(*TASK, "--fusion", "concat", "--epochs", 1, "--lr", "1e30", "--out", "m")
    assert code == 1
    assert "mmkit: error: " in err.splitlines()[-1]
    assert "Traceback" not in err


def test_event_files_are_written(train, tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    code, _, err = train(*TASK, "--fusion", "concat", "--epochs", 3, "--lr", 0.002, "--tensorboard", "--out", "m")
    assert code == 0, err
    events = loading.EventAccumulator(str(tmp_path / "m" / "tensorboard" / "model" / "training"))
    events.Reload()
    record = json.loads((tmp_path / "m" / "record.json").read_text())
    for tag, name in (("loss/train", "loss"), ("validation/accuracy", "accuracy")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == [(entry["epoch"], pytest.approx(entry[name], rel=1e-6)) for entry in record["history"]]
    rates = [event.value for event in events.Scalars("learning rate")]
    assert rates == sorted(rates, reverse=True)


def test_without_tensorboard_the_error_says_what_to_install(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, out, err = train(*SMALL, "--tensorboard", "--out", "m")
    assert (code, out) == (3, "")
    assert "pip install 'mmkit-core[tensorboard]'" in err


@pytest.mark.full
@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_the_training_and_says_how_to_go_on(tmp_path, number):
    command = [sys.executable, "-m", "mmkit", "train", *TASK, "--fusion", "concat", "--lr", "0.002", "--out", "m"]
    command += ["--epochs", "5000", "-o", "train.patience=none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("m/checkpoint/*.safetensors")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-2:] == [
        "mmkit: the training is kept in m/checkpoint; the same command goes on there",
        "mmkit: interrupted",
    ]
    assert "Traceback" not in err
