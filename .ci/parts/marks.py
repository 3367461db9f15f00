"""The marks of tests."""

from __future__ import annotations

import tomllib

from parts.markdown import ROOT, table


def marks() -> str:
    """The marks of tests, as pyproject.toml declares them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    return table(("mark", "meaning"), ((f"`{name}`", told) for name, told in (one.split(": ", 1) for one in declared)))
