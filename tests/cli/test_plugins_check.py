"""`mmkit plugins check` of distributions in which something is broken, and of folders that are not installed."""

import itertools
import json
import re
import sys

import pytest

from mmkit.cli import main

_numbers = itertools.count()

MODALITY = '''
import torch
from mmkit.errors import DataError

class Level:
    """One number."""

    def decode(self, raw):
        if not isinstance(raw, float):
            raise DataError(f"a level is a float; got {type(raw).__name__}")
        return raw

    def example(self, generator):
        return float(torch.rand((), generator=generator))
'''

HOOKS = """
from mmkit.plugin import EncoderSpec, FusionSpec, ModalitySpec, hookimpl

@hookimpl
def mmkit_modalities():
    yield ModalitySpec("level", "THIS.level:Level", "One number")
    yield ModalitySpec("LEVEL", "THIS.level:Level", "A bad name")
    yield ModalitySpec("reference", "THIS.level.Level", "A bad reference")
    yield ModalitySpec("nowhere", "THIS.nowhere:Level", "A module that is missing")
    yield ModalitySpec("nothing", "THIS.level:Depth", "A class that is missing")
    yield ModalitySpec("raises", "THIS.raises:Level", "A module that cannot be imported")
    yield ModalitySpec("leaves", "THIS.leaves:Level", "A module that ends the process")
    yield "level"
    yield ModalitySpec("last", "THIS.level:Level", "After all of these")

@hookimpl
def mmkit_encoders():
    yield EncoderSpec("smells", "THIS.level:Level", "Of a modality that nobody has", modality="smell")

@hookimpl
def mmkit_fusions():
    raise RuntimeError("no fusion today")
"""

PYPROJECT = """
[project]
name = "{name}"
version = "0.3"
dependencies = ["mmkit-core"]

[project.entry-points."mmkit.v1"]
acme = "{module}.plugin"
"""


@pytest.fixture
def check(capsys):
    """Runs `mmkit plugins check`: (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["plugins", "check", *map(str, arguments)])
        return left.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a distribution's folder, which nobody installs; returns it with the name of its package."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(hooks=HOOKS, *, source="src", pyproject=PYPROJECT):
        module = f"folded_{next(_numbers)}"
        home = tmp_path / "acme-level"
        package = home / source / module
        package.mkdir(parents=True)
        (home / "pyproject.toml").write_text(pyproject.format(name="acme-level", module=module))
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(hooks.replace("THIS", module))
        (package / "level.py").write_text(MODALITY)
        (package / "raises.py").write_text("\n\nraise ValueError('not today')")
        (package / "leaves.py").write_text("import sys\nsys.exit(7)")
        return home, module

    yield write
    for module in [name for name in sys.modules if name.startswith("folded_")]:
        del sys.modules[module]


def test_each_that_is_broken_is_told_with_its_place_and_costs_no_other(check, folder):
    home, module = folder()
    code, out, err = check(home, "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (1, False)
    found = {each["full_name"]: each for each in document["components"]}
    assert {each["distribution"] for each in found.values()} == {"acme-level"}
    assert [name for name, each in found.items() if each["ok"]] == ["acme-level/last", "acme-level/level"]
    expected = {
        "LEVEL": "gives the name 'LEVEL'",
        "reference": f"refers to '{module}.level.Level', not to package.module:Attribute",
        "nowhere": f"there is no module {module}.nowhere",
        "nothing": "which is not a class but None",
        "raises": "cannot be imported: ValueError: not today",
        "leaves": "cannot be imported: it calls sys.exit(7)",
        "mmkit_modalities[7]": "gives 'level', not a ModalitySpec",
        "smells": "there is no modality smell",
        "mmkit_fusions": "mmkit_fusions: RuntimeError: no fusion today",
    }
    broken = {name.partition("/")[2]: each for name, each in found.items() if not each["ok"]}
    assert set(broken) == set(expected)
    for name, reason in expected.items():
        assert reason in broken[name]["reason"], name
        assert re.search(rf"/src/{module}/\w+\.py:\d+\)", broken[name]["reason"]), name
    assert "/raises.py:3)" in broken["raises"]["reason"]
    source = (home / "src" / module / "plugin.py").read_text().splitlines()
    place = int(broken["nowhere"]["place"].rpartition(":")[2])
    assert '"nowhere"' in source[place - 1]
    assert "mmkit: modality acme-level/LEVEL is broken and left out: " in err


def test_an_installed_one_with_a_bad_spec_has_its_others_listed_and_checked(check, distribution, capsys):
    module = distribution("acme", MODALITY + HOOKS.replace("THIS.level:", "THIS:"))
    code, out, _ = check("acme")
    assert code == 1
    assert re.search(r"^modality level: \d+ passed, 1 not applicable$", out, re.MULTILINE)
    assert "11 components: 2 keep the contract, 9 do not" in out
    assert f"{module}.py:" in out
    assert check("level")[0] == 0
    assert check("acme/last")[0] == 0
    code, out, _ = check("nowhere")
    assert code == 1
    assert "there is no module" in out
    code, out, _ = check("LEVEL")
    assert (code, out.startswith("modality acme/LEVEL: broken: ")) == (1, True)
    with pytest.raises(SystemExit):
        main(["list-plugins", "--kind", "modality"])
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    status = {row[1]: row[2] for row in rows if row[3] == "acme"}
    assert (status["level"], status["LEVEL"], status["reference"]) == ("ok", "broken", "broken")


def test_a_failed_check_names_the_class_and_its_place(check, folder):
    home, module = folder(
        "from mmkit.plugin import ModalitySpec, hookimpl\n@hookimpl\ndef mmkit_modalities():\n"
        '    yield ModalitySpec("level", "THIS.plugin:Level", "Takes everything")\n'
        "class Level:\n    def decode(self, raw):\n        return raw\n"
        "    def example(self, generator):\n        return 1 / 0\n"
    )
    code, out, _ = check(home)
    assert code == 1
    assert "raised ZeroDivisionError: division by zero" in out
    assert out.rstrip().endswith(f"{module}/plugin.py:5")


@pytest.mark.parametrize(("raised", "said"), [("sys.exit(7)", "it calls sys.exit(7)"), ("1 / 0", "ZeroDivisionError")])
def test_what_is_raised_where_the_kit_sets_a_component_up_costs_no_other(check, folder, raised, said):
    home, module = folder(
        "import sys\nfrom mmkit.plugin import EncoderSpec, ModalitySpec, hookimpl\n@hookimpl\n"
        "def mmkit_modalities():\n"
        '    yield ModalitySpec("quits", "THIS.plugin:Quits", "Cannot be built")\n'
        '    yield ModalitySpec("level", "THIS.level:Level", "One number")\n'
        "@hookimpl\ndef mmkit_encoders():\n"
        '    yield EncoderSpec("sniff", "THIS.plugin:Sniff", "Reads it", modality="quits")\n'
        f"class Quits:\n    def __init__(self):\n        {raised}\n"
        "class Sniff:\n    reads = Quits\n    def __init__(self, transform):\n        pass\n"
    )
    code, out, _ = check(home)
    assert code == 1
    assert re.search(
        rf"^encoder acme-level/sniff: {re.escape(said)}.* \(.*/{module}/plugin.py:12\)$", out, re.MULTILINE
    )
    assert "modality level: 10 passed" in out
    assert "3 components: 1 keep the contract, 2 do not" in out


def test_what_the_kit_has_no_examples_for_is_counted_apart_and_fails_nothing(check, folder):
    home, _ = folder(
        "from mmkit.plugin import HeadSpec, ModalitySpec, hookimpl\n@hookimpl\ndef mmkit_modalities():\n"
        '    yield ModalitySpec("level", "THIS.level:Level", "One number")\n'
        "@hookimpl\ndef mmkit_heads():\n"
        '    yield HeadSpec("ranks", "THIS.plugin:Ranks", "Of a kind of its own", targets=("ranking",))\n'
        "class Ranks:\n    reads = object\n    def __init__(self, width, target, transform):\n        pass\n"
    )
    code, out, _ = check(home)
    assert (code, out.splitlines()[-1]) == (0, "2 components: 1 keep the contract, 0 do not, 1 not examined")
    assert "  not examined: the kit has no examples of its kinds of target" in out
    code, out, _ = check(home, "--kind", "head", "--json")
    document = json.loads(out)
    (found,) = document["components"]
    assert (code, document["ok"], found["ok"], found["examined"]) == (0, True, False, False)


@pytest.mark.parametrize("source", ["src", ".", "python"])
def test_a_folder_is_checked_wherever_its_source_lies(check, folder, source, monkeypatch):
    more = '\n[tool.setuptools.packages.find]\nwhere = ["python"]\n'
    hooks = HOOKS.partition('    yield ModalitySpec("LEVEL"')[0]
    home, _ = folder(hooks, source=source, pyproject=PYPROJECT + more * (source == "python"))
    code, out, err = check(home)
    assert (code, err) == (0, "")
    assert out.startswith("modality level: ")
    monkeypatch.chdir(home)
    assert check(".")[0] == 0
    monkeypatch.chdir(home.parent)
    assert check("acme-level")[:2] == (0, out)  # nothing of that name is installed, so the folder is meant
    assert check("./acme-level", "--kind", "modality")[:2] == (0, out)


def test_a_folder_comes_before_what_is_installed_under_its_name(check, folder, distribution):
    distribution("acme-level", "raise RuntimeError('the installed one')")
    home, _ = folder(HOOKS.partition('    yield ModalitySpec("LEVEL"')[0])
    assert check(home)[0] == 0
    assert check("acme-level")[0] == 3  # by its name it is the installed one


@pytest.mark.parametrize(
    ("pyproject", "said"),
    [
        (None, "holds no pyproject.toml; give the folder of a distribution"),
        ("[project]\nname = 'x'\n", "declares no plugin of mmkit; write the module with the hooks: "),
        ("[project]\n", "gives no name"),
        ("[project\n", "cannot be read: "),
        ("[project]\nname = 'x'\nentry-points = 3\n", "entry-points is a table; got 3"),
        ("[project]\nname = 'x'\n[project.entry-points.'mmkit.v1']\nx = 'gone.plugin'\n", "there is no gone in "),
        ("[project]\nname = 'x'\n[project.entry-points.'mmkit.v1']\nx = 'json.plugin'\n", "there is no json in "),
    ],
)
def test_a_folder_that_is_no_plugin_is_said(check, folder, pyproject, said):
    home, _ = folder()
    if pyproject is None:
        (home / "pyproject.toml").unlink()
    else:
        (home / "pyproject.toml").write_text(pyproject)
    code, out, err = check(home)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_an_empty_name_is_none(check):
    code, out, err = check("", "--kind", "modality")  # as of a variable that is not set
    assert (code, out) == (2, "")
    assert "name one component, distribution or folder, or say --all" in err


def test_a_folder_that_is_not_there_is_said(check, tmp_path):
    code, _, err = check(tmp_path / "nowhere")
    assert code == 2
    assert "there is no folder" in err
    code, _, err = check("~nobody-of-that-name/acme")
    assert code == 2
    assert "~nobody-of-that-name/acme: there is no such home folder" in err


def test_a_package_that_is_already_imported_from_elsewhere_is_said(check, folder):
    home, module = folder()
    (home / "src" / module).rename(home / "src" / "pluggy")
    (home / "pyproject.toml").write_text(PYPROJECT.format(name="x", module="pluggy"))
    assert "pluggy is already imported from " in check(home)[2]


def test_a_folder_for_another_interface_is_said(check, folder):
    home, _ = folder(pyproject=PYPROJECT.replace("mmkit.v1", "mmkit.v2"))
    code, _, err = check(home)
    assert code == 3
    assert "registers for mmkit.v2, and this mmkit reads mmkit.v1" in err
