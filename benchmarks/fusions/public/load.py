"""Reads one file of a checked out repository as a module."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


def commit(folder: Path) -> str:
    """The commit that is checked out in a folder."""
    told = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def load(file: Path, stands_in: Mapping[str, Mapping[str, Any]], imports_from: Path | None = None) -> ModuleType:
    """The module of a file, as the last of its package; what it imports of it is read too.

    Args:
        file: a Python file; of `..` it may import what lies two folders above.
        stands_in: attributes of modules that are imported and not needed, by name.
        imports_from: the folder of what it imports by full name; None where it imports nothing of its own so.
    """
    package = [f"published_{file.parents[1].name}", file.parent.name]
    modules = {name: _module(name, attributes) for name, attributes in stands_in.items()}
    with _known(modules, imports_from and imports_from.resolve()):
        for depth, folder in enumerate((file.parents[1], file.parent), 1):
            above = _module(".".join(package[:depth]), {"__path__": [str(folder)]})
            sys.modules[above.__name__] = above  # without its own __init__, which imports what is not there
        spec = importlib.util.spec_from_file_location(f"{'.'.join(package)}.{file.stem}", file)
        assert spec is not None and spec.loader is not None  # noqa: PT018 (a Python file has both)
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return found


@contextmanager
def _known(modules: Mapping[str, ModuleType], folder: Path | None) -> Iterator[None]:
    """Modules that may be imported meanwhile, and those of a folder; what was imported meanwhile is forgotten."""
    before = dict(sys.modules)
    if folder is not None:
        sys.path.insert(0, str(folder))
    for name, module in modules.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            sys.modules.setdefault(".".join(parts[:depth]), _module(".".join(parts[:depth]), {"__path__": []}))
        sys.modules[name] = module
    try:
        yield
    finally:
        if folder is not None:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - set(before):
            if name in modules or name.startswith("published_") or (folder and _lies_in(folder, sys.modules[name])):
                del sys.modules[name]


def _lies_in(folder: Path, module: ModuleType) -> bool:
    """Whether a module, or a package, was read from a folder."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place is not None and Path(place).is_relative_to(folder) for place in places)


def _module(name: str, attributes: Mapping[str, Any]) -> ModuleType:
    found = ModuleType(name)
    vars(found).update(attributes)
    return found
