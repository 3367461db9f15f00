"""`mmkit bench`: compare combinations on a task."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mmkit.api import new_folder
from mmkit.cli.process import prepare
from mmkit.cli.rehearse import rehearse
from mmkit.cli.setting import catalog
from mmkit.cli.unread import tell_unread
from mmkit.errors import DataError, UsageError, one_of
from mmkit.features.cache import default_folder
from mmkit.plan import plan
from mmkit.record import Record
from mmkit.report.document import document
from mmkit.report.summary import rows
from mmkit.report.terminal import show, show_confusion
from mmkit.run import Run
from mmkit.suite import Suite, Watcher, carry_out

Several = list[str] | None

LISTS = frozenset({"encoder", "fusion", "head", "objective", "option"})
NUMBERS: dict[str, type] = {"seeds": int, "limit": int, "threads": int, "baselines": bool, "price": bool}
"""Options of the configuration that are no strings: those that may be repeated, and those of another type."""


def bench(
    ctx: typer.Context,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose samples. [digits]", envvar="MMKIT_TASK")
    ] = None,
    encoder: Annotated[
        Several,
        typer.Option(metavar="INPUT=NAME[:K=V,...]", help="Encoder of an input, or of all inputs of a modality."),
    ] = None,
    fusion: Annotated[
        Several,
        typer.Option(metavar="NAME[:K=V,...]", help="One or several, or `all`. [attention]", envvar="MMKIT_FUSION"),
    ] = None,
    head: Annotated[Several, typer.Option(metavar="NAME[:K=V,...]", help="[the first that suits the task]")] = None,
    objective: Annotated[Several, typer.Option(metavar="NAME[:K=V,...]", help="A loss beside the head's.")] = None,
    option: Annotated[
        Several, typer.Option("-o", metavar="fusion.K=V", help="Option of a component, or of training: train.K=V.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; 3 are 0, 1 and 2. [3]", envvar="MMKIT_SEEDS")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many; also train.epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step; also train.batch_size.")] = None,
    lr: Annotated[float | None, typer.Option(help="Greatest learning rate; also train.lr.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many training samples.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [auto]", envvar="MMKIT_DEVICE")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16, by autocast. [float32]")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU. [one a core]", envvar="MMKIT_THREADS")] = None,
    on_error: Annotated[
        str | None, typer.Option(help="A value that cannot be read: fail, skip its sample, or missing. [fail]")
    ] = None,
    baselines: Annotated[bool | None, typer.Option(help="Each input alone beside the fusions. [yes]")] = None,
    price: Annotated[bool | None, typer.Option(help="Speed, memory and FLOPs beside the scores. [yes]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with these options.", envvar="MMKIT_CONFIG")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the records; what is there is not done again.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the weights of the best seed on validation.")] = False,
    mix: Annotated[bool, typer.Option("--mix", help="Go on in DIR on another machine or with other versions.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute the features of frozen encoders anew, and keep none.")
    ] = False,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Also the confusion matrix of the best combination, on test.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, each combination tried on a few samples, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Compare combinations of encoders, fusions and heads on a task, with each input alone beside them.

    An option that is given again is another value to compare, and all are combined with all. Later beats earlier:
    defaults, --config, the environment, what stands after a name, -o.
    """
    given: dict[str, Any] = {
        "task": task, "encoder": encoder, "fusion": fusion, "head": head, "objective": objective, "option": option,
        "seeds": seeds, "limit": limit, "device": device, "precision": precision, "threads": threads,
        "on_error": on_error, "baselines": baselines, "price": price, "out": out,
    }  # fmt: skip
    training = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    chosen = _merged(_read(config), given, training)
    prepare(chosen["threads"])
    installed = catalog(ctx)
    planned = plan(
        installed,
        task=chosen["task"] or "digits",
        encoders=_encoders(chosen["encoder"] or []),
        fusions=chosen["fusion"] or ["attention"],
        heads=chosen["head"] or [],
        objectives=chosen["objective"] or [],
        options=chosen["option"] or [],
        training=chosen["train"],
        seeds=3 if chosen["seeds"] is None else chosen["seeds"],
        baselines=chosen["baselines"] is not False,
        device=chosen["device"] or "auto",
        precision=chosen["precision"] or "float32",
        limit=chosen["limit"],
        on_error=chosen["on_error"] or "fail",
    )
    for name, reason in planned.left_out:
        print(f"mmkit: {name} is left out: {reason}", file=sys.stderr)
    if dry_run:
        raise typer.Exit(rehearse(planned, installed, as_json=as_json))
    folder = Path(chosen["out"]) if chosen["out"] else new_folder(planned.task.name)
    with _Bars() as watcher:
        kept = None if no_cache else default_folder()
        priced = chosen["price"] is not False
        suite = carry_out(planned, folder, installed, save=save, mix=mix, price=priced, cache=kept, watcher=watcher)
    unread = (line for r in suite.records for lines in r.get("unread", {}).values() for line in lines)
    tell_unread(unread, planned.on_error)  # all runs of a suite share most of them
    _tell_anew(suite)
    _show(suite, as_json=as_json, confusion=confusion)
    if suite.failures:
        # Where data or weights alone are what is wanting, the code says so.
        names = [DataError.__name__, *(kind.__name__ for kind in DataError.__subclasses__())]
        kinds = tuple(f"{name}: " for name in names)
        wanting = all(record["error"].startswith(kinds) for record in suite.failures)
        raise typer.Exit(DataError.exit_code if wanting else 1)


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is no TOML: {error}") from error


def _merged(config: dict[str, Any], given: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """The configuration, with what was given put over it."""
    table = dict(config)
    trained = table.pop("train", {})
    if not isinstance(trained, dict):
        raise UsageError(f"--config: train is a table of options; got {trained!r}")
    for name, value in table.items():
        if name not in given:
            raise UsageError(f"--config has no option {name}; {one_of([*given, 'train'], name)}")
        table[name] = [value] if name in LISTS and isinstance(value, str) else value
        wanted = list if name in LISTS else NUMBERS.get(name, str)
        if type(table[name]) is not wanted or (
            name in LISTS and not all(isinstance(item, str) for item in table[name])
        ):
            raise UsageError(f"--config: {name} takes {'strings' if name in LISTS else wanted.__name__}; got {value!r}")
    merged: dict[str, Any] = {name: table.get(name) if value in (None, []) else value for name, value in given.items()}
    return merged | {"train": trained | {name: value for name, value in training.items() if value is not None}}


def _encoders(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, encoder = text.partition("=")
        if not (name and equals and encoder):
            raise UsageError(f"--encoder takes INPUT=NAME[:key=value,...]; got {text}")
        found.setdefault(name.strip(), []).append(encoder.strip())
    return found


def _console(stream: Any) -> Console:
    """A console that crops nothing where nobody looks."""
    terminal = stream.isatty()
    return Console(file=stream, width=None if terminal else 10_000, no_color=not terminal, highlight=False)


def _tell_anew(suite: Suite) -> None:
    """Say where features could have been computed once, but for augmentation."""
    for name in sorted({name for r in suite.records for name in r.get("encoded_anew", ())}):
        print(
            f"mmkit: {name} is augmented, so its frozen encoder ran in every epoch; -o train.copies=K keeps K copies",
            file=sys.stderr,
        )


def _show(suite: Suite, *, as_json: bool, confusion: bool) -> None:
    if as_json:
        print(json.dumps(document(suite.records, str(suite.folder)), indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = _console(sys.stdout)
    show(rows(suite.records), console)
    if confusion:
        show_confusion(rows(suite.records), console)
    print(f"mmkit: records are in {suite.folder}", file=sys.stderr)


class _Bars(Watcher):
    """Progress on stderr: bars on a terminal, else nothing but failures."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.runs: TaskID | None = None
        self.epochs: TaskID | None = None

    def __enter__(self) -> _Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def planned(self, runs: int, found: int) -> None:
        """Bars appear."""
        if found:
            print(f"mmkit: {found} of {runs} runs are there already", file=sys.stderr)
        self.runs = self.progress.add_task("runs", total=runs, completed=found)

    def measuring(self, what: str) -> None:
        """The bar says what is measured."""
        if self.runs is not None:
            self.progress.update(self.runs, description=what)

    def started(self, run: Run) -> None:
        """The bars say which run."""
        if self.runs is not None:
            self.progress.update(self.runs, description=f"{run.combination.label}, seed {run.seed}")
        self.epochs = self.progress.add_task("epochs", total=None)

    def encoding(self, name: str, done: int, samples: int) -> None:
        """The lower bar counts samples."""
        if self.epochs is not None:
            self.progress.update(self.epochs, description=f"features of {name}", completed=done, total=samples)

    def noted(self, message: str) -> None:
        """Said at once."""
        print(f"mmkit: {message}", file=sys.stderr)

    def epoch(self, done: int, planned: int) -> None:
        """The lower bar moves."""
        if self.epochs is not None:
            self.progress.update(self.epochs, description="epochs", completed=done, total=planned)

    def finished(self, record: Record) -> None:
        """The upper bar moves; a failure is said at once."""
        if self.epochs is not None:
            self.progress.remove_task(self.epochs)
        if self.runs is not None:
            self.progress.advance(self.runs)
        if record["status"] != "ok":
            print(f"mmkit: {record['fusion']}, seed {record['seed']} failed; why stands at the end", file=sys.stderr)
