"""`mmkit list-plugins`: all components and plugins, with their statuses and the reasons."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Any, get_args

import typer

from mmkit.cli.setting import catalog
from mmkit.errors import UsageError, one_of
from mmkit.plugin import EncoderSpec, ModalitySpec, Spec, TaskSpec
from mmkit.registry.catalog import KINDS, Entry, Status

COLUMNS = ("kind", "name", "status", "distribution", "version", "summary", "reason")


def list_plugins(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option(help=f"List one kind: {', '.join(KINDS)}, or plugin.")] = None,
    modality: Annotated[str | None, typer.Option(help="List components of one modality.")] = None,
    status: Annotated[str | None, typer.Option(help=f"List one status: {', '.join(get_args(Status))}.")] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help=f"Print tab-separated {', '.join(COLUMNS)}; the default in a pipe."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List installed components with their status, distribution and summary.

    A component with status ok can be chosen by its name; DISTRIBUTION/NAME is never ambiguous. A plugin that could not
    be loaded has one line, with the reason. The exit code is 0 even if plugins are broken.
    """
    everything = catalog(ctx).entries
    _possible("--kind", kind, (*KINDS, "plugin"))
    _possible("--status", status, get_args(Status))
    _possible("--modality", modality, (name for entry in everything for name in modalities_of(entry.spec)))
    chosen = [
        entry
        for entry in everything
        if kind in {None, entry.kind}
        and status in {None, entry.status}
        and (modality is None or modality in modalities_of(entry.spec))
    ]
    if as_json:
        import json  # noqa: PLC0415 (plain lines do not need it and start faster)

        print(json.dumps({"schema": 1, "plugins": [as_fields(entry) for entry in chosen]}, indent=1, default=str))
    elif plain or not sys.stdout.isatty():
        for entry in chosen:
            print("\t".join(" ".join(str(getattr(entry, column)).split()) for column in COLUMNS))
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
    from rich.console import Console  # noqa: PLC0415 (slow to import, and only a terminal needs it)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("kind", box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("from", overflow="fold")
    table.add_column("", overflow="fold")
    for kind, of_kind in groupby(entries, key=lambda entry: entry.kind):
        for place, entry in enumerate(of_kind):
            colour = {"ok": "green", "broken": "red"}.get(entry.status, "yellow")
            text = entry.summary if entry.status == "ok" else entry.reason
            if entry.status == "ok" and entry.reason:
                text = f"{text} ({entry.reason})"
            table.add_row(
                kind if place == 0 else "",
                Text(entry.name),
                Text(entry.status, colour),
                Text(f"{entry.distribution} {entry.version}"),
                Text(text),
            )
        table.add_section()
    Console().print(table)
