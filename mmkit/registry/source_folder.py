"""A distribution that lies in a folder, installed or not: its entry points, read from its pyproject.toml.

Its source is put on the path of imports for this process alone; nothing is built or installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkit.errors import UsageError
from mmkit.plugin import GROUP
from mmkit.registry.discovery import Registration


def open_folder(folder: Path) -> list[Registration]:
    """The entry points of the distribution in `folder`, made importable from its source.

    Args:
        folder: that holds pyproject.toml.

    Raises:
        UsageError: the folder or its pyproject.toml is not there or cannot be read, declares no entry point of mmkit,
            or names a module that does not lie in it.
    """
    declared = _read(folder)
    project = _table(declared, "project", folder)
    name, version = project.get("name"), project.get("version", "")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{folder / 'pyproject.toml'} gives no name: write name = ... under [project]")
    entries = _entries(project, folder)
    requires = tuple(line for line in project.get("dependencies", ()) if isinstance(line, str))
    registrations = [Registration(name, str(version), *entry, requires) for entry in entries]
    for registration in registrations:
        _make_importable(registration.module, folder, declared)
    return registrations


def _read(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give that of a distribution, which holds pyproject.toml")
    file = folder / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder} holds no pyproject.toml; give the folder of a distribution") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _entries(project: Mapping[str, Any], folder: Path) -> list[tuple[str, str, str]]:
    """Group, name and module of each entry point of mmkit's groups."""
    groups = _table(project, "entry-points", folder)
    found = [
        (group, name, str(value).partition("[")[0].strip())  # extras of an entry point mean nothing here
        for group in groups
        if group.startswith("mmkit.v") and group[7:].isdecimal()
        for name, value in _table(groups, group, folder).items()
    ]
    if not found:
        raise UsageError(
            f"{folder / 'pyproject.toml'} declares no plugin of mmkit; write the module with the hooks: "
            f'[project.entry-points."{GROUP}"] NAME = "PACKAGE.plugin"'
        )
    return found


def _table(of: Mapping[str, Any], key: str, folder: Path) -> Mapping[str, Any]:
    found = of.get(key, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"{folder / 'pyproject.toml'}: {key} is a table; got {found!r}")
    return found


def _make_importable(module: str, folder: Path, declared: Mapping[str, Any]) -> None:
    """Put the source root that holds a module before all else on the path of imports."""
    top = module.partition(".")[0]
    roots = list(dict.fromkeys(root.resolve() for root in _roots(folder, declared)))
    for root in roots:
        if (root / top).is_dir() or (root / f"{top}.py").is_file():
            break
    else:
        looked = ", ".join(map(str, roots))
        raise UsageError(f"{folder / 'pyproject.toml'} names the module {module}; there is no {top} in {looked}")
    there = getattr(sys.modules.get(top), "__file__", None)
    if there is not None and root not in Path(there).resolve().parents:
        raise UsageError(f"{top} is already imported from {there}, so that of {folder} cannot be checked beside it")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _roots(folder: Path, declared: Mapping[str, Any]) -> Iterator[Path]:
    """Where the source of a distribution may lie, what setuptools is told first."""
    setuptools = declared.get("tool", {}).get("setuptools", {})
    directory = setuptools.get("package-dir", {}).get("")
    if isinstance(directory, str):
        yield folder / directory
    packages = setuptools.get("packages", {})
    for place in packages.get("find", {}).get("where", ()) if isinstance(packages, Mapping) else ():
        yield folder / str(place)
    yield folder / "src"
    yield folder
