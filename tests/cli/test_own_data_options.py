"""Options of own data, which every command takes by one decorator."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from mmkit.cli.configuration import merged
from mmkit.cli.own_data import COMPARED, OPTIONS, OwnDataOptions, takes_own_data
from mmkit.errors import UsageError
from mmkit.registry.catalog import installed

seen: list[OwnDataOptions] = []
EVERYWHERE = [name for name in OPTIONS if name not in COMPARED]


@takes_own_data(before="last")
def command(
    ctx: typer.Context,
    first: Annotated[str, typer.Option()] = "a",
    *,
    own: OwnDataOptions,
    last: Annotated[str, typer.Option()] = "z",
) -> None:
    """Do nothing."""
    assert ctx.command is not None
    assert (first, last) == ("a", "z")
    seen.append(own)


def run(*arguments: str) -> str:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_command_gets_what_is_given() -> None:
    run("--data", "a.csv", "--target", "y", "--column", "zip=category", "--column", "x=ignore", "--split-seed", "3")
    options = seen.pop()
    assert list(options.given) == EVERYWHERE
    assert options.options() == {
        "data": "a.csv",
        "target": "y",
        "split_seed": 3,
        "columns": {"zip": "category", "x": "ignore"},
    }


def test_the_options_stand_where_the_command_says() -> None:
    page = run("--help")
    places = [page.index(f"\n  --{name.replace('_', '-')} ") for name in ("first", *EVERYWHERE, "last")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["bench", "retrieve", "zero_shot"])
def test_each_command_with_samples_takes_them(name: str) -> None:
    called = getattr(importlib.import_module(f"mmkit.cli.{name}"), name)
    parameters = called.__signature__.parameters
    assert set(EVERYWHERE) <= parameters.keys()
    assert ("folds" in parameters) == (name == "bench")
    assert "own" not in parameters


def test_the_same_after_a_configuration_file() -> None:
    options = OwnDataOptions(dict.fromkeys(OPTIONS))
    assert options.among({**dict.fromkeys(OPTIONS), "data": "b.csv", "seeds": 3}).options() == {"data": "b.csv"}


@pytest.mark.parametrize(
    ("written", "asked", "task"),
    [
        ('task = "clipart"', {"data": "b.csv"}, "own-data"),
        ('data = "a.csv"\ntarget = "y"\ncolumn = "x=text"\nfolds = 3', {"task": "digits"}, "digits"),
        ('data = "a.csv"\ntarget = "y"', {"data": "b.csv"}, "own-data"),
    ],
)
def test_what_is_asked_for_takes_the_place_of_what_a_file_says(
    tmp_path: Path, written: str, asked: dict[str, str], task: str
) -> None:
    (tmp_path / "c.toml").write_text(written)
    chosen = merged(tmp_path / "c.toml", {"task": None, **dict.fromkeys(OPTIONS), **asked}, {})
    found = OwnDataOptions(dict.fromkeys(OPTIONS)).among(chosen).task(installed(), chosen["task"])
    assert (found if isinstance(found, str) else found and found.name) == task
    assert chosen["data"] == asked.get("data")


def test_own_data_is_no_second_task() -> None:
    options = OwnDataOptions({**dict.fromkeys(OPTIONS), "data": "b.csv"})
    with pytest.raises(UsageError, match=r"--task digits and --data b\.csv are two tasks; give one of them"):
        options.task(installed(), "digits")


def test_an_option_of_data_asks_for_data() -> None:
    options = OwnDataOptions({**dict.fromkeys(OPTIONS), "target_kind": "classes"})
    with pytest.raises(UsageError, match="--target-kind says something of --data, which is not given"):
        options.task(installed(), None)
