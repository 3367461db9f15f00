"""The global options of the command line, and the catalog with the plugins that they allow."""

from __future__ import annotations

import sys
from typing import NamedTuple

import typer

from mmkit.registry.catalog import Catalog, installed


class Setting(NamedTuple):
    """The global options.

    Args:
        no_plugin: distributions that are not imported.
        traceback: whether tracebacks are shown.
    """

    no_plugin: tuple[str, ...] = ()
    traceback: bool = False


def setting(ctx: typer.Context) -> Setting:
    """The global options of this invocation."""
    return ctx.obj if isinstance(ctx.obj, Setting) else Setting()


def catalog(ctx: typer.Context) -> Catalog:
    """The catalog of what is installed and allowed; each broken plugin gets one line on stderr."""
    entire = installed(setting(ctx).no_plugin)
    for entry in entire.entries:
        if entry.kind == "plugin" and entry.status == "broken":
            print(f"mmkit: plugin {entry.name} is broken and left out: {entry.reason}", file=sys.stderr)
    return entire
