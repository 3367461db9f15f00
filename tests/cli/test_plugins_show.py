"""`mmkit plugins show`."""

import json

import pytest

from mmkit.cli import main

PLUGIN = '''
from typing import Annotated, Literal
import annotated_types
from mmkit.plugin import FusionSpec, TaskSpec, hookimpl

class Fusion:
    """Braids.

    Args:
        strands: how many
            there are.
        style: which.
    """

    def __init__(self, widths, *, strands: Annotated[int, annotated_types.Gt(2)] = 3,
                 style: Literal["french", "dutch"] = "dutch", ends: float | None = None) -> None:
        pass

class Task:
    description = "Asks   much."

    def __init__(self) -> None:
        pass

@hookimpl
def mmkit_fusions():
    yield FusionSpec("braid", "THIS:Fusion", "All inputs in turn", min_inputs=2, max_inputs=3, paper="Braid, 1999, https://x.y",
                     requires=("numpy>=1",), formula="y = x_1, x_2, ...", avoids="others braid from the wrong end")
    yield FusionSpec("lost", "THIS:Nowhere", "Is not there")
    yield FusionSpec("concat", "THIS:Fusion", "A rival")

@hookimpl
def mmkit_tasks():
    yield TaskSpec("braid", "THIS:Task", "A task", modalities=(("a", "text"), ("b", "image")), target="classes",
                   licence="CC0")
'''


@pytest.fixture
def show(capsys):
    """Runs `mmkit plugins show`: (exit code, lines of stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["plugins", "show", *arguments])
        out, err = capsys.readouterr()
        return left.value.code, [line.strip() for line in out.splitlines()], err

    return run


def test_a_component_in_detail(show, distribution):
    module = distribution("acme", PLUGIN, version="0.4", requires=["mmkit-core", "rich>=1; extra == 'x'"])
    code, lines, err = show("braid", "--kind", "fusion")
    assert (code, err) == (0, "")
    assert lines[:7] == [
        "fusion braid",
        "All inputs in turn",
        "status     ok",
        "full name  acme/braid",
        "from       acme 0.4",
        f"reference  {module}:Fusion",
        "takes      the features of 2 to 3 inputs",
    ]
    assert "paper      Braid, 1999, https://x.y" in lines
    assert "formula    y = x_1, x_2, ..." in lines
    assert "avoids     others braid from the wrong end" in lines
    options = lines[lines.index("options    name, type, default, help") + 1 :]
    assert options[:3] == [
        "strands  int > 2          3      how many there are.",
        "style    french or dutch  dutch  which.",
        "ends     float or none    none",
    ]
    (requires,) = [line for line in lines if line.startswith("requires")]
    assert requires.startswith("requires   mmkit-core (")
    assert "numpy>=1 (" in requires
    assert "rich" not in requires


def test_a_name_of_several_kinds_shows_each(show, distribution):
    distribution("acme", PLUGIN)
    _, lines, _ = show("braid")
    assert [line for line in lines if line in {"task braid", "fusion braid"}] == ["task braid", "fusion braid"]
    assert "has        inputs a (text), b (image); target classes" in lines
    assert {"licence    CC0", "about      Asks much.", "options    none"} <= set(lines)


def test_the_bare_name_is_mmkits_and_the_full_name_the_plugins(show, distribution):
    distribution("acme", PLUGIN)
    assert "from       acme 1.0" not in show("concat")[1]
    _, lines, _ = show("acme/concat")
    assert "status     shadowed: concat is mmkit's own; write acme/concat" in lines
    assert any(line.startswith("strands") for line in lines)


def test_options_of_an_encoder_are_its_transforms_too(show):
    code, lines, _ = show("fcn")
    assert code == 0
    assert "takes      an input of modality series" in lines
    names = {line.split()[0] for line in lines[lines.index("options    name, type, default, help") + 1 :]}
    assert {"width", "kernel", "standardize"} <= names


def test_a_component_that_cannot_be_loaded_is_shown_with_an_error(show, distribution):
    module = distribution("acme", PLUGIN)
    code, lines, err = show("lost")
    assert code == 1
    assert "Is not there" in lines
    assert err.startswith(
        f"mmkit: error: fusion lost of acme 1.0 refers to {module}:Nowhere, which is not a class but N"
    )
    assert f"{module}.py:" in err


def test_a_broken_plugin_and_its_traceback(show, distribution):
    module = distribution("acme", "def inner():\n    raise RuntimeError('boom')\ninner()")
    code, lines, err = show("acme")
    assert code == 0
    assert err == f"mmkit: plugin acme is broken and left out: RuntimeError: boom ({distribution.site / module}.py:2)\n"
    assert "status     broken: RuntimeError: boom" in lines
    assert f"place      {distribution.site / module}.py:2" in lines
    assert "--traceback shows where it comes from" in lines
    assert "Traceback (most recent call last):" not in lines
    code, lines, _ = show("acme", "--traceback")
    assert code == 0
    assert "Traceback (most recent call last):" in lines
    assert any(f"{module}.py" in line for line in lines)


def test_a_distribution_and_its_components(show, distribution):
    distribution("acme-x", PLUGIN)
    code, lines, _ = show("acme_x")
    assert code == 0
    assert lines[0] == "acme-x 1.0"
    assert "fusion     lost    ok  Is not there" in lines
    assert "fusion     concat  shadowed  A rival  concat is mmkit's own; write acme-x/concat" in lines


def test_an_unsatisfied_requirement_is_shown(show, distribution):
    distribution("acme", PLUGIN, requires=["numpy>=99"])
    code, lines, _ = show("braid", "--kind", "fusion")
    assert code == 0
    assert any(line.startswith("status     missing-deps: needs numpy>=99 (") for line in lines)
    assert any(line.startswith("requires") and ", does not satisfy it)" in line for line in lines)


def test_json(show, distribution):
    distribution("acme", PLUGIN)
    code, lines, _ = show("braid", "--kind", "fusion", "--json")
    (entry,) = json.loads("\n".join(lines))["plugins"]
    assert (code, entry["min_inputs"], entry["max_inputs"], entry["paper"]) == (0, 2, 3, "Braid, 1999, https://x.y")
    assert (entry["formula"], entry["avoids"]) == ("y = x_1, x_2, ...", "others braid from the wrong end")
    assert entry["options"][0] == {"name": "strands", "type": "int > 2", "default": 3, "help": "how many there are."}
    assert entry["requirements"][0]["requirement"] == "numpy>=1"
    assert entry["requirements"][0]["met"] is True


def test_the_error_of_an_unknown_name_suggests_one(show):
    code, lines, err = show("atention")
    assert (code, lines) == (2, [])
    assert err.startswith("mmkit: error: there is no component or plugin atention; did you mean attention?")
    other = show("xyzzy", "--kind", "head")[2]  # like no head, whichever are installed
    assert other.startswith("mmkit: error: there is no head xyzzy; Possible: ")
    assert "linear" in other


def test_the_error_of_an_unknown_kind_suggests_one(show):
    code, lines, err = show("attention", "--kind", "fusoin")
    assert (code, lines) == (2, [])
    assert err.startswith("mmkit: error: unknown --kind fusoin; did you mean fusion? Possible: ")
    assert "target" in err
