"""What README.md says is run, or is what mmkit says; its commands and links are tested with those of all pages."""

import re
from pathlib import Path

import pytest

import mmkit

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.full
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    """With few samples, and few steps."""
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(import mmkit\nfrom mmkit.tasks.*?)```", README, re.DOTALL)
    short = 'task="digits", limit=200, training={"epochs": 2, "min_steps": 0}'
    assert example.count('task="digits"') == 2
    exec(compile(example.replace('task="digits"', short), "README.md", "exec"), {})
    out = capsys.readouterr().out
    runs = [line.split()[:2] for line in out.splitlines() if not line.startswith("<Verdict")]
    assert sorted(runs[:4]) == [["attention", "search"]] * 2 + [["late", "search"]] * 2  # a race of two rounds
    assert {name for name, phase in runs[4:10] if phase == "confirm"} > {"only:spoken", "only:written"}
    assert out.count("<Verdict: On test, ") == 1
    assert "'7'" in out
    assert (tmp_path / "runs" / "two-fusions" / "records.jsonl").exists()


def test_exit_codes_are_those_of_the_errors():
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    errors: list[type[mmkit.MmkitError]] = [mmkit.MmkitError, *mmkit.MmkitError.__subclasses__()]
    assert {error.exit_code for error in errors} <= table


def test_every_task_of_the_table_is_installed():
    named = set(re.findall(r"^\| `([a-z-]+)`", README, re.MULTILINE))
    assert named == {e.name for e in mmkit.installed().available("task") if not e.name.startswith("synthetic")}
