"""The command line: commands, one line for each error, exit codes.

The module of a command is imported when the command is run, so that `mmkit --help` and `mmkit list-plugins` start fast.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mmkit.cli.setting import Setting
from mmkit.errors import MmkitError, UsageError
from mmkit.registry.blame import blaming, registered
from mmkit.registry.catalog import installed

Table = Mapping[str, "tuple[str, str] | Table"]

# Command name -> its function and its help; a nested table is a group of commands.
COMMANDS: Table = {
    "bench": ("mmkit.cli.bench:bench", "Compare encoders, fusions and heads on a task."),
    "cache": {
        "list": ("mmkit.cli.cache:show", "List what is cached, with sizes."),
        "clear": ("mmkit.cli.cache:clear", "Remove cached features and tables."),
    },
    "compare": ("mmkit.cli.compare:compare", "Compare two suites on the same data."),
    "data": {
        "inspect": ("mmkit.cli.data:inspect", "Show what each column of a table is, and why."),
    },
    "evaluate": ("mmkit.cli.evaluate:evaluate", "Measure a saved model on labelled rows."),
    "explain": ("mmkit.cli.explain:explain", "Show what in a row led a saved model to its answer."),
    "export": ("mmkit.cli.export:export", "Write a saved model as one graph that runs without mmkit."),
    "list-plugins": ("mmkit.cli.list_plugins:list_plugins", "List installed components with their status."),
    "predict": ("mmkit.cli.predict:predict", "Answer the rows of a table with a saved model."),
    "plugins": {
        "list": ("mmkit.cli.list_plugins:list_plugins", "The same as list-plugins."),
        "show": ("mmkit.cli.plugins_show:show", "Show one component or plugin with its options."),
        "check": ("mmkit.cli.plugins_check:check", "Check that a component keeps the contract."),
        "new": ("mmkit.cli.plugins_new:new", "Write a new plugin as a whole distribution that works."),
    },
    "push": ("mmkit.cli.push:push", "Push a saved model to the hub, with its card."),
    "report": ("mmkit.cli.report:report", "Write the answer of a suite as a page to send."),
    "retrieve": ("mmkit.cli.retrieve:retrieve", "Retrieve one input of a sample by its other."),
    "runs": ("mmkit.cli.runs:runs", "List the runs of a folder."),
    "serve": ("mmkit.cli.serve:serve", "Serve saved models over HTTP, with a page."),
    "train": ("mmkit.cli.train:train", "Train one model, and keep it."),
    "zero-shot": ("mmkit.cli.zero_shot:zero_shot", "Classify by names of classes, without training."),
}
GROUPS = {
    "cache": "Manage what is cached: features of frozen encoders, large tables.",
    "data": "Look at your own data.",
    "plugins": "Inspect, check and create plugins.",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 success, 1 failure, 2 usage, 3 unavailable, 4 data, 5 too noisy, 130 interrupted.

    Args:
        arguments: of the command line; None is those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Waiting OpenMP threads should sleep. By default they spin: on two busy cores a training then took five times as
    # long (60 and 125 s instead of 12 and 22), and no less on idle cores. torch reads the variable when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (for as long as the process lives)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for text that the encoding lacks
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = typer.main.get_command(_app()).main(_global_first(given), prog_name="mmkit", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except typer.Abort:
        code = 130
    except Exception as error:  # noqa: BLE001 (the user gets one line for any error)
        if "--traceback" in given:
            traceback.print_exception(error)
        code = getattr(error, "exit_code", 1) if getattr(error, "said", False) else _report(_blamed(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == 130:
        print("mmkit: interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _blamed(error: Exception) -> Exception:
    """The error, or one that says which component raised it."""
    if isinstance(error, MmkitError) or hasattr(error, "format_message"):
        return error
    return blaming(error, registered(installed().entries))


def _of_stdout(error: Exception) -> bool:
    """Whether it was raised by a print: no command writes to a file itself, and that of a file is named."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    printing = {"cli", "rich"}
    return (
        isinstance(error, OSError)
        and error.filename is None
        and any(printing & {*Path(f.filename).parts} for f in last)
    )


def _report(error: Exception) -> int:
    """Print an error as one line, and return its exit code."""
    if isinstance(error, MmkitError):
        message, code = str(error), error.exit_code
    elif hasattr(error, "format_message"):  # an error of click, whose classes Typer does not export
        message, code = str(error.format_message()), getattr(error, "exit_code", 2)
        context = getattr(error, "ctx", None)
        message = f"{message.rstrip('.?')}; see {context.command_path} --help" if context else message
    elif isinstance(error, OSError) and _of_stdout(error):
        message, code = f"cannot write to stdout: {error.strerror}", 1
    elif isinstance(error, OSError) and error.filename is not None:
        message, code = f"{error.filename}: {error.strerror}; --traceback shows where it was needed", 1
    else:
        message, code = f"unexpected {type(error).__name__}: {error}; --traceback shows where it comes from", 1
    print(f"mmkit: error: {' '.join(message.split())}", file=sys.stderr)
    return int(code)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _global_first(arguments: list[str]) -> list[str]:
    """The arguments with the global options moved before the command, so that users can put them anywhere."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first: list[str] = []
    others: list[str] = []
    taken = iter(arguments[:end])
    for argument in taken:
        if argument == "--traceback" or argument.startswith("--no-plugin="):
            first.append(argument)
        elif argument == "--no-plugin":
            if (value := next(taken, None)) is None:
                raise UsageError("--no-plugin takes the name of a distribution; got none")
            first += [argument, value]
        else:
            others.append(argument)
    return [*first, *others, *arguments[end:]]


def _app() -> typer.Typer:
    app = _group(COMMANDS)

    @app.callback(invoke_without_command=True)
    def mmkit(
        ctx: typer.Context,
        no_plugin: Annotated[
            list[str] | None,
            typer.Option(metavar="DISTRIBUTION", help="Plugin not to import; repeatable."),
        ] = None,
        show_traceback: Annotated[
            bool, typer.Option("--traceback", help="Show the traceback of an error, also of a plugin's.")
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    ) -> None:
        """Which encoders, fused how, give the best answer on your multimodal data, and at what cost?

        --no-plugin and --traceback can come before or after the command.
        """
        ctx.obj = Setting(tuple(no_plugin or ()), show_traceback)
        if version:
            print(f"mmkit {importlib.import_module('importlib.metadata').version('mmkit-core')}")
        elif ctx.invoked_subcommand is None:
            print(ctx.get_help())

    return app


def _group(table: Table, **settings: Any) -> typer.Typer:
    """An app whose commands have a name and a help text; a command is loaded when it is run."""

    class Lazy(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            return name, _loaded(name, table[name]) if name is not None and name in table else command, rest

    app = _typer(cls=Lazy, **settings)
    for name, entry in table.items():
        app.command(name, help=entry[1] if isinstance(entry, tuple) else GROUPS[name])(_unloaded)
    return app


def _unloaded() -> None:
    raise AssertionError("a command must be loaded before it is run")


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
