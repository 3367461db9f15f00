"""`mmkit plugins show`: one component or plugin, closely."""

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
    name: Annotated[str, typer.Argument(help="A component, NAME or DISTRIBUTION/NAME; or a DISTRIBUTION.")],
    kind: Annotated[str | None, typer.Option(help="Which, where components of several kinds have this name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """All there is to know of one component or plugin: who provides it, what it takes, its options and papers."""
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
    """The entries of that name; else those of the distribution of that name, and True."""
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
    """What only the component itself can tell; imports it."""
    component = entry.load()
    factories = (component, component.reads) if hasattr(component, "reads") else (component,)
    options = [
        {"name": o.name, "type": describe(o.annotation), "default": o.default, "help": o.help}
        for o in options_of(*factories).values()
    ]
    told = {"options": options}
    return told | ({"description": component.description} if hasattr(component, "description") else {})


def _requirements(entry: Entry, found: Catalog) -> list[dict[str, object]]:
    try:
        return [
            {"requirement": needed, "installed": version, "met": met}
            for needed, version, met in requirements(entry.requires, found.versions)
        ]
    except ValueError:  # old metadata may not be PEP 508
        return [{"requirement": line, "installed": None, "met": None} for line in entry.requires]


def _needs(spec: Spec | None) -> str:
    """What a component takes, in words."""
    if isinstance(spec, EncoderSpec):
        return f"an input of modality {spec.modality}"
    if isinstance(spec, FusionSpec):
        read = "vectors" if spec.vectors else spec.combines
        return f"the {read} of {_count(spec.min_inputs, spec.max_inputs)}"
    if isinstance(spec, HeadSpec):
        return f"targets of the kinds {', '.join(spec.targets)}"
    if isinstance(spec, ObjectiveSpec):
        return _count(spec.min_inputs, None) + (", with a head each" if spec.unimodal else "")
    if isinstance(spec, TaskSpec):
        inputs = ", ".join(f"{name} ({modality})" for name, modality in spec.modalities)
        return f"inputs {inputs}; target {spec.target}"
    return ""


def _count(least: int, most: int | None) -> str:
    if most is None:
        return f"{least} or more inputs"
    return f"{least} to {most} inputs" if most != least else f"{least} input{'s' * (least != 1)}"


def _distribution(entries: list[Entry], fields: dict[str, Any]) -> str:
    """A distribution and its components, one a line."""
    lines = [f"{entries[0].distribution} {entries[0].version}", *_required(fields), "  components"]
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        told = "  ".join(part for part in (entry.status, entry.summary, entry.reason) if part)
        lines.append(f"    {entry.kind:<9}  {entry.name:<{width}}  {told}")
    return "\n".join(lines)


def _required(fields: dict[str, Any]) -> list[str]:
    needed = [
        f"{r['requirement']} ({r['installed'] or 'not installed'}{'' if r['met'] else ', does not serve'})"
        for r in fields["requirements"]
    ]
    return [f"  requires   {', '.join(needed)}"] if needed else []


def _text(entry: Entry, fields: dict[str, Any]) -> str:
    """What is known, one fact a line."""
    spec = entry.spec
    facts = {
        "status": f"{entry.status}: {entry.reason}" if entry.reason else entry.status,
        "place": entry.place if entry.status == "broken" else "",
        "full name": entry.full_name if spec else "",
        "from": f"{entry.distribution} {entry.version}",
        "reference": spec.reference if spec else "",
        "asks" if isinstance(spec, TaskSpec) else "takes": _needs(spec),
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
        told = fields.get("traceback", "  --traceback shows where it comes from")
        lines += ["", *told.rstrip().splitlines()]
    return "\n".join(lines)
