"""The process of a command: number of threads, memory allocation, and what was asked."""

from __future__ import annotations

import shlex

import torch
import typer

from mmkit.errors import UsageError
from mmkit.system.allocator import keep_large_blocks


def prepare(threads: int | None) -> None:
    """Set the number of CPU threads, and keep large blocks of memory.

    Raises:
        UsageError: less than one thread.
    """
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads takes 1 or more; got {threads}")
        torch.set_num_threads(threads)
    keep_large_blocks()


def command_of(ctx: typer.Context) -> str:
    """The command as it was given, for whoever reads its results; what the environment or a file said is not in it."""
    words = ["mmkit", ctx.info_name or ""]
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = ctx.params[parameter.name or ""]
        if isinstance(value, bool):
            words.append(parameter.opts[-1] if value else parameter.secondary_opts[-1])
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [parameter.opts[-1], str(one)]
    return shlex.join(words)
