"""The job for continuous integration that a page shows: YAML whose commands are taken by the command line."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

import mmkit.cli

PAGE = Path(__file__).parents[2] / "mmkit" / "records" / "README.md"


@pytest.fixture(scope="module")
def commands():
    """The commands of mmkit in the only block of YAML of the page."""
    tokens = MarkdownIt("commonmark").parse(PAGE.read_text("utf-8"))
    (text,) = (token.content for token in tokens if token.type == "fence" and token.info == "yaml")
    (job,) = yaml.safe_load(text).values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    return [shlex.split(run)[1:] for run in runs if run.startswith("mmkit ")]


def test_each_command_is_taken_and_the_second_reads_what_the_first_writes(commands):
    group: Any = typer.main.get_command(mmkit.cli._app())
    found = {}
    for words in commands:
        context = group.make_context("mmkit", list(words))
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        found[name] = command.make_context(name, rest, parent=context).params
    assert list(found) == ["bench", "compare"]
    assert found["compare"]["b"] == str(found["bench"]["out"])
    assert len(found["compare"]["fail_if"]) == 2
