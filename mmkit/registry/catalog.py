"""What is installed: every component with its status, and one of them by name with its options checked.

Nothing here imports a component before it is chosen, and nothing here imports torch.
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
    """All entries, by kind, those of mmkit first, then by name.

    Args:
        entries: components, and plugins that could not be loaded.
        versions: of every installed distribution, by normalised name.
    """

    entries: tuple[Entry, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    def available(self, kind: str) -> list[Entry]:
        """What can be chosen by its name."""
        return [entry for entry in self.entries if entry.kind == kind and entry.status == "ok"]

    def named(self, name: str, kind: str | None = None) -> list[Entry]:
        """Every entry that a bare or full name may mean, whatever its status, of one kind or of all."""
        distribution, slash, bare = name.rpartition("/")
        return [
            entry
            for entry in self.entries
            if kind in {None, entry.kind}
            and entry.name == bare
            and (not slash or normalised(entry.distribution) == normalised(distribution))
        ]

    def find(self, kind: str, name: str) -> Entry:
        """The component of that name: mmkit's own, else the one and only; "distribution/name" is always exact.

        Raises:
            UsageError: nothing, or more than one thing, has this name.
            UnavailableError: it is there but cannot be chosen, for the reason that `list-plugins` shows.
        """
        found = self.named(name, kind)
        usable = [entry for entry in found if entry.status == "ok" or ("/" in name and entry.status == "shadowed")]
        if len(usable) == 1:
            return usable[0]
        if usable:
            raise UsageError(f"{kind} {name} is ambiguous; write {' or '.join(entry.full_name for entry in usable)}")
        if found:
            raise UnavailableError(f"{kind} {name} is {found[0].status}: {found[0].why}")
        raise self._unknown(kind, name)

    def _unknown(self, kind: str, name: str) -> UsageError | UnavailableError:
        unloaded = [entry for entry in self.entries if entry.kind == "plugin"]
        owner = normalised(name.rpartition("/")[0])
        for entry in unloaded:
            if normalised(entry.distribution) == owner:
                return UnavailableError(f"{kind} {name}: plugin {entry.full_name} is {entry.status}: {entry.why}")
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
        """One component with all its options checked and resolved.

        Args:
            kind: of component.
            what: "NAME:key=value,...", a class, or a choice to change.
            options: these beat those in the text, and those of the choice; or a function that gives them, called with
                the component's schema.
            spec: of a class, where something will ask for it.

        Raises:
            UsageError: there is no such name or option, or the option does not take the value.
            UnavailableError: the component cannot be had here.
            ContractError: the component does not keep the contract.
        """
        given: dict[str, object] = {}
        distribution: dict[str, str] = {}
        if isinstance(what, Choice):
            name, component, spec, given = what.name, what.component, spec or what.spec, dict(what.options)
            distribution = what.distribution
        elif isinstance(what, type):
            name, component = f"{what.__module__}.{what.__qualname__}", what
        elif not isinstance(what, str):
            raise UsageError(
                f"a {kind} is given by its name or as a class; got an object of {type(what).__name__}: give the class, "
                "and its options beside it"
            )
        else:
            asked, texts = parse_component(what)
            given |= {key: Text(text) for key, text in texts.items()}
            entry = self.find(kind, asked)
            alone = [one for one in self.named(entry.name, kind) if one.status == "ok"] == [entry]
            name, component, spec = entry.name if alone else entry.full_name, entry.load(), entry.spec
            distribution = {entry.distribution: entry.version}
        factories = (component, component.reads) if hasattr(component, "reads") else (component,)
        schema = options_of(*factories)
        asked_for = options(schema) if callable(options) else options or {}
        resolved = validated(f"{kind} {name}", {**given, **asked_for}, schema)
        inner = tuple(self.choose(of, inside) for of, inside in components_in(resolved, schema))
        return Choice(kind, name, spec, factories, resolved, distribution, inner)


def installed(
    blocked: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    path: Iterable[str] | None = None,
    sources: Sequence[Registration] = (),
) -> Catalog:
    """What is installed on this machine, with nothing but the plugins' entry modules imported.

    Args:
        blocked: distributions that are not to be imported, besides those of MMKIT_DISABLE_PLUGINS. Where
            MMKIT_PLUGINS is set, the distributions that it names and mmkit's own are the only ones to be imported.
        environ: the environment, `os.environ` where none is given; both variables hold names with commas between.
        path: where to look, `sys.path` where none is given.
        sources: of distributions that are not installed; each takes the place of an installed one of its name.

    Raises:
        UsageError: a name in `blocked` is not that of a plugin.
    """
    environ = os.environ if environ is None else environ
    found = scan(path)
    if sources:
        found = _beside(found, sources)
    plugins = {normalised(registration.distribution) for registration in found.registrations}
    asked = {normalised(name) for name in blocked}
    for name in sorted(asked - plugins):
        raise UsageError(f"there is no plugin {name} to leave out; {one_of(plugins, name)}")
    allowed = _names(environ["MMKIT_PLUGINS"]) if "MMKIT_PLUGINS" in environ else None
    return Catalog(entries(found, asked | _names(environ.get("MMKIT_DISABLE_PLUGINS", "")), allowed), found.versions)


def _beside(found: Found, sources: Sequence[Registration]) -> Found:
    given = {normalised(source.distribution): source.version for source in sources}
    kept = [r for r in found.registrations if normalised(r.distribution) not in given]
    return Found((*kept, *sources), {**found.versions, **given})


def _names(text: str) -> set[str]:
    return {normalised(name.strip()) for name in text.split(",") if name.strip()}
