"""What holds for every command: which plugins are left out, whether tracebacks are shown, and the catalog so made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import typer

from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.discovery import Registration


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


def catalog(ctx: typer.Context, sources: Sequence[Registration] = ()) -> Catalog:
    """What is installed under the setting; each broken plugin or component gets one line on stderr.

    Args:
        ctx: of the command.
        sources: of a distribution that lies in a folder.
    """
    found = installed(setting(ctx).no_plugin, sources=sources)
    for entry in found.entries:
        if entry.status == "broken":
            print(f"mmkit: {entry.kind} {entry.full_name} is broken and left out: {entry.why}", file=sys.stderr)
    return found
