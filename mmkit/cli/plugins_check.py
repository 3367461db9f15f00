"""`mmkit plugins check`: does a component keep the contract?"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated, Any

import typer

import mmkit.testing
from mmkit.cli.setting import catalog
from mmkit.errors import MmkitError, UnavailableError, UsageError, one_of
from mmkit.plugin import Spec
from mmkit.registry.catalog import Catalog, Entry
from mmkit.registry.discovery import normalised
from mmkit.registry.options import parse_component


def check(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A component, NAME or DISTRIBUTION/NAME, options too; or a DISTRIBUTION.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is installed.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only components of this kind.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Also the checks that take seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Run the conformance kit. Exits 0 where the contract is kept, 1 where a check failed.

    Advice that is not heeded is shown, and fails nothing: a correct method may have its reasons.
    """
    found = catalog(ctx)
    kinds = {entry.kind for entry in found.entries if entry.spec is not None}
    if kind is not None and kind not in kinds:
        raise UsageError(f"--kind {kind}: {one_of(kinds, kind)}")
    if (name is None) != everything:
        raise UsageError("name one component or distribution, or say --all")
    bare, colon, options = (name or "").partition(":")
    if colon:
        parse_component(name or "")  # says what is wrong with it
    entries = _meant(found, bare, kind)
    reports = []
    for entry in entries:
        report = _report(found, entry, f"{colon}{options}", full=full)
        reports.append(report)
        if not as_json:
            print(report["text"], flush=True)
    good = all(report["ok"] for report in reports)
    if as_json:
        documents = [{key: value for key, value in report.items() if key != "text"} for report in reports]
        print(json.dumps({"schema": 1, "ok": good, "components": documents}, indent=1))
    elif len(reports) > 1:
        wrong = sum(not report["ok"] for report in reports)
        print(f"{len(reports)} components: {len(reports) - wrong} keep the contract, {wrong} do not")
    if not good:
        raise typer.Exit(1)


def _meant(found: Catalog, name: str, kind: str | None) -> list[Entry]:
    """The components of that name, of the distribution of that name, or all where the name is empty."""
    components = [entry for entry in found.entries if entry.spec is not None and kind in {None, entry.kind}]
    named = [entry for entry in found.named(name, kind) if entry.spec is not None]
    if "/" not in name:
        named = [entry for entry in named if entry.status != "shadowed"] or named
    if named:
        kinds = {entry.kind for entry in named}
        for each in kinds if "/" not in name else ():
            found.find(each, name)  # says so where two have the name, or it cannot be had
        if unusable := [entry for entry in named if entry.status not in {"ok", "shadowed"}]:
            raise UnavailableError(f"{unusable[0].kind} {name} is {unusable[0].status}: {unusable[0].reason}")
        return named
    if name:
        components = [entry for entry in components if normalised(entry.distribution) == normalised(name)]
    if not components:
        broken = [entry for entry in found.entries if entry.spec is None and normalised(entry.name) == normalised(name)]
        if broken:
            raise UnavailableError(f"plugin {broken[0].name} is {broken[0].status}: {broken[0].reason}")
        names = {entry.name for entry in found.entries if kind in {None, entry.kind}}
        raise UsageError(f"there is no {kind or 'component or plugin'} {name}; {one_of(names, name)}")
    for entry in components:
        if entry.status not in {"ok", "shadowed"}:
            print(f"mmkit: {entry.kind} {entry.full_name} is {entry.status}: {entry.reason}", file=sys.stderr)
    return [entry for entry in components if entry.status in {"ok", "shadowed"}]


def _report(found: Catalog, entry: Entry, options: str, *, full: bool) -> dict[str, Any]:
    """What the kit finds, and whose the component is; stdout is for results alone."""
    whose = {
        "name": entry.name,
        "full_name": entry.full_name,
        "distribution": entry.distribution,
        "version": entry.version,
        "summary": _summary(entry.spec),
    }
    try:
        with contextlib.redirect_stdout(sys.stderr):
            examination = mmkit.testing.Examination(entry.kind, f"{entry.full_name}{options}", catalog=found)
            report = examination.report(full=full)
    except UsageError:
        raise
    except MmkitError as error:  # it cannot even be imported: the others are checked all the same
        text = f"{entry.kind} {entry.full_name}: {error}"
        return {
            "kind": entry.kind,
            **whose,
            "ok": False,
            "counts": {},
            "checks": [],
            "reason": str(error),
            "text": text,
        }
    return {**report.to_json(), **whose, "reason": "", "text": str(report)}


def _summary(spec: Spec | None) -> str:
    return spec.summary if spec else ""
