"""The catalog of installed components: all of them with their statuses, and one by name with its options checked.

A component is imported only when it is chosen. Nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmkit.errors import UnavailableError, UsageError, one_of
from mmkit.plugin import Spec
from mmkit.registry.discovery import Found, Registration, normalised, scan
from mmkit.registry.entries import BUILTIN, Entry, Status, entries
from mmkit.registry.hooks import KINDS
from mmkit.registry.options import Choice, Option, Text, components_in, options_of, parse_component, validated

__all__ = ["BUILTIN", "KINDS", "Catalog", "Entry", "Status", "installed"]


@dataclass(frozen=True)
class Catalog:
    """All entries, ordered by kind, then mmkit's own first, then by name.

    Args:
        entries: components, and plugins that could not be loaded.
        versions: of all installed distributions, by normalised name.
        doubled: a line for each plugin that is there in several versions.
    """

    entries: tuple[Entry, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    doubled: tuple[str, ...] = ()

    def available(self, kind: str) -> list[Entry]:
        """The components of a kind that can be chosen by their bare names."""
        return [entry for entry in self.entries if entry.kind == kind and entry.status == "ok"]

    def named(self, name: str, kind: str | None = None) -> list[Entry]:
        """All entries that a bare or full name matches, of any status, of one kind or of all kinds."""
        distribution, slash, bare = name.rpartition("/")
        return [
            entry
            for entry in self.entries
            if kind in {None, entry.kind}
            and entry.name == bare
            and (not slash or normalised(entry.distribution) == normalised(distribution))
        ]

    def find(self, kind: str, name: str) -> Entry:
        """The component with that name. A bare name must be unique; "distribution/name" always is.

        Raises:
            UsageError: no component, or more than one, has this name.
            UnavailableError: the component is installed but cannot be chosen, for the reason `list-plugins` shows.
        """
        matching = self.named(name, kind)
        usable = [entry for entry in matching if entry.status == "ok" or ("/" in name and entry.status == "shadowed")]
        if len(usable) == 1:
            return usable[0]
        if usable:
            raise UsageError(f"{kind} {name} is ambiguous; write {' or '.join(entry.full_name for entry in usable)}")
        if matching:
            raise UnavailableError(f"{kind} {name} is {matching[0].status}: {matching[0].why}")
        raise self._unknown(kind, name)

    def _unknown(self, kind: str, name: str) -> UsageError | UnavailableError:
        if "," in name:
            return UsageError(
                f"there is no {kind} {name}; give a {kind} that has options apart: --{kind} A --{kind} B:key=1"
            )
        unloaded = [entry for entry in self.entries if entry.kind == "plugin"]
        owner = normalised(name.rpartition("/")[0])
        for entry in unloaded:
            if normalised(entry.distribution) == owner:
                return UnavailableError(
                    f"there is no {kind} {name}; plugin {entry.full_name} is {entry.status}: {entry.why}"
                )
        names = [entry.full_name if owner else entry.name for entry in self.entries if entry.kind == kind]
        hint = "".join(f"; plugin {entry.full_name} is {entry.status}" for entry in unloaded)
        return UsageError(f"there is no {kind} {name}; {one_of(names, name)}{hint}")

    def choose(
        self,
        kind: str,
        what: str | type | Choice,
        options: Mapping[str, object] | Callable[[Mapping[str, Option]], Mapping[str, object]] | None = None,
        *,
        spec: Spec | None = None,
    ) -> Choice:
        """Choose one component, with all its options checked and defaults filled in.

        Args:
            kind: of component.
            what: "NAME:key=value,...", a class, or a choice to change.
            options: override those of `what`; or a function that returns them, called with the component's schema.
            spec: of a class, for code that reads it.

        Raises:
            UsageError: an unknown name or option, or a value that the option does not take.
            UnavailableError: the component is not available on this machine.
            ContractError: the component breaks the contract.
        """
        given: dict[str, object] = {}
        distribution: dict[str, str] = {}
        named: Iterable[str] = given  # the options that the user gave
        if isinstance(what, Choice):
            name, component, spec, given = what.name, what.component, spec or what.spec, dict(what.options)
            distribution, named = what.distribution, what.given
        elif isinstance(what, type):
            name, component = f"{what.__module__}.{what.__qualname__}", what
        elif not isinstance(what, str):
            raise UsageError(
                f"a {kind} is given by its name or as a class; got an object of type {type(what).__name__}: give the "
                "class, and its options separately"
            )
        else:
            given_name, texts = parse_component(what)
            given |= {key: Text(text) for key, text in texts.items()}
            entry = self.find(kind, given_name)
            unique = [one for one in self.named(entry.name, kind) if one.status == "ok"] == [entry]
            name, component, spec = entry.name if unique else entry.full_name, entry.load(), entry.spec
            distribution = {entry.distribution: entry.version}
        factories = (component, component.reads) if hasattr(component, "reads") else (component,)
        schema = options_of(*factories)
        overriding = options(schema) if callable(options) else options or {}
        resolved = validated(f"{kind} {name}", {**given, **overriding}, schema)
        inner = tuple(self.choose(of, inside) for of, inside in components_in(resolved, schema))
        by_user = frozenset([*named, *overriding])
        return Choice(kind, name, spec, factories, resolved, distribution, inner, by_user)


def installed(
    blocked: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    path: Iterable[str] | None = None,
    sources: Sequence[Registration] = (),
) -> Catalog:
    """The catalog of this machine. Only the entry modules of plugins are imported, no components.

    Args:
        blocked: distributions that are not imported, besides those in MMKIT_DISABLE_PLUGINS. If MMKIT_PLUGINS is set,
            only the distributions that it names and mmkit's own are imported.
        environ: the environment; None is `os.environ`. Both variables hold names separated by commas.
        path: where to search; None is `sys.path`.
        sources: entry points of distributions that are not installed; each replaces an installed one of its name.

    Raises:
        UsageError: a name in `blocked` is not that of a plugin.
    """
    environ = os.environ if environ is None else environ
    discovered = scan(path)
    if sources:
        discovered = _beside(discovered, sources)
    plugins = {normalised(registration.distribution) for registration in discovered.registrations}
    unwanted = {normalised(name) for name in blocked}
    for name in sorted(unwanted - plugins):
        raise UsageError(f"there is no plugin {name} to leave out; {one_of(plugins, name)}")
    allowed = _names(environ["MMKIT_PLUGINS"]) if "MMKIT_PLUGINS" in environ else None
    unwanted |= _names(environ.get("MMKIT_DISABLE_PLUGINS", ""))
    return Catalog(entries(discovered, unwanted, allowed), discovered.versions, discovered.doubled)


def _beside(found: Found, sources: Sequence[Registration]) -> Found:
    given = {normalised(source.distribution): source.version for source in sources}
    kept = [r for r in found.registrations if normalised(r.distribution) not in given]
    return Found((*kept, *sources), {**found.versions, **given}, found.doubled)


def _names(text: str) -> set[str]:
    return {normalised(name.strip()) for name in text.split(",") if name.strip()}
