"""`mmkit plugins new`: what is written works as it is, and what cannot be is said."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mmkit
from mmkit.cli import main
from mmkit.errors import UsageError
from mmkit.registry.catalog import installed
from mmkit.registry.hooks import HOOKS
from mmkit.scaffold.distribution import SKETCHES, TEMPLATES, package_of, rendered, write
from mmkit.testing.battery import KINDS

pytestmark = pytest.mark.minutes

ROOT = Path(mmkit.__file__).parent.parent
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture
def new(capsys, tmp_path, monkeypatch):
    """Runs `mmkit plugins new` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["plugins", "new", *arguments])
        return left.value.code, *capsys.readouterr()

    return run


def commands(readme):
    """The commands of a page, but for pip's."""
    (block,) = SHELL.findall(readme)
    return [shlex.split(line) for line in block.splitlines() if not line.startswith("pip ")]


def test_every_kind_of_component_can_be_begun():
    assert set(SKETCHES) == set(KINDS)
    assert {path.name for path in TEMPLATES.iterdir() if path.is_dir()} == {*KINDS, "package"}


@pytest.mark.parametrize("kind", SKETCHES)
def test_what_is_written_is_whole_and_nothing_is_left_to_fill_in(new, tmp_path, kind):
    code, out, err = new(kind, "soft-vote")
    assert (code, err) == (0, "")
    files = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert out.split("\n\nNext:")[0].splitlines() == sorted(files)
    inside = {path.removeprefix("soft-vote/") for path in files}
    assert {"pyproject.toml", "README.md", "LICENSE", ".gitignore", "tests/test_soft_vote.py"} < inside
    assert {f"src/soft_vote/{file}" for file in ("__init__.py", "plugin.py", "py.typed", f"{kind}.py")} < inside
    for path, text in files.items():
        assert max((len(line) for line in text.splitlines() if line[0:1] != "|"), default=0) <= 120, path
        assert "$" not in text, path
        assert "TODO" not in text, path
    hooks = re.findall(r"def (mmkit_\w+)", files["soft-vote/src/soft_vote/plugin.py"])
    assert {HOOKS[hook].kind for hook in hooks} == set(SKETCHES[kind].parts)
    bench = out.splitlines()[-1].strip()
    assert bench in files["soft-vote/README.md"].splitlines()


@pytest.mark.parametrize("kind", SKETCHES)
def test_what_is_written_is_clean(new, tmp_path, kind):
    new(kind, "soft-vote")
    home = tmp_path / "soft-vote"
    tool = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [*tool, *command, "--no-cache", "--config", ROOT / "pyproject.toml", "."],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory):
    """One for all kinds: the first takes most of the time."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.full
@pytest.mark.parametrize("kind", SKETCHES)
def test_the_types_of_what_is_written_are_right(new, tmp_path, monkeypatch, kind, mypy_cache):
    new(kind, "soft-vote")
    monkeypatch.setenv("MYPYPATH", os.pathsep.join([str(ROOT), str(tmp_path / "soft-vote" / "src")]))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        ROOT / "pyproject.toml",
        "--cache-dir",
        mypy_cache,
    ]
    done = subprocess.run([*command, "src"], cwd=tmp_path / "soft-vote", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


SHORT = ["--seeds", "1", "--epochs", "2", "--lr", ".01", "--limit", "200", "--no-cost"]


@pytest.mark.full
@pytest.mark.parametrize("kind", SKETCHES)
def test_it_is_checked_installed_listed_tested_and_benched_unedited(outside, kind):
    """By the commands of its page, the bench shortened."""
    assert outside.mmkit("plugins", "new", kind, "soft-vote").returncode == 0
    home = outside.folder / "empty" / "soft-vote"

    def ran(command):
        done = outside.run(*command, *(SHORT if "bench" in command else []), cwd=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    check, show, test, bench = commands((home / "README.md").read_text())
    chooses = {"modality": "--task", "balance": "--fusion"}.get(kind, f"--{kind}")
    assert [check, show[:3], test, bench[:3]] == [
        ["mmkit", "plugins", "check", "."],
        ["mmkit", "plugins", "show"],
        ["pytest"],
        ["mmkit", "bench", chooses],
    ]
    ran(check)  # before it is installed
    outside.install_folder(home)
    listed = [line.split("\t") for line in outside.mmkit("plugins", "list", "--plain").stdout.splitlines()]
    own = {row[0]: row for row in listed if row[3] == "soft-vote"}
    assert set(own) == set(SKETCHES[kind].parts)
    assert {row[2] for row in own.values()} == {"ok"}
    ran(show)
    assert re.search(r"\d+ passed", ran(test))
    ran(bench)
    (records,) = home.glob("mmkit-runs/*/records.jsonl")
    assert "soft-vote" in records.read_text()


@pytest.mark.parametrize("kind", SKETCHES)
def test_a_name_that_is_taken_is_said_and_the_full_name_stands_in_commands_and_tests(new, tmp_path, monkeypatch, kind):
    name = installed().available(kind)[0].name
    monkeypatch.setattr("mmkit.scaffold.distribution.package_of", lambda name: "another_package")
    code, _, err = new(kind, name, "--out", "here")
    assert code == 0
    assert err == f"mmkit: mmkit-core has a {kind} {name}, too; yours is chosen as {name}/{name}\n"
    for path in ("README.md", "tests/test_another_package.py"):
        assert f"{name}/{name}" in (tmp_path / "here" / path).read_text()
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as left:
        main(["plugins", "check", "./here"])
    assert left.value.code == 0
    for module in [module for module in sys.modules if module.startswith("another_package")]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Soft", "lower-case words of letters and digits joined by hyphens; got 'Soft'"),
        ("soft_vote", "got 'soft_vote'"),
        ("../soft", "got '../soft'"),
        ("", "got ''"),
        ("only", "only has a meaning of its own where components are chosen; take another name, such as my-only"),
        ("class", "class is a word of the language Python; take another name, such as my-class"),
        ("3d", "cannot be called 3d, for its first character"),
        ("random", "random is a module of Python's own library"),
        ("torch", "a package torch is installed, and one would hide the other"),
    ],
)
def test_a_name_that_cannot_be_is_said(name, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        package_of(name)


def test_wrong_usage_is_one_line_and_writes_nothing(new, tmp_path):
    code, out, err = new("fusions", "soft-vote")
    assert (code, out) == (2, "")
    assert err.startswith(
        "mmkit: error: there is no kind of component fusions; did you mean fusion? Possible: balance, encoder,"
    )
    assert new("fusion", "Soft")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(new, tmp_path):
    (tmp_path / "soft-vote").mkdir()
    (tmp_path / "soft-vote" / "notes.txt").write_text("mine")
    code, out, err = new("fusion", "soft-vote")
    assert (code, out) == (2, "")
    assert err == "mmkit: error: soft-vote is not empty; name another folder with --out DIR\n"
    assert [path.name for path in (tmp_path / "soft-vote").iterdir()] == ["notes.txt"]
    (tmp_path / "file").touch()
    assert "file is a file; name another" in new("fusion", "soft-vote", "--out", "file")[2]
    (tmp_path / "empty").mkdir()
    assert new("fusion", "soft-vote", "--out", "empty")[0] == 0
    assert "pip install -e './a folder/x'" in new("fusion", "soft-vote", "--out", "a folder/x")[1]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        write({"a": ""}, tmp_path / "file" / "within")


def test_classes_are_called_by_the_name_without_its_kind():
    files = rendered("fusion", "soft-vote-fusion", installed())
    assert "class SoftVoteFusion(" in files["src/soft_vote_fusion/fusion.py"]
    assert "class FusionFusion(" in rendered("fusion", "fusion", installed())["src/fusion/fusion.py"]
