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


def load(file: Path, stands_in: Mapping[str, Mapping[str, Any]]) -> ModuleType:
    """The module of a file, as the last of its package; what it imports of it is read too.

    Args:
        file: a Python file; of `..` it may import what lies two folders above.
        stands_in: attributes of modules that are imported and not needed, by name.
    """
    package = [f"published_{file.parents[1].name}", file.parent.name]
    with _known({name: _module(name, attributes) for name, attributes in stands_in.items()}):
        for depth, folder in enumerate((file.parents[1], file.parent), 1):
            above = _module(".".join(package[:depth]), {"__path__": [str(folder)]})
            sys.modules[above.__name__] = above  # without its own __init__, which imports what is not there
        spec = importlib.util.spec_from_file_location(f"{'.'.join(package)}.{file.stem}", file)
        assert spec is not None and spec.loader is not None  # noqa: PT018 (a Python file has both)
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return found


@contextmanager
def _known(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Modules that may be imported meanwhile; what was imported meanwhile is forgotten."""
    before = dict(sys.modules)
    for name, module in modules.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            sys.modules.setdefault(".".join(parts[:depth]), _module(".".join(parts[:depth]), {"__path__": []}))
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            if name in modules or name.startswith("published_"):
                del sys.modules[name]


def _module(name: str, attributes: Mapping[str, Any]) -> ModuleType:
    found = ModuleType(name)
    vars(found).update(attributes)
    return found
