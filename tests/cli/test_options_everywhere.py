"""Every option of a command has its parameter in Python and its key in a configuration file, and the reverse."""

import importlib
import inspect
import json
from typing import Any

import pytest

import mmkit
import mmkit.cli
from mmkit.cli.configuration import merged
from mmkit.errors import UsageError
from mmkit.model.trained import MultimodalModel
from mmkit.sources.about import About

CALLED = {
    "bench": {
        "encoder": "encoders", "objective": "objectives", "option": "options", "column": "columns",
        "with_samples": "samples", "profile_of": "profile",
    },
    "train": {"encoder": "encoders", "objective": "objectives", "option": "options", "column": "columns"},
    "retrieve": {"encoder": "encoders", "column": "columns", "map_": "map"},
    "zero-shot": {
        "input_": "input", "template": "templates", "class_": "classes", "column": "columns", "map_": "map",
    },
    "data inspect": {"column": "columns"},
    "predict": {},
}  # fmt: skip
"""What Python calls an option by another name."""

PYTHON = {
    "bench": mmkit.bench,
    "train": mmkit.fit,
    "retrieve": mmkit.retrieve,
    "zero-shot": mmkit.zero_shot,
    "data inspect": mmkit.inspect,
    "predict": mmkit.predict,
}

OF_TRAINING = {"epochs", "batch_size", "lr", "calibrate", "ema", "compile_", "private"}
"""Options that stand in `training=`, and in the table `train` of a configuration file."""

OF_THE_TERMINAL = {"ctx", "as_json", "config", "no_cache", "threads", "confusion", "dry_run"}
"""What is of one call at a terminal: how the result is shown, and where options come from. In Python `cache=` names a
folder, and torch has the threads, but where they are a setting of runs."""

OF_PYTHON = {"training", "cache", "catalog", "progress", "self"}
"""What stands for several options, or is an object."""

ALONE = {
    "train": {"search"},  # the command always searches, unless --lr
}


COMPARES = {"bench", "data inspect"}


def options_of(command):
    """The parameters of a command, as typer gives them to its function."""
    entry: Any = mmkit.cli.COMMANDS
    for name in command.split():
        entry = entry[name]
    found = mmkit.cli._loaded(command, entry)
    return {one.name for one in found.params} - {"help"}


def python_of(command):
    parameters = set(inspect.signature(PYTHON[command]).parameters)
    return (parameters - {"about"}) | (set(About.__annotations__) if "about" in parameters else set())


@pytest.mark.parametrize("command", PYTHON)
def test_python_has_them_all_and_no_more(command):
    called = CALLED[command]
    ours = options_of(command) - OF_THE_TERMINAL - ALONE.get(command, set())
    ours |= {"threads"} & options_of(command) if "threads" in python_of(command) else set()
    ours -= OF_TRAINING if "training" in python_of(command) else set()
    theirs = python_of(command) - OF_PYTHON - ALONE.get(command, set())
    if command not in COMPARES:
        theirs.discard("folds")
    assert {called.get(name, name) for name in ours} == theirs


@pytest.mark.parametrize("command", ["bench", "train"])
def test_a_configuration_file_has_them_all_and_no_more(command, monkeypatch, tmp_path):
    found = {}

    def merged(file, given, training):
        found.update(options=set(given), training=set(training))
        raise UsageError("seen")

    module = importlib.import_module(f"mmkit.cli.{command}")
    monkeypatch.setattr(module, "merged", merged)
    with pytest.raises(SystemExit):
        mmkit.cli.main([command, *(["--out", str(tmp_path / "model")] if command == "train" else [])])
    of_one_call = {"mix"} | ({"out"} if command == "train" else set())  # that a folder be mixed is asked for each time
    assert found["options"] == options_of(command) - OF_TRAINING - (OF_THE_TERMINAL - {"threads"}) - of_one_call
    assert found["training"] == {name.rstrip("_") for name in OF_TRAINING & options_of(command)}


@pytest.mark.parametrize("command", ["bench", "train"])
def test_a_configuration_file_takes_what_the_command_takes(command, tmp_path):
    values = {"int": 3, "flo": 0.5, "boo": True}
    file, elsewhere = tmp_path / "mine.toml", OF_TRAINING | OF_THE_TERMINAL - {"threads"} | {"mix"}
    for one in mmkit.cli._loaded(command, mmkit.cli.COMMANDS[command]).params:
        if (value := values.get(one.type.name[:3])) is not None and one.name not in elsewhere:
            file.write_text(f"{one.name} = {json.dumps(value)}\n")
            assert merged(file, {one.name: None}, {}) == {one.name: value, "train": {}}
            file.write_text(f'{one.name} = "3"\n')
            with pytest.raises(UsageError, match=f"--config: {one.name} takes {type(value).__name__}; got '3'"):
                merged(file, {one.name: None}, {})


@pytest.mark.parametrize("name", ["bench", "fit"])
def test_keep_takes_bytes_or_words_in_python(name, monkeypatch, tmp_path):
    import mmkit.api

    seen = []

    def stop(*given, keep, **rest):
        seen.append(keep)
        raise UsageError("seen")

    monkeypatch.setattr(mmkit.api, "carry_out" if name == "bench" else "train", stop)
    for keep in (None, 0, 1000, "2 GB"):
        with pytest.raises(UsageError, match="seen"):
            getattr(mmkit, name)(task="digits", out=tmp_path / "out", keep=keep, progress=False, device="cpu")
    assert seen == [None, 0, 1000, 2 * 10**9]
    for wrong, told in ((-1, "0 or more"), ("much", "as in 20GiB")):
        with pytest.raises(UsageError, match=told):
            getattr(mmkit, name)(task="digits", out=tmp_path / "out", keep=wrong, progress=False, device="cpu")


def test_a_configuration_file_keeps_and_saves(tmp_path, monkeypatch):
    from mmkit.cli import bench

    seen = {}

    def stop(*given, **named):
        seen.update(named)
        raise UsageError("seen")

    monkeypatch.setattr(bench, "carry_out", stop)
    (tmp_path / "mine.toml").write_text('keep = "1GB"\nsave = true\n')
    with pytest.raises(SystemExit):
        mmkit.cli.main(["bench", "--config", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "suite")])
    assert (seen["keep"], seen["save"]) == (10**9, True)


def test_the_answers_of_a_model_are_asked_for_as_those_in_a_file():
    answers = set(inspect.signature(MultimodalModel.answers).parameters) - {"self"}
    assert answers <= set(inspect.signature(mmkit.predict).parameters)
    assert {"include", "on_error", "batch_size", "files", "outside"} <= answers


@pytest.mark.parametrize(
    ("training", "kept"),
    [
        ({}, ["train.epochs=20", "train.rates=[0.1]", "train.lr = 0.2", "fusion.width=8"]),
        ({"epochs": 3}, ["train.rates=[0.1]", "train.lr = 0.2", "fusion.width=8"]),
        ({"lr": 0.5}, ["train.epochs=20", "fusion.width=8"]),
    ],
)
def test_the_command_line_overrides_options_of_the_file(tmp_path, training, kept):
    file = tmp_path / "mine.toml"
    file.write_text('option = ["train.epochs=20", "train.rates=[0.1]", "train.lr = 0.2", "fusion.width=8"]\n')
    assert merged(file, {"option": []}, training) == {"option": kept, "train": training}
    assert merged(file, {"option": ["train.epochs=7"]}, training) == {"option": ["train.epochs=7"], "train": training}
