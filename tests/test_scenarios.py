"""The examples in benchmarks/scenarios run as they stand, and say what their page shows."""

import ast
import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.minutes

FOLDER = Path(__file__).parent.parent / "benchmarks" / "scenarios"
PAGE = (FOLDER / "README.md").read_text("utf-8")
SECTION = re.compile(r"^### \[(\w+\.py)\]\(\1\)\n\n(.*?)\n\n```text\n(.*?)```$", re.MULTILINE | re.DOTALL)
SHOWN = {name: (text, output) for name, text, output in SECTION.findall(PAGE)}
SLOW = {"compare_fusions.py", "own_fusion.py", "own_task.py"}


def masked(output):
    """The output without what differs from machine to machine: figures, and which of several is best by chance."""
    output = re.sub(r"(best on validation: )\S+", r"\1*", output)
    return re.sub(r"-?\d+(\.\d+)?", "#", output)


def figures(output, line):
    """The figures of the line that begins so."""
    (found,) = re.findall(rf"^{re.escape(line)} .*$", output, re.MULTILINE)
    return [float(figure) for figure in re.findall(r"\d+\.?\d*", found.removeprefix(line))]


# What the page is there to show, whatever the figures.
CLAIMS = {
    "compare_fusions.py": lambda out: figures(out, "attention")[0] > figures(out, "only:spoken")[0],
    "own_task.py": lambda out: figures(out, "product")[0] > 0.9 > figures(out, "only:vibration")[0],
    "missing_input.py": lambda out: (
        figures(out, "both")[0] > figures(out, "written alone")[0] > 0.7 > figures(out, "neither")[0]
    ),
    "frozen_cache.py": lambda out: figures(out, "runs/first:")[1] > 6 * figures(out, "runs/second:")[1],
    "retrieve_and_name.py": lambda out: all(
        figures(out, f"{way}: recall at 10")[0] > 1.5 * figures(out, f"{way}: recall at 10")[1]
        for way in ("image -> title", "title -> image")
    ),
    "resume.py": lambda out: out.count("2 of 4 runs are already in runs/resumed and are not repeated") == 1,
    "own_fusion.py": lambda out: (
        figures(out, "__main__.PairwiseFusion:width=32")[0] > 0.9 > figures(out, "concat:width=32")[0]
    ),
}


def test_every_scenario_has_its_section_and_its_claim():
    scripts = {file.name for file in FOLDER.glob("[!_]*.py")}
    assert scripts == set(SHOWN) == set(CLAIMS)
    for name, (text, _) in SHOWN.items():
        assert text == ast.get_docstring(ast.parse((FOLDER / name).read_text("utf-8")))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name in SLOW else ()) for name in sorted(SHOWN)]
)
def test_it_runs_and_says_what_the_page_shows(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    output = capsys.readouterr().out
    assert masked(output) == masked(SHOWN[name][1])
    for out in (output, SHOWN[name][1]):
        assert CLAIMS[name](out), out
