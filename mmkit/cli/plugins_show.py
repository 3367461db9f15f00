"""`mmkit plugins show`: one component or plugin in detail."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mmkit.cli.list_plugins import as_fields
from mmkit.cli.needs import in_full
from mmkit.cli.reference import NAMES, Page, page
from mmkit.cli.setting import catalog, setting
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.plugin import FusionSpec, ModalitySpec, Spec, TaskSpec
from mmkit.registry.catalog import BUILTIN, Catalog, Entry
from mmkit.registry.discovery import normalised
from mmkit.registry.entries import requirements
from mmkit.registry.options import describe, options_of, write_value


def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Component, as NAME or DISTRIBUTION/NAME; a distribution; `train` for the options of training; or a "
            "kind of target (classes, labels, scalar, text) for its truth and its metrics."
        ),
    ],
    kind: Annotated[str | None, typer.Option(help="Kind, if components of several kinds have this name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show one component or plugin: its distribution, inputs or targets, options, paper and requirements.

    Of a modality, what its raw values are. Requirements that mmkit itself has are left out where they are met.
    """
    found = catalog(ctx)
    kinds = {*(entry.kind for entry in found.entries), *NAMES.values()}
    if kind is not None and kind not in kinds:
        raise UsageError(f"unknown --kind {kind}; {one_of(kinds, kind)}")
    told = page(name, kind)
    entries, whole = _meant(found, name, kind) if told is None or found.named(name, kind) else ([], False)
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
        pages = [{"kind": told.kind, "name": told.name, **told.fields}] if told else []
        print(json.dumps({"schema": 1, "plugins": shown, "pages": pages}, indent=1, default=str))
    elif whole:
        print(_distribution(entries, shown[0]))
    else:
        texts = [_text(entry, fields, found) for entry, fields in zip(entries, shown, strict=True)]
        print("\n\n".join([*texts, *([_page(told)] if told else [])]))
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
    names |= {other for other, of in NAMES.items() if kind in {None, of}}
    raise UsageError(f"there is no {kind or 'component or plugin'} {name}; {one_of(names, name)}")


def _of_class(entry: Entry) -> dict[str, Any]:
    """Options and description, which need the component to be imported."""
    component = entry.load()
    factories = (component, component.reads) if hasattr(component, "reads") else (component,)
    options = [
        {"name": o.name, "type": describe(o.annotation), "default": o.default, "help": o.help}
        for o in options_of(*factories).values()
    ]
    described = getattr(component, "description", None)
    if described is None and isinstance(entry.spec, ModalitySpec):
        described = inspect.getdoc(component)  # says what its raw values are
    return {"options": options} | ({} if described is None else {"description": described})


def _requirements(entry: Entry, found: Catalog) -> list[dict[str, object]]:
    try:
        return [
            {"requirement": needed, "installed": version, "met": met}
            for needed, version, met in requirements(entry.requires, found.versions)
        ]
    except ValueError:  # old metadata may not be PEP 508
        return [{"requirement": line, "installed": None, "met": None} for line in entry.requires]


def _distribution(entries: list[Entry], fields: dict[str, Any]) -> str:
    """A distribution and its components, one per line."""
    lines = [f"{entries[0].distribution} {entries[0].version}", *_required(fields["requirements"]), "  components"]
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        text = "  ".join(part for part in (entry.status, entry.summary, entry.reason) if part)
        lines.append(f"    {entry.kind:<9}  {entry.name:<{width}}  {text}")
    return "\n".join(lines)


def _own(fields: dict[str, Any], entry: Entry, found: Catalog) -> list[dict[str, Any]]:
    """The requirements that tell something: not met, the component's own, or not those of mmkit itself."""
    core = next((other for other in found.entries if other.distribution == BUILTIN), entry)
    names = {_project(str(needed["requirement"])) for needed in _requirements(core, found)}
    own = {_project(line) for line in (entry.spec.requires if entry.spec else ())}
    return [
        needed
        for needed in fields["requirements"]
        if not needed["met"] or _project(needed["requirement"]) in own or _project(needed["requirement"]) not in names
    ]


def _project(requirement: str) -> str:
    return normalised((re.match(r"[\w.-]+", requirement) or [requirement])[0])


def _page(told: Page) -> str:
    """A reference page as text."""
    lines = [f"{told.kind} {told.name}", f"  {told.fields['about']}"]
    facts = {name: text for name, text in told.fields.items() if name not in {"about", "options"}}
    lines += [f"  {name:<9}  {text}" for name, text in facts.items()]
    return "\n".join([*lines, *_options(told.fields.get("options", []))])


def _options(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Options as lines: name, type, default and help."""
    rows = [(o["name"], o["type"], write_value(o["default"]), o["help"]) for o in options]
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  options    name, type, default, help",
        *(
            "    "
            + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        ),
    ]


def _required(requirements: Sequence[Mapping[str, Any]]) -> list[str]:
    needed = [
        f"{r['requirement']} ({r['installed'] or 'not installed'}{'' if r['met'] else ', does not satisfy it'})"
        for r in requirements
    ]
    return [f"  requires   {', '.join(needed)}"] if needed else []


def _companion(spec: Spec | None) -> str:
    """The objective that comes along with a fusion, and how it is left out."""
    name = spec.companion if isinstance(spec, FusionSpec) else ""
    return f"objective {name}; --objective none leaves it out" if name else ""


def _text(entry: Entry, fields: dict[str, Any], found: Catalog) -> str:
    """A component as text, one fact per line."""
    spec = entry.spec
    facts = {
        "status": f"{entry.status}: {entry.reason}" if entry.reason else entry.status,
        "place": entry.place if entry.status == "broken" else "",
        "full name": entry.full_name if spec else "",
        "from": f"{entry.distribution} {entry.version}",
        "reference": spec.reference if spec else "",
        "has" if isinstance(spec, TaskSpec) else "takes": in_full(spec),
        "encoder": fields.get("encoder") or "",
        "licence": fields.get("licence", ""),
        "brings": _companion(spec),
        "formula": spec.formula if spec else "",
        "paper": spec.paper if spec else "",
        "avoids": spec.avoids if spec else "",
        "about": " ".join(fields.get("description", "").split()),
        "options": "none" if fields.get("options") == [] else "",
    }
    lines = [f"{entry.kind} {entry.name}", *([f"  {entry.summary}"] if entry.summary else [])]
    lines += [f"  {name:<9}  {value}" for name, value in facts.items() if value]
    lines += _options(fields.get("options", []))
    lines += _required(_own(fields, entry, found))
    if entry.traceback:
        text = fields.get("traceback", "  --traceback shows where it comes from")
        lines += ["", *text.rstrip().splitlines()]
    return "\n".join(lines)
