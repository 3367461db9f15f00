"""What the entry modules of one distribution register: imported, asked, and every spec checked."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterable, Iterator

import pluggy

from mmkit import plugin
from mmkit.errors import ContractError
from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, Spec, TaskSpec
from mmkit.registry.discovery import Registration

HOOKS: dict[str, type[Spec]] = {
    "mmkit_tasks": TaskSpec,
    "mmkit_modalities": ModalitySpec,
    "mmkit_encoders": EncoderSpec,
    "mmkit_fusions": FusionSpec,
    "mmkit_heads": HeadSpec,
    "mmkit_objectives": ObjectiveSpec,
}
KINDS = tuple(spec.kind for spec in HOOKS.values())
RESERVED = {"all", "none", "only"}


def imported(module: str) -> types.ModuleType:
    """The module of that name; what it prints goes to stderr."""
    # What a stranger's module prints must not stand in the middle of a result.
    with contextlib.redirect_stdout(sys.stderr):
        return importlib.import_module(module)


def registered(registrations: Iterable[Registration]) -> Iterator[Spec]:
    """All specs of one distribution, checked.

    Raises:
        ContractError: a hook is unknown or undecorated, none is there, or what one gives is no good spec.
    """
    seen = set()
    for registration in registrations:
        module = imported(registration.module)
        # A manager of its own for each plugin: a failure leaves nothing half-registered beside the others.
        manager = pluggy.PluginManager("mmkit")
        manager.add_hookspecs(plugin)
        manager.register(module, registration.name)
        _check_hooks(manager, module)
        with contextlib.redirect_stdout(sys.stderr):
            given = {hook: [spec for part in getattr(manager.hook, hook)() for spec in part] for hook in HOOKS}
        for hook, specs in given.items():
            for spec in specs:
                _check_spec(hook, spec)
                if (spec.kind, spec.name) in seen:
                    raise ContractError(f"{hook} gives two of the name {spec.name}")
                seen.add((spec.kind, spec.name))
                yield spec


def _check_hooks(manager: pluggy.PluginManager, module: types.ModuleType) -> None:
    known = ", ".join(HOOKS)
    implemented = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for hook in sorted(implemented - set(HOOKS)):
        raise ContractError(f"{module.__name__} implements {hook}, which is no hook; the hooks are {known}")
    for hook in HOOKS:
        if hook not in implemented and isinstance(vars(module).get(hook), types.FunctionType):
            raise ContractError(f"{module.__name__}.{hook} is not decorated with mmkit.plugin.hookimpl")
    if not implemented:
        raise ContractError(f"{module.__name__} implements no hook; the hooks are {known}")


def _check_spec(hook: str, spec: object) -> None:
    kind = HOOKS[hook]
    if not isinstance(spec, kind):
        raise ContractError(f"{hook} gives {spec!r}, not a {kind.__name__}")
    if not _is_name(spec.name) or spec.name in RESERVED:
        raise ContractError(
            f"{hook} gives the name {spec.name!r}; a name is lower-case words joined by hyphens, "
            f"and {', '.join(sorted(RESERVED))} are reserved"
        )
    if not _is_reference(spec.reference):
        raise ContractError(f"{hook}: {spec.name} refers to {spec.reference!r}, not to package.module:Attribute")
    if not isinstance(spec.summary, str) or "\n" in spec.summary:
        raise ContractError(f"{hook}: the summary of {spec.name} is not one line")
    for field, of in (("modalities", "an input and its modality"), ("example", "an option and its value")):
        pairs = getattr(spec, field, ())
        if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ContractError(f"{hook}: {field} of {spec.name} is a tuple of pairs, {of}; got {pairs!r}")


def _is_name(name: object) -> bool:
    """Lower-case words of ASCII letters and digits, joined by hyphens."""
    return isinstance(name, str) and all(
        word.isalnum() and word.isascii() and word == word.lower() for word in name.split("-")
    )


def _is_reference(reference: object) -> bool:
    """One colon between two dotted names."""
    sides = reference.split(":") if isinstance(reference, str) else []
    return len(sides) == 2 and all(part.isidentifier() for side in sides for part in side.split("."))
