"""From registrations to entries: each plugin filtered, imported and asked for its specs alone.

Whatever a plugin does at import, raising or calling `sys.exit`, costs only itself: it becomes one entry that says why.
A spec that cannot be used costs only itself, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from mmkit.errors import ContractError, UnavailableError
from mmkit.plugin import GROUP, Spec
from mmkit.registry.discovery import Found, Registration, normalised
from mmkit.registry.hooks import KINDS, Registered, imported, in_words, place_of, registered

BUILTIN = "mmkit-core"
Status = Literal["ok", "missing-deps", "blocked", "broken", "incompatible", "shadowed"]


@dataclass(frozen=True)
class Entry:
    """One component; or one plugin, or a part of it, that could not be loaded (its kind is then "plugin").

    Args:
        kind: of component, one of `KINDS`; or "plugin".
        name: of the component; of the distribution for a plugin, or of the function that was meant for a hook.
        full_name: "distribution/name", which always works.
        distribution: that registered it.
        version: of the distribution.
        status: "ok", or why it cannot be chosen by its bare name.
        reason: the status in words.
        summary: one line.
        spec: what was registered; None where it cannot be used, and for a plugin.
        requires: the requirements of its distribution, and the component's own (PEP 508).
        traceback: of what broke the plugin, where something was raised.
        place: FILE:LINE, of the hook that gives the component or of what broke the plugin; empty where not known.
    """

    kind: str
    name: str
    full_name: str
    distribution: str
    version: str
    status: Status
    reason: str = ""
    summary: str = ""
    spec: Spec | None = None
    requires: tuple[str, ...] = ()
    traceback: str = ""
    place: str = ""

    @property
    def why(self) -> str:
        """The reason, and where to look."""
        return f"{self.reason} ({self.place})" if self.place else self.reason

    def load(self) -> type:
        """The component's class; imports its module.

        Raises:
            UnavailableError: its module cannot be imported here.
            ContractError: what the spec names is not there, or is no class.
        """
        if self.spec is None:
            what = f"plugin {self.full_name}" if self.kind == "plugin" else f"{self.kind} {self.full_name}"
            raise UnavailableError(f"{what} is {self.status}: {self.why}")
        module, _, attribute = self.spec.reference.partition(":")
        of = f"{self.kind} {self.name} of {self.distribution} {self.version}".rstrip()
        refers, given = f"{of} refers to {self.spec.reference}", f" ({self.place})" if self.place else ""
        try:
            found: object = imported(module)
            for part in attribute.split("."):
                found = getattr(found, part, None)  # of a module that imports it only now it may raise anything
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the component's own sys.exit, too, is only its own
            if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
                raise ContractError(f"{refers}; there is no module {error.name}{given}") from error
            where = f" ({place})" if (place := place_of(error)) else ""
            raise UnavailableError(f"{of} cannot be imported: {in_words(error)}{where}") from error
        if not isinstance(found, type):
            raise ContractError(f"{refers}, which is not a class but {found!r}{given}")
        return found


def entries(found: Found, blocked: Collection[str] = (), allowed: Collection[str] | None = None) -> tuple[Entry, ...]:
    """Every component that `found` registers, and every plugin that is not loaded; mmkit's own first, then by name.

    Args:
        found: by a scan.
        blocked: normalised names of distributions that are not imported.
        allowed: where given, every other distribution but mmkit's own is blocked, too.
    """
    listed: list[Entry] = []
    for _, of_one in groupby(found.registrations, key=lambda registration: normalised(registration.distribution)):
        listed += _of_distribution(list(of_one), found.versions, blocked, allowed)
    return tuple(sorted(_with_collisions(listed), key=_order))


def unmet(requires: Iterable[str], versions: Mapping[str, str]) -> list[str]:
    """Which requirements the installed versions do not meet, in words; read from metadata alone.

    Raises:
        packaging.requirements.InvalidRequirement: one is not PEP 508.
    """
    doubtful = [line for line in requires if not _plainly_met(line, versions)]
    if not doubtful:
        return []  # without importing packaging, which would double what listing a few plugins costs
    return [
        f"{needed} ({f'{version} is installed' if version else 'not installed'})"
        for needed, version, met in requirements(doubtful, versions)
        if not met
    ]


_OF_AN_EXTRA = re.compile(r""";\s*extra\s*==\s*["'][\w.-]+["']\s*$""")
_AT_LEAST = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:>=\s*(\d+(?:\.\d+)*))?$")
_RELEASE = re.compile(r"(\d+(?:\.\d+)*)(?:\+[\w.]+)?$")


def _plainly_met(line: str, versions: Mapping[str, str]) -> bool:
    """Whether a requirement of the commonest forms (a name, or a name and a floor) is met for sure, or asks nothing."""
    if _OF_AN_EXTRA.search(line):
        return True
    found = _AT_LEAST.match(line)
    version = versions.get(normalised(found[1])) if found else None
    if found is None or version is None:
        return False
    if found[2] is None:
        return True
    release = _RELEASE.match(version)
    return release is not None and _numbers(release[1]) >= _numbers(found[2])


def _numbers(version: str) -> list[int]:
    """Of a release, without zeros at its end: 2.0 is 2."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def requirements(requires: Iterable[str], versions: Mapping[str, str]) -> Iterator[tuple[str, str | None, bool]]:
    """Each requirement that applies here without extras, the version installed, and whether that serves."""
    from packaging.requirements import Requirement  # noqa: PLC0415 (mmkit alone needs none of it to list itself)

    for line in requires:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        version = versions.get(normalised(needed.name))
        needed.marker = None
        met = version is not None and (not version or needed.specifier.contains(version, prereleases=True))
        yield str(needed), version, met


def _of_distribution(
    registrations: Sequence[Registration],
    versions: Mapping[str, str],
    blocked: Collection[str],
    allowed: Collection[str] | None,
) -> list[Entry]:
    first = registrations[0]
    name = normalised(first.distribution)

    def unloaded(status: Status, reason: str, traceback: str = "", place: str = "") -> Entry:
        return Entry(
            "plugin",
            first.distribution,
            first.distribution,
            first.distribution,
            first.version,
            status,
            reason,
            requires=first.requires,
            traceback=traceback,
            place=place,
        )

    if name in blocked:
        return [unloaded("blocked", "by --no-plugin or MMKIT_DISABLE_PLUGINS")]
    if allowed is not None and name not in allowed and name != BUILTIN:
        return [unloaded("blocked", "not among the names in MMKIT_PLUGINS")]
    ours = [registration for registration in registrations if registration.group == GROUP]
    if not ours:
        groups = ", ".join(sorted({registration.group for registration in registrations}))
        return [unloaded("incompatible", f"registers for {groups}, and this mmkit reads {GROUP}")]
    # What pip checked when it installed mmkit is not checked again at every start.
    missing = [] if name == BUILTIN else _unmet_of_distribution(first.requires, versions)
    seen: set[tuple[str, str]] = set()
    listed: list[Entry] = []
    for registration in ours:
        try:
            listed += [_entry_of(first, given, missing, versions) for given in registered(registration, seen)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (a plugin that calls sys.exit costs only itself)
            import traceback  # noqa: PLC0415 (nothing broke, as a rule)

            told = "".join(traceback.format_exception(error))
            if isinstance(error, ImportError) and missing:
                listed.append(unloaded("missing-deps", f"needs {', '.join(missing)}", told, place_of(error)))
            else:
                listed.append(unloaded("broken", in_words(error), told, place_of(error)))
    return listed


def _entry_of(
    registration: Registration, given: Registered, missing: Sequence[str], versions: Mapping[str, str]
) -> Entry:
    """One spec with its status."""
    spec, reason = given.spec, given.reason
    needs: list[str] = []
    if spec is not None:
        try:
            needs = [*missing, *(unmet(spec.requires, versions) if spec.requires else [])]
        except ValueError as error:  # packaging's InvalidRequirement
            spec, reason = None, f"requires of {given.name}: {in_words(error)}"
    if needs:
        reason = f"needs {', '.join(needs)}"
    return Entry(
        given.kind,
        given.name,
        f"{registration.distribution}/{given.name}",
        registration.distribution,
        registration.version,
        "broken" if spec is None else "missing-deps" if needs else "ok",
        reason,
        spec.summary if spec else "",
        spec,
        (*registration.requires, *(spec.requires if spec else ())),
        given.traceback,
        given.place,
    )


def _unmet_of_distribution(requires: Sequence[str], versions: Mapping[str, str]) -> list[str]:
    if not requires:
        return []
    try:
        return unmet(requires, versions)
    except ValueError:  # old metadata may not be PEP 508; pip took it
        return []


def _with_collisions(listed: Sequence[Entry]) -> Iterator[Entry]:
    usable: dict[tuple[str, str], list[Entry]] = {}
    for entry in listed:
        if entry.status == "ok":
            usable.setdefault((entry.kind, entry.name), []).append(entry)
    for entry in listed:
        rivals = [rival for rival in usable.get((entry.kind, entry.name), []) if rival is not entry]
        if entry.status != "ok" or not rivals or _builtin(entry):
            yield entry
        elif any(map(_builtin, rivals)):
            reason = f"{entry.name} is mmkit's own; write {entry.full_name}"
            yield replace(entry, status="shadowed", reason=reason)
        else:
            others = ", ".join(rival.distribution for rival in rivals)
            yield replace(entry, reason=f"{others} has a {entry.name}, too; write {entry.full_name}")


def _builtin(entry: Entry) -> bool:
    return normalised(entry.distribution) == BUILTIN


def _order(entry: Entry) -> tuple[int, bool, str, str]:
    return (*KINDS, "plugin").index(entry.kind), not _builtin(entry), entry.name, entry.full_name
