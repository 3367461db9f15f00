"""`mmkit plugins check`: does a component keep the contract?"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import mmkit.testing
from mmkit.cli.setting import catalog
from mmkit.errors import MmkitError, UnavailableError, UsageError, one_of
from mmkit.registry.catalog import Catalog, Entry
from mmkit.registry.discovery import normalised
from mmkit.registry.hooks import in_words, place_of
from mmkit.registry.options import parse_component
from mmkit.registry.source_folder import open_folder
from mmkit.system.files import at_home

CHECKED = {"ok", "shadowed", "broken"}
"""Statuses of what is checked; a broken one fails."""


def check(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FOLDER]",
            help="A component, NAME or DISTRIBUTION/NAME, options too; a DISTRIBUTION; or its folder, "
            "which need not be installed.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is installed.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only components of this kind.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Also the checks that take seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Run the conformance kit. Exits 0 where no check failed, else 1.

    A component that cannot even be registered or imported is a failure of its own; the others are checked all the
    same. Advice that is not heeded is shown, and fails nothing: a correct method may have its reasons.
    """
    if bool(name) == everything:
        raise UsageError("name one component, distribution or folder, or say --all")
    found, bare, options, whole = _found(ctx, name or "")
    kinds = {entry.kind for entry in found.entries if entry.kind != "plugin"}
    if kind is not None and kind not in kinds:
        raise UsageError(f"--kind {kind}: {one_of(kinds, kind)}")
    if options:
        parse_component(name or "")  # says what is wrong with it
    reports = []
    for entry in _of_distribution(found, bare, kind) if whole else _meant(found, bare, kind):
        report = _report(found, entry, options, full=full)
        reports.append(report)
        if not as_json:
            print(report["text"], flush=True)
    good = all(report["ok"] or not report["examined"] for report in reports)
    if as_json:
        documents = [{key: value for key, value in report.items() if key != "text"} for report in reports]
        print(json.dumps({"schema": 1, "ok": good, "components": documents}, indent=1))
    elif len(reports) > 1:
        kept, beyond = sum(report["ok"] for report in reports), sum(not report["examined"] for report in reports)
        rest = f", {beyond} not examined" if beyond else ""
        print(f"{len(reports)} components: {kept} keep the contract, {len(reports) - kept - beyond} do not{rest}")
    if not good:
        raise typer.Exit(1)


def _found(ctx: typer.Context, name: str) -> tuple[Catalog, str, str, bool]:
    """The catalog, the name to be looked up in it, ":OPTIONS" where some are given, and True where it is a folder's.

    A folder is meant where the text begins as a path does, or where nothing has the name and a folder has.
    """
    if not name.startswith((".", "/", "~")):
        found = catalog(ctx)
        bare, colon, options = name.partition(":")
        known = found.named(bare) or normalised(bare) in {normalised(entry.distribution) for entry in found.entries}
        if known or not name or not Path(name).is_dir():
            return found, bare, f"{colon}{options}", False
    sources = open_folder(at_home(name))
    return catalog(ctx, sources), sources[0].distribution, "", True


def _meant(found: Catalog, name: str, kind: str | None) -> list[Entry]:
    """The components of that name, else those of the distribution of that name; all where the name is empty."""
    named = [entry for entry in found.named(name, kind) if entry.kind != "plugin"]
    if "/" not in name:
        named = [entry for entry in named if entry.status != "shadowed"] or named
    if not named:
        return _of_distribution(found, name, kind)
    kinds = {entry.kind for entry in named if entry.status != "broken"}
    for each in kinds if "/" not in name else ():
        found.find(each, name)  # says so where two have the name, or it is not available on this machine
    if unusable := [entry for entry in named if entry.status not in CHECKED]:
        raise UnavailableError(f"{unusable[0].kind} {name} is {unusable[0].status}: {unusable[0].reason}")
    return named


def _of_distribution(found: Catalog, name: str, kind: str | None) -> list[Entry]:
    """The components of a distribution, or of all where the name is empty.

    What is broken is among them; what only lacks something on this machine is said on stderr and left out.
    """
    listed = [entry for entry in found.entries if kind in {None, entry.kind}]
    if name:
        listed = [entry for entry in listed if normalised(entry.distribution) == normalised(name)]
        if unloaded := [entry for entry in listed if entry.kind == "plugin" and entry.name == entry.distribution]:
            raise UnavailableError(f"plugin {unloaded[0].name} is {unloaded[0].status}: {unloaded[0].why}")
    if not listed:
        names = {entry.name for entry in found.entries if kind in {None, entry.kind}}
        raise UsageError(f"there is no {kind or 'component or plugin'} {name}; {one_of(names, name)}")
    for entry in listed:
        if entry.status == "missing-deps" and entry.kind != "plugin":
            print(f"mmkit: {entry.kind} {entry.full_name} is {entry.status}: {entry.reason}", file=sys.stderr)
    return [entry for entry in listed if entry.status in CHECKED]


def _report(found: Catalog, entry: Entry, options: str, *, full: bool) -> dict[str, Any]:
    """What the kit finds, and whose the component is; stdout is for results alone."""
    whose = {
        "name": entry.name,
        "full_name": entry.full_name,
        "distribution": entry.distribution,
        "version": entry.version,
        "summary": entry.summary,
    }

    def failed(reason: str, place: str) -> dict[str, Any]:
        text = f"{entry.kind} {entry.full_name}: {reason}"
        told = {
            "ok": False,
            "examined": True,
            "counts": {},
            "checks": [],
            "reason": reason,
            "place": place,
            "text": text,
        }
        return {"kind": entry.kind, **whose, **told}

    if entry.spec is None:
        return failed(f"broken: {entry.why}", entry.place)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            entry.load()
            examination = mmkit.testing.Examination(entry.kind, f"{entry.full_name}{options}", catalog=found)
            report = examination.report(full=full)
    except UsageError as error:
        if options:  # the user's, and there is one component
            raise
        return failed(f"{error} ({entry.place})" if entry.place else str(error), entry.place)
    except MmkitError as error:  # it cannot even be imported
        return failed(str(error), entry.place)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (what it raises where the kit sets it up costs only itself)
        place = place_of(error) or entry.place
        return failed(f"{in_words(error)} ({place})", place)
    place = "" if report.ok or not report.examined else _place_of_class(examination) or entry.place
    text = f"{report}\n  it stands in {place}" if place else str(report)
    return {**report.to_json(), **whose, "reason": "", "place": place, "text": text}


def _place_of_class(examination: mmkit.testing.Examination) -> str:
    """FILE:LINE of a component's class."""
    try:
        component = examination.choice.component
        return f"{inspect.getsourcefile(component)}:{inspect.getsourcelines(component)[1]}"
    except (AttributeError, OSError, TypeError):  # it was not even chosen, or has no source
        return ""
