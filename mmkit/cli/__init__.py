"""The door: one command line, one line for each error, one exit code.

A command's module is imported when the command is run, not to list it: `mmkit --help` and `mmkit list-plugins` start
without what `mmkit bench` needs.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mmkit.cli.setting import Setting
from mmkit.errors import MmkitError, UsageError

Table = Mapping[str, "tuple[str, str] | Table"]

# A new command is one line here: its name, where its function is, and what it does. Names of a group nest.
COMMANDS: Table = {
    "bench": ("mmkit.cli.bench:bench", "Compare encoders, fusions and heads on a task."),
    "cache": {
        "list": ("mmkit.cli.cache:show", "What is kept, and how large it is."),
        "clear": ("mmkit.cli.cache:clear", "Remove what is kept."),
    },
    "list-plugins": ("mmkit.cli.list_plugins:list_plugins", "What is installed, from whom, and what is broken."),
    "plugins": {
        "list": ("mmkit.cli.list_plugins:list_plugins", "The same as list-plugins."),
        "show": ("mmkit.cli.plugins_show:show", "All there is to know of one component or plugin."),
        "check": ("mmkit.cli.plugins_check:check", "Does a component keep the contract?"),
        "new": ("mmkit.cli.plugins_new:new", "Write a plugin to begin from, as a whole distribution."),
    },
    "retrieve": ("mmkit.cli.retrieve:retrieve", "Is one input of a sample found by its other?"),
    "zero-shot": ("mmkit.cli.zero_shot:zero_shot", "Classify by what the classes are called, without training."),
}
GROUPS = {
    "cache": "Features of frozen encoders, kept on the disk.",
    "plugins": "Look closely at plugins, check them, begin one.",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 good, 1 failed, 2 usage, 3 unavailable, 4 no data, 5 too noisy, 130 interrupted.

    Args:
        arguments: those of the process where none are given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Threads of OpenMP that wait are to sleep. By default they spin, and on two busy cores a training then took five
    # times as long (60 and 125 s against 12 and 22), on idle ones no less. It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a summary in another script is no reason to fail
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = typer.main.get_command(_app()).main(_global_first(given), prog_name="mmkit", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except typer.Abort:
        code = 130
    except Exception as error:  # noqa: BLE001 (whatever goes wrong below, the user reads one line)
        if "--traceback" in given:
            traceback.print_exception(error)
        code = _told(error)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == 130:
        print("mmkit: interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> int:
    """Print an error as one line; the exit code."""
    if isinstance(error, MmkitError):
        message, code = str(error), error.exit_code
    elif hasattr(error, "format_message"):  # Typer's own: it keeps click's classes to itself
        message, code = str(error.format_message()), getattr(error, "exit_code", 2)
        context = getattr(error, "ctx", None)
        message = f"{message.rstrip('.?')}; see {context.command_path} --help" if context else message
    else:
        message, code = f"unexpected {type(error).__name__}: {error}; --traceback shows where", 1
    print(f"mmkit: error: {' '.join(message.split())}", file=sys.stderr)
    return int(code)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _global_first(arguments: list[str]) -> list[str]:
    """The options of every command moved before the command, so that they may stand anywhere."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first: list[str] = []
    rest: list[str] = []
    taken = iter(arguments[:end])
    for argument in taken:
        if argument == "--traceback" or argument.startswith("--no-plugin="):
            first.append(argument)
        elif argument == "--no-plugin":
            if (value := next(taken, None)) is None:
                raise UsageError("--no-plugin takes the name of a distribution; none is given")
            first += [argument, value]
        else:
            rest.append(argument)
    return [*first, *rest, *arguments[end:]]


def _app() -> typer.Typer:
    app = _group(COMMANDS)

    @app.callback(invoke_without_command=True)
    def mmkit(
        ctx: typer.Context,
        no_plugin: Annotated[
            list[str] | None,
            typer.Option(metavar="DISTRIBUTION", help="Do not import this plugin; may be repeated."),
        ] = None,
        show_traceback: Annotated[
            bool, typer.Option("--traceback", help="Show where an error, or a plugin's, comes from.")
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    ) -> None:
        """Which encoders, fused how, give the best answer on your multimodal data, and at what price?

        --no-plugin and --traceback may stand before or after the command.
        """
        ctx.obj = Setting(tuple(no_plugin or ()), show_traceback)
        if version:
            print(f"mmkit {importlib.import_module('importlib.metadata').version('mmkit-core')}")
        elif ctx.invoked_subcommand is None:
            print(ctx.get_help())

    return app


def _group(table: Table, **settings: Any) -> typer.Typer:
    """An app whose commands are a name and one line each until one of them is run."""

    class Lazy(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            return name, _loaded(name, table[name]) if name is not None and name in table else command, rest

    app = _typer(cls=Lazy, **settings)
    for name, entry in table.items():
        app.command(name, help=entry[1] if isinstance(entry, tuple) else GROUPS[name])(_unloaded)
    return app


def _unloaded() -> None:
    raise AssertionError("a command stands for itself in the list of commands only")


def _loaded(name: str, entry: tuple[str, str] | Table) -> Any:
    if not isinstance(entry, tuple):
        app = _group(entry, help=GROUPS[name])
        app.callback()(lambda: None)  # a group, even of one command
        return typer.main.get_command(app)
    module, _, function = entry[0].partition(":")
    app = _typer()
    app.command(name)(getattr(importlib.import_module(module), function))
    return typer.main.get_command(app)


def _typer(**settings: Any) -> typer.Typer:
    # Rich would draw boxes, crop them in a pipe, and double the time that --help takes.
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)
