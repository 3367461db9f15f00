"""What README.md says is run, or is what the command line says."""

import re
import shlex
from pathlib import Path

import pytest

import mmkit
import mmkit.cli

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^(mmkit (?:bench|list-plugins|plugins) ?.*?)(?: +#.*)?$", README, re.MULTILINE)


def test_the_commands_were_found():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if not {"scored", "acme", "FILE"} & set(re.findall(r"\w+", c))]
)
def test_each_command_is_taken(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(command)[1:]
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main(
            [*arguments, "--dry-run"] if arguments[0] == "bench" and "--dry-run" not in arguments else arguments
        )
    assert end.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.full
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(import mmkit\n.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.count("attention") == 2
    assert out.count("late") == 2
    assert "'7'" in out
    assert (tmp_path / "runs" / "two-fusions" / "records.jsonl").exists()


def test_exit_codes_are_those_of_the_errors():
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    errors: list[type[mmkit.MmkitError]] = [mmkit.MmkitError, *mmkit.MmkitError.__subclasses__()]
    assert {error.exit_code for error in errors} <= table


def test_every_task_of_the_table_is_installed():
    named = set(re.findall(r"^\| `([a-z-]+)`", README, re.MULTILINE))
    assert named == {e.name for e in mmkit.installed().available("task") if not e.name.startswith("synthetic")}
