"""`mmkit list-plugins`: all components and plugins, with their statuses and the reasons."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Any, get_args

import typer

from mmkit.cli.needs import in_short
from mmkit.cli.setting import catalog
from mmkit.errors import UsageError, one_of
from mmkit.plugin import FAMILIES, EncoderSpec, FusionSpec, ModalitySpec, Spec, TaskSpec
from mmkit.registry.catalog import BUILTIN, KINDS, Entry, Status
from mmkit.registry.discovery import normalised

COLUMNS = ("kind", "name", "status", "distribution", "version", "summary", "reason", "takes")
READABLE = 32
"""The least width of a summary that stands beside its name."""


def list_plugins(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option(help=f"List one kind: {', '.join(KINDS)}, or plugin.")] = None,
    modality: Annotated[str | None, typer.Option(help="List components of one modality.")] = None,
    family: Annotated[str | None, typer.Option(help=f"List fusions of one family: {', '.join(FAMILIES)}.")] = None,
    status: Annotated[str | None, typer.Option(help=f"List one status: {', '.join(get_args(Status))}.")] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help=f"Print tab-separated {', '.join(COLUMNS)}; the default in a pipe."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List installed components with their status, distribution and summary, and what they take.

    A component with status ok can be chosen by its name; DISTRIBUTION/NAME is never ambiguous. A plugin that could not
    be loaded has one line, with the reason. The exit code is 0 even if plugins are broken.
    """
    everything = catalog(ctx).entries
    _possible("--kind", kind, (*KINDS, "plugin"))
    _possible("--status", status, get_args(Status))
    _possible("--family", family, FAMILIES)
    _possible("--modality", modality, (name for entry in everything for name in modalities_of(entry.spec)))
    chosen = [
        entry
        for entry in everything
        if kind in {None, entry.kind}
        and status in {None, entry.status}
        and (family is None or (isinstance(entry.spec, FusionSpec) and entry.spec.family == family))
        and (modality is None or modality in modalities_of(entry.spec))
    ]
    if as_json:
        import json  # noqa: PLC0415 (plain lines do not need it and start faster)

        print(json.dumps({"schema": 1, "plugins": [as_fields(entry) for entry in chosen]}, indent=1, default=str))
    elif plain or not sys.stdout.isatty():
        for entry in chosen:
            fields = {column: getattr(entry, column) for column in COLUMNS[:-1]} | {"takes": in_short(entry.spec)}
            print("\t".join(" ".join(str(field).split()) for field in fields.values()))
    else:
        _draw(chosen)


def modalities_of(spec: Spec | None) -> set[str]:
    """The modalities of a component: those it reads, itself, or the one whose decoded values it has."""
    if isinstance(spec, ModalitySpec):
        return {spec.name, spec.values or spec.name}
    if isinstance(spec, EncoderSpec):
        return {spec.modality}
    return {modality for _, modality in spec.modalities} if isinstance(spec, TaskSpec) else set()


def as_fields(entry: Entry) -> dict[str, Any]:
    """An entry as plain values for JSON: its own fields, then those of its spec."""
    fields = {
        field.name: getattr(entry, field.name)
        for field in dataclasses.fields(entry)
        if field.name not in {"spec", "traceback"}
    }
    if entry.spec is not None:
        fields |= {"requires": entry.requires}
        of_spec = {field.name: getattr(entry.spec, field.name) for field in dataclasses.fields(entry.spec)}
        fields |= {name: value for name, value in of_spec.items() if name not in fields}
    if isinstance(entry.spec, TaskSpec):
        fields["modalities"] = dict(entry.spec.modalities)
    return fields


def _possible(option: str, given: str | None, possible: Iterable[str]) -> None:
    names = set(possible)
    if given is not None and given not in names:
        raise UsageError(f"unknown {option} {given}; {one_of(names, given)}")


def _draw(entries: Sequence[Entry]) -> None:
    """A list for a terminal, one kind after the other; where it is narrow, a summary stands below its name."""
    from rich.console import Console  # noqa: PLC0415 (slow to import, and only a terminal needs it)
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    named = min(max((len(entry.name) for entry in entries), default=0), READABLE)
    for kind, of_kind in groupby(entries, key=lambda entry: entry.kind):
        console.print(Text(kind, "bold"))
        listed = list(of_kind)
        taken = max(len(in_short(entry.spec)) for entry in listed)
        indent = 2 + named + 2 + (taken + 2 if taken else 0)
        beside = console.width - indent >= READABLE
        for entry in listed:
            colour = {"ok": "", "broken": "red"}.get(entry.status, "yellow")
            words = [entry.summary if entry.status == "ok" else f"{entry.status}: {entry.reason}"]
            words += [f"({entry.reason})"] if entry.status == "ok" and entry.reason else []
            words += [] if normalised(entry.distribution) == BUILTIN else [f"[{entry.distribution} {entry.version}]"]
            told = Text(" ".join(" ".join(words).split()), colour)
            label = f"  {entry.name:<{named}}  " + (f"{in_short(entry.spec):<{taken}}  " if taken else "")
            if beside:
                lines = list(told.wrap(console, console.width - indent))
                console.print(Text(label) + lines[0] if lines else Text(label.rstrip()))
                rest = lines[1:]
            else:
                console.print(Text(label.rstrip()), overflow="fold")
                indent = 6
                rest = list(told.wrap(console, console.width - indent))
            for line in rest:
                console.print(Text(" " * indent + line.plain.rstrip(), colour))
