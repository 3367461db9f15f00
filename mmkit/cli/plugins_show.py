"""`mmkit plugins show`: one component or plugin in detail."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mmkit.cli.list_plugins import as_fields
from mmkit.cli.setting import catalog, setting
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ObjectiveSpec, Spec, TaskSpec
from mmkit.registry.catalog import Catalog, Entry
from mmkit.registry.discovery import normalised
from mmkit.registry.entries import requirements
from mmkit.registry.options import describe, options_of, write_value


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Component, as NAME or DISTRIBUTION/NAME; or a distribution.")],
    kind: Annotated[str | None, typer.Option(help="Kind, if components of several kinds have this name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show one component or plugin: its distribution, inputs or targets, options, paper and requirements."""
    found = catalog(ctx)
    entries, whole = _meant(found, name, kind)
    shown: list[dict[str, Any]] = []
    failures: list[MmkitError] = []
    for entry in entries:
        fields = as_fields(entry) | {"requirements": _requirements(entry, found)}
        if not whole and entry.status in {"ok", "shadowed"}:
            try:
                fields |= _of_class(entry)
            except MmkitError as error:
                failures.append(error)
        if entry.traceback and setting(ctx).traceback:
            fields["traceback"] = entry.traceback
        shown.append(fields)
    if as_json:
        print(json.dumps({"schema": 1, "plugins": shown}, indent=1, default=str))
    elif whole:
        print(_distribution(entries, shown[0]))
    else:
        print("\n\n".join(_text(entry, fields) for entry, fields in zip(entries, shown, strict=True)))
    if failures:
        raise failures[0]


def _meant(found: Catalog, name: str, kind: str | None) -> tuple[list[Entry], bool]:
    """The components with a name, and False; else the components of the distribution with that name, and True."""
    entries = found.named(name, kind)
    if entries and "/" not in name:
        entries = [entry for entry in entries if entry.status != "shadowed"] or entries
    if entries:
        return entries, False
    entries = [
        entry
        for entry in found.entries
        if normalised(entry.distribution) == normalised(name) and kind in {None, entry.kind}
    ]
    if entries:
        return entries, True
    names = {entry.name for entry in found.entries if kind in {None, entry.kind}}
    names |= {entry.full_name for entry in found.entries if "/" in name and kind in {None, entry.kind}}
    raise UsageError(f"there is no {kind or 'component or plugin'} {name}; {one_of(names, name)}")


def _of_class(entry: Entry) -> dict[str, Any]:
    """Options and description, which need the component to be imported."""
    component = entry.load()
    factories = (component, component.reads) if hasattr(component, "reads") else (component,)
    options = [
        {"name": o.name, "type": describe(o.annotation), "default": o.default, "help": o.help}
        for o in options_of(*factories).values()
    ]
    return {"options": options} | ({"description": component.description} if hasattr(component, "description") else {})


def _requirements(entry: Entry, found: Catalog) -> list[dict[str, object]]:
    try:
        return [
            {"requirement": needed, "installed": version, "met": met}
            for needed, version, met in requirements(entry.requires, found.versions)
        ]
    except ValueError:  # old metadata may not be PEP 508
        return [{"requirement": line, "installed": None, "met": None} for line in entry.requires]


def _needs(spec: Spec | None) -> str:
    """What a component takes, or a task has, in words."""
    if isinstance(spec, EncoderSpec):
        return f"an input of modality {spec.modality}"
    if isinstance(spec, FusionSpec):
        read = "vectors" if spec.vectors else spec.combines
        return f"the {read} of {_count(spec.min_inputs, spec.max_inputs)}"
    if isinstance(spec, HeadSpec):
        return f"targets of kind {' or '.join(spec.targets)}"
    if isinstance(spec, ObjectiveSpec):
        return _count(spec.min_inputs, None) + (", each with its own head" if spec.unimodal else "")
    if isinstance(spec, TaskSpec):
        inputs = ", ".join(f"{name} ({modality})" for name, modality in spec.modalities)
        return f"inputs {inputs}; target {spec.target}" if inputs else "inputs and target by its options"
    return ""


def _count(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} or more inputs"
    return f"{low} to {high} inputs" if high != low else f"{low} input{'s' * (low != 1)}"


def _distribution(entries: list[Entry], fields: dict[str, Any]) -> str:
    """A distribution and its components, one per line."""
    lines = [f"{entries[0].distribution} {entries[0].version}", *_required(fields), "  components"]
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        text = "  ".join(part for part in (entry.status, entry.summary, entry.reason) if part)
        lines.append(f"    {entry.kind:<9}  {entry.name:<{width}}  {text}")
    return "\n".join(lines)


def _required(fields: dict[str, Any]) -> list[str]:
    needed = [
        f"{r['requirement']} ({r['installed'] or 'not installed'}{'' if r['met'] else ', does not satisfy it'})"
        for r in fields["requirements"]
    ]
    return [f"  requires   {', '.join(needed)}"] if needed else []


def _text(entry: Entry, fields: dict[str, Any]) -> str:
    """A component as text, one fact per line."""
    spec = entry.spec
    facts = {
        "status": f"{entry.status}: {entry.reason}" if entry.reason else entry.status,
        "place": entry.place if entry.status == "broken" else "",
        "full name": entry.full_name if spec else "",
        "from": f"{entry.distribution} {entry.version}",
        "reference": spec.reference if spec else "",
        "has" if isinstance(spec, TaskSpec) else "takes": _needs(spec),
        "encoder": fields.get("encoder") or "",
        "licence": fields.get("licence", ""),
        "paper": spec.paper if spec else "",
        "about": " ".join(fields.get("description", "").split()),
        "options": "none" if fields.get("options") == [] else "",
    }
    lines = [f"{entry.kind} {entry.name}", *([f"  {entry.summary}"] if entry.summary else [])]
    lines += [f"  {name:<9}  {value}" for name, value in facts.items() if value]
    rows = [(o["name"], o["type"], write_value(o["default"]), o["help"]) for o in fields.get("options", [])]
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines.append("  options    name, type, default, help")
        lines += [
            "    "
            + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        ]
    lines += _required(fields)
    if entry.traceback:
        text = fields.get("traceback", "  --traceback shows where it comes from")
        lines += ["", *text.rstrip().splitlines()]
    return "\n".join(lines)
