"""The short check: which tests belong to what was changed, and that nothing is left out unsaid."""

import subprocess

import pytest

from mmkit.registry.catalog import BUILTIN, installed


@pytest.fixture(scope="module")
def changed(repository):
    return repository.script("changed")


@pytest.fixture(scope="module")
def exists(repository):
    return lambda path: (repository.root / path).exists()


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("mmkit/data/splits.py", ["tests/data", "HOUSE"]),  # no test_splits.py: the whole folder
        ("mmkit/data/loader.py", ["tests/data/test_loader.py", "HOUSE"]),
        ("mmkit/fusions/vectors/gated.py", ["tests/fusions/vectors/test_gated.py", "HOUSE"]),
        ("mmkit/fusions/tokens/attention.py", ["tests/fusions/tokens", "HOUSE"]),
        (
            "mmkit/registry/builtin/fusion_specs/vectors.py",
            ["tests/registry", "HOUSE"],
        ),  # no folder of that name: the one above
        ("mmkit/api.py", ["tests/experiments/test_suite.py", "tests/alignment", "HOUSE"]),
        ("mmkit/gone/away.py", ["HOUSE"]),
        ("plugins/mmkit-timm/src/mmkit_timm/encoder.py", ["plugins/mmkit-timm/tests"]),
        ("plugins/mmkit-timm/README.md", ["plugins/mmkit-timm/tests", "tests/pages"]),
        ("tests/data/test_loader.py", ["tests/data/test_loader.py"]),
        ("tests/data/test_gone.py", []),
        ("tests/fusions/conftest.py", ["tests/fusions"]),
        ("README.md", ["tests/pages"]),
        (".ci/changed.py", ["tests/pages"]),
        (".pre-commit-config.yaml", ["tests/pages"]),
        ("LICENSE", []),
        ("benchmarks/no_test_yet.py", []),
    ],
)
def test_the_tests_of_a_file(changed, exists, file, tests):
    house = [changed.HOUSE, changed.QUOTED]
    expected = [path for each in tests for path in (house if each == "HOUSE" else [each])]
    assert changed.tests_of(file, exists) == expected


def test_every_file_of_the_package_has_tests_beyond_those_of_the_house(changed, exists, repository):
    files = [path for path in repository.files if path.startswith("mmkit/") and path.endswith(".py")]
    house = {changed.HOUSE, changed.QUOTED}
    assert [file for file in files if not set(changed.tests_of(file, exists)) - house] == []
    assert {path.stem for path in (repository.root / "mmkit").glob("*.py")} == set(changed.TOP)
    assert [path for paths in changed.TOP.values() for path in paths if not exists(path)] == []


def test_a_folder_stands_for_its_files_and_components_meet_the_kit(changed, exists):
    files = ["mmkit/fusions/vectors/gated.py", "tests/fusions/conftest.py", "mmkit/heads/mlp.py", "LICENSE"]
    names = {"mmkit/fusions/vectors/gated.py": ["fusion-gated"], "mmkit/heads/mlp.py": ["head-a", "head-b"]}
    first, second = changed.calls(files, names, exists)
    assert first == ["tests/fusions", "tests/heads", changed.QUOTED, changed.HOUSE]
    assert second == [changed.CONTRACT, "-k", "fusion-gated- or head-a- or head-b-"]
    assert changed.calls(["LICENSE"], names, exists) == []
    (whole,) = changed.calls(["tests/conftest.py", *files], names, exists)
    assert whole == ["tests"]  # the kit is among them


def test_the_file_of_every_component_is_known(changed, exists):
    known = changed.components()
    for entry in installed().entries:
        if entry.spec is not None and entry.distribution == BUILTIN:
            (file,) = {f for f, names in known.items() if f"{entry.kind}-{entry.name}" in names and exists(f)}
            assert file.startswith("mmkit/")
    assert known["plugins/mmkit-timm/src/mmkit_timm/encoder.py"] == ["encoder-timm"]


@pytest.fixture
def clone(tmp_path):
    """A repository with a main branch, a branch, and something uncommitted."""

    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    for name in ("kept.py", "edited.py", "committed.py", "deleted.py"):
        (tmp_path / name).write_text("before\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "branch")
    (tmp_path / "committed.py").write_text("after\n")
    git("commit", "-am", "second")
    (tmp_path / "edited.py").write_text("after\n")
    (tmp_path / "deleted.py").unlink()
    (tmp_path / "new.py").write_text("new\n")
    (tmp_path / "ignored.py").write_text("new\n")
    return tmp_path


def test_changed_is_what_differs_from_the_base(changed, clone):
    assert changed.changed(None, clone) == ["committed.py", "deleted.py", "edited.py", "new.py"]
    assert changed.changed("main", clone) == changed.changed(None, clone)
    assert changed.changed("HEAD", clone) == ["deleted.py", "edited.py", "new.py"]
    with pytest.raises(ValueError, match="there is no commit nowhere"):
        changed.changed("nowhere", clone)


def test_what_has_no_tests_is_said(changed, monkeypatch, capsys):
    monkeypatch.setattr(changed, "changed", lambda base: ["LICENSE", "mmkit/data/loader.py"])
    assert changed.main([]) == 0
    out, err = capsys.readouterr()
    assert err == "no tests of its own: LICENSE\n"
    assert out.splitlines() == [f"tests/data/test_loader.py {changed.QUOTED} {changed.HOUSE}"]


@pytest.mark.full
def test_the_check_runs_what_it_prints_and_fails_with_it(repository, tmp_path):
    """With tools that only write down how they are called; one of them fails."""
    for tool, code in (("ruff", 0), ("mypy", 1), ("pytest", 0)):
        (tmp_path / tool).write_text(f'#!/bin/sh\necho called: {tool} "$@"\nexit {code}\n')
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "python").write_text("#!/bin/sh\necho \"tests/data -k 'one or two'\"\n")
    (tmp_path / "python").chmod(0o755)
    check = [repository.root / ".ci" / "check"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("failed: ")] == ["failed: mypy "]
    called = [line for line in done.stdout.splitlines() if line.startswith("called: ")]
    assert called == [
        "called: ruff check .",
        "called: ruff format --check .",
        "called: mypy",
        "called: pytest tests/data -k one or two",
    ]
    (tmp_path / "mypy").write_text("#!/bin/sh\n")
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "all good")
    (tmp_path / "python").write_text("#!/bin/sh\nexit 2\n")
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 2
