"""What holds for every command: which plugins are left out, whether tracebacks are shown, and the catalog so made."""

from __future__ import annotations

import sys
from typing import NamedTuple

import typer

from mmkit.registry.catalog import Catalog, installed


class Setting(NamedTuple):
    """The options that stand before every command.

    Args:
        no_plugin: distributions that are not imported.
        traceback: True where tracebacks are shown.
    """

    no_plugin: tuple[str, ...] = ()
    traceback: bool = False


def setting(ctx: typer.Context) -> Setting:
    """The setting of this invocation."""
    return ctx.obj if isinstance(ctx.obj, Setting) else Setting()


def catalog(ctx: typer.Context) -> Catalog:
    """What is installed under the setting; each broken plugin gets one line on stderr."""
    found = installed(setting(ctx).no_plugin)
    for entry in found.entries:
        if entry.kind == "plugin" and entry.status == "broken":
            print(f"mmkit: plugin {entry.name} is broken and left out: {entry.reason}", file=sys.stderr)
    return found
