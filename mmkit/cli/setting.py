"""The global options of the command line, and the catalog with the plugins that they allow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import typer

from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.discovery import Registration


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


def catalog(ctx: typer.Context, sources: Sequence[Registration] = ()) -> Catalog:
    """The catalog of what is installed and allowed; each broken or doubled one gets a line on stderr.

    Args:
        ctx: the context of the command.
        sources: entry points of a distribution in a folder.
    """
    entire = installed(setting(ctx).no_plugin, sources=sources)
    for line in entire.doubled:
        print(f"mmkit: {line}", file=sys.stderr)
    for entry in entire.entries:
        if entry.status == "broken":
            print(f"mmkit: {entry.kind} {entry.full_name} is broken and left out: {entry.why}", file=sys.stderr)
    return entire
