"""Which tests belong to what was changed: `python .ci/changed.py [BASE]`; `.ci/check` runs what it prints.

Each line of its output is the arguments of one call of pytest. What has no tests of its own is named on stderr. Changed
is what differs from BASE: commits, what is not committed yet, and new files that git does not ignore. Without BASE it
is the last commit that this branch shares with `origin/main` or `main`, else HEAD.

The tests mirror the sources: those of `mmkit/data/splits.py` are `tests/data/test_splits.py` where that is there, else
all of `tests/data/`.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
HOUSE = "tests/test_floors.py"
PAGES = "tests/pages"
QUOTED = "tests/pages/test_generated.py"
CONTRACT = "tests/test_conformance.py"
# Files at the top of mmkit/ have no folder of tests: these use them most.
TOP = {
    "__init__": ["tests/test_readme.py"],
    "__main__": ["tests/cli/test_list_plugins.py"],
    "api": ["tests/experiments/test_suite.py", "tests/alignment"],
    "contract": ["tests/model", "tests/testing"],
    "errors": ["tests/cli/test_list_plugins.py", "tests/registry"],
    "plugin": ["tests/registry"],
    "titles": ["tests/test_titles.py"],
}


def tests_of(file: str, exists: Callable[[str], bool]) -> list[str]:
    """The tests of a changed file; none where it has none.

    Args:
        file: its path from the root of the repository; it may have been deleted.
        exists: whether a path is there.
    """
    path = PurePosixPath(file)
    found: list[str] = []
    if path.name == "conftest.py":
        found = [str(path.parent)]
    elif path.name.startswith("test_") and path.suffix == ".py":
        found = [file]
    elif path.parts[0] == "mmkit" and path.suffix == ".py":
        found = [*_mirrored(path, exists), HOUSE, QUOTED]  # pages quote docstrings and signatures
    elif path.parts[0] == "plugins" and len(path.parts) > 2:
        found = [f"plugins/{path.parts[1]}/tests"]
    elif path.parts[0] == "benchmarks" and path.suffix == ".py":
        found = [str(PurePosixPath("tests") / path.parent)]
    if path.suffix == ".md" or path.parts[0] in {".ci", ".github"} or path.name == ".pre-commit-config.yaml":
        found = [*found, PAGES]
    return [one for one in dict.fromkeys(found) if exists(one)]


def _mirrored(path: PurePosixPath, exists: Callable[[str], bool]) -> list[str]:
    """The tests that mirror a file of mmkit/: of the same name, else the nearest folder."""
    if len(path.parts) == 2:
        return TOP.get(path.stem, [])
    folder = PurePosixPath("tests", *path.parts[1:-1])
    named = folder / f"test_{path.stem}.py"
    if exists(str(named)):
        return [str(named)]
    while not exists(str(folder)) and len(folder.parts) > 1:
        folder = folder.parent
    return [str(folder)] if len(folder.parts) > 1 else []


def calls(
    files: Iterable[str], components: Mapping[str, Sequence[str]], exists: Callable[[str], bool]
) -> list[list[str]]:
    """The arguments of each call of pytest that the changed files ask for.

    Args:
        files: that were changed.
        components: the kit's names of components, "fusion-gated", by the file that they are in.
        exists: whether a path is there.
    """
    paths = sorted({one for file in files for one in tests_of(file, exists)})
    # pytest takes a file once, however often it is named; a folder stands for what is in it.
    kept = [path for path in paths if not any(str(above) in paths for above in PurePosixPath(path).parents)]
    found = [kept] if kept else []
    # Another's name may begin like this one, so the name ends at the check's hyphen: "fusion-sum-".
    kit = " or ".join(f"{name}-" for file in files for name in components.get(file, ()))
    if kit and CONTRACT not in kept and "tests" not in kept:
        found.append([CONTRACT, "-k", kit])
    return found


def components() -> dict[str, list[str]]:
    """The kit's names of the installed components of this repository, by the file that they are in."""
    from mmkit.registry.catalog import installed  # noqa: PLC0415 (mapping files alone needs no mmkit)

    found: dict[str, list[str]] = {}
    for entry in installed().entries:
        if entry.spec is not None:
            module = Path(*entry.spec.reference.partition(":")[0].split(".")).with_suffix(".py")
            for file in (module, Path("plugins") / entry.distribution / "src" / module):
                found.setdefault(file.as_posix(), []).append(f"{entry.kind}-{entry.name}")
    return found


def changed(base: str | None = None, root: Path = ROOT) -> list[str]:
    """The files that differ from a base, deleted ones among them.

    Raises:
        ValueError: there is no such base.
    """
    base = base or _shared(root)
    told = _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if told is None:
        raise ValueError(f"there is no commit {base}; give a branch, a tag or a commit")
    differing = _git(root, "diff", "--name-only", "--no-renames", base) or ""
    fresh = _git(root, "ls-files", "--others", "--exclude-standard") or ""
    return sorted({*differing.splitlines(), *fresh.splitlines()})


def _shared(root: Path) -> str:
    """The last commit that this branch shares with the main one; HEAD where there is no main one."""
    for main in ("origin/main", "main"):
        if found := _git(root, "merge-base", "HEAD", main):
            return found.strip()
    return "HEAD"


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it fails."""
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def main(arguments: Sequence[str]) -> int:
    """Print the calls of pytest, and on stderr what has no tests."""

    def exists(path: str) -> bool:
        return (ROOT / path).exists()

    try:
        files = changed(arguments[0] if arguments else None)
    except ValueError as error:
        print(f".ci/changed.py: {error}", file=sys.stderr)
        return 2
    for file in files:
        if exists(file) and not tests_of(file, exists):
            print(f"no tests of its own: {file}", file=sys.stderr)
    for call in calls(files, components(), exists):
        print(shlex.join(call))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
