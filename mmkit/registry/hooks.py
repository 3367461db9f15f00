"""What the entry modules of a distribution register: imported, asked, and every spec checked for itself."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import pluggy

from mmkit import plugin
from mmkit.errors import ContractError
from mmkit.plugin import BalanceSpec, EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, Spec, TaskSpec
from mmkit.registry.discovery import Registration
from mmkit.registry.options import describe

HOOKS: dict[str, type[Spec]] = {
    "mmkit_tasks": TaskSpec,
    "mmkit_modalities": ModalitySpec,
    "mmkit_encoders": EncoderSpec,
    "mmkit_fusions": FusionSpec,
    "mmkit_heads": HeadSpec,
    "mmkit_objectives": ObjectiveSpec,
    "mmkit_balances": BalanceSpec,
}
KINDS = tuple(spec.kind for spec in HOOKS.values())
RESERVED = {"all", "none", "only"}
OURS = os.path.dirname(__file__)  # noqa: PTH120 (pathlib is slow to import)
_END = object()


def imported(module: str) -> types.ModuleType:
    """The module of that name; what it prints goes to stderr."""
    # What a stranger's module prints must not stand in the middle of a result.
    with contextlib.redirect_stdout(sys.stderr):
        return importlib.import_module(module)


class Registered(NamedTuple):
    """One spec that a plugin gives; or why it cannot be used, while the plugin's other specs can.

    Args:
        kind: of component; "plugin" where it is not known.
        name: of the component, or of the hook that is at fault.
        spec: None where it cannot be used.
        place: FILE:LINE where the hook gives it; empty where that is not known.
        reason: why it cannot be used.
        traceback: of what was raised, where something was.
    """

    kind: str
    name: str
    spec: Spec | None
    place: str = ""
    reason: str = ""
    traceback: str = ""


def registered(registration: Registration, seen: set[tuple[str, str]]) -> Iterator[Registered]:
    """All specs of one entry module, each checked for itself.

    Args:
        registration: names the module.
        seen: kind and name of the specs of the same distribution so far; added to.

    Raises:
        ContractError: no hook is there.
    """
    module = imported(registration.module)
    # A manager of its own for each module: a failure leaves nothing half-registered beside the others.
    manager = pluggy.PluginManager("mmkit")
    manager.add_hookspecs(plugin)
    manager.register(module, registration.name)
    wrong = list(_wrong_hooks(manager, module))
    yield from wrong
    callers = {caller.name for caller in manager.get_hookcallers(module) or ()}
    if not wrong and not callers:
        raise ContractError(f"{module.__name__} implements no hook; the hooks are {', '.join(HOOKS)}")
    for hook, kind in HOOKS.items():
        if hook not in callers:
            continue
        place = _place_of_function(getattr(module, hook, None))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                parts = getattr(manager.hook, hook)()
            for part in parts:
                yield from _specs_of(hook, kind, part, place, seen)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (what a hook raises costs what it would have given)
            yield _failed(kind.kind, hook, place, error)


def in_words(error: BaseException) -> str:
    """An exception on one line."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def place_of(error: BaseException) -> str:
    """FILE:LINE where an exception was raised, outside of mmkit's own import of plugins; empty where none is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not file.startswith("<frozen ") and file != importlib.__file__ and os.path.dirname(file) != OURS:  # noqa: PTH120
            found = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return found


def _specs_of(
    hook: str, kind: type[Spec], part: Iterable[object], place: str, seen: set[tuple[str, str]]
) -> Iterator[Registered]:
    """What one hook gives, one by one: what is wrong with one costs no other."""
    specs = iter(part)
    number = 0
    while True:
        with contextlib.redirect_stdout(sys.stderr):  # a hook that yields runs on only now
            spec = next(specs, _END)
        if spec is _END:
            return
        frame = getattr(specs, "gi_frame", None)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else place
        name = spec.name if isinstance(spec, Spec) and isinstance(spec.name, str) else f"{hook}[{number}]"
        number += 1
        try:
            yield Registered(kind.kind, name, _checked(hook, spec, seen), place)
        except ContractError as error:
            yield Registered(kind.kind, name, None, place, str(error))


def _failed(kind: str, hook: str, place: str, error: BaseException) -> Registered:
    import traceback  # noqa: PLC0415 (nothing fails, as a rule)

    told = "".join(traceback.format_exception(error))
    return Registered(kind, hook, None, place_of(error) or place, f"{hook}: {in_words(error)}", told)


def _wrong_hooks(manager: pluggy.PluginManager, module: types.ModuleType) -> Iterator[Registered]:
    """Functions that are meant for hooks, and are none."""
    known = ", ".join(HOOKS)
    implemented = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for hook in sorted(implemented - set(HOOKS)):
        reason = f"{module.__name__} implements {hook}, which is no hook; the hooks are {known}"
        yield Registered("plugin", hook, None, _place_of_function(getattr(module, hook, None)), reason)
    for hook, kind in HOOKS.items():
        if hook not in implemented and isinstance(vars(module).get(hook), types.FunctionType):
            reason = f"{module.__name__}.{hook} is not decorated with mmkit.plugin.hookimpl"
            yield Registered(kind.kind, hook, None, _place_of_function(vars(module)[hook]), reason)


def _place_of_function(function: object) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, types.CodeType) else ""


def _checked(hook: str, spec: object, seen: set[tuple[str, str]]) -> Spec:
    kind = HOOKS[hook]
    if not isinstance(spec, kind):
        raise ContractError(f"{hook} gives {spec!r}, not a {kind.__name__}")
    if not is_name(spec.name) or spec.name in RESERVED:
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
    for field, of in (("requires", "requirements"), ("targets", "kinds of target")):
        texts = getattr(spec, field, ())
        if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
            raise ContractError(f"{hook}: {field} of {spec.name} is a tuple of {of}; got {texts!r}")
    _check_files(hook, spec)
    for one in dataclasses.fields(kind):
        if (value := getattr(spec, one.name)) is not one.default and not _fits(value, _annotation(str(one.type))):
            told = describe(_annotation(str(one.type)))
            raise ContractError(f"{hook}: {one.name} of {spec.name} is {told}; got {value!r}")
    if (spec.kind, spec.name) in seen:
        raise ContractError(f"{hook} gives two of the name {spec.name}; the first one counts")
    seen.add((spec.kind, spec.name))
    return spec


@functools.cache
def _annotation(text: str) -> Any:
    """An annotation of a spec; so few are evaluated that listing plugins does not notice."""
    return eval(text, dict(vars(plugin)))  # noqa: S307 (of mmkit's own specs)


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value is one of a choice, or of one of some types; what tuples hold is looked at elsewhere."""
    if typing.get_origin(annotation) is tuple:
        return isinstance(value, tuple)
    if typing.get_origin(annotation) is Literal:
        return value in typing.get_args(annotation)
    return isinstance(value, annotation)


def _check_files(hook: str, spec: Spec) -> None:
    """Raise where what a modality says of its files, or of requests, cannot be followed."""
    ends, patterns = getattr(spec, "extensions", ()), getattr(spec, "magic", ())
    if (way := getattr(spec, "travels", "json")) not in ("bytes", "text", "json"):
        raise ContractError(f"{hook}: travels of {spec.name} is bytes, text or json; got {way!r}")
    if not isinstance(ends, tuple) or not all(
        isinstance(end, str) and end[:1] == "." and end == end.lower() for end in ends
    ):
        raise ContractError(
            f"{hook}: extensions of {spec.name} is a tuple of ends of names, in lower case with the dot; got {ends!r}"
        )
    if not isinstance(patterns, tuple) or not all(isinstance(pattern, bytes) for pattern in patterns):
        raise ContractError(
            f"{hook}: magic of {spec.name} is a tuple of regular expressions, which are bytes; got {patterns!r}"
        )
    for pattern in patterns:
        try:
            re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ContractError(
                f"{hook}: magic of {spec.name}: {pattern!r} is no regular expression: {error}"
            ) from error


def is_name(name: object) -> bool:
    """Lower-case words of ASCII letters and digits, joined by hyphens."""
    return isinstance(name, str) and all(
        word.isalnum() and word.isascii() and word == word.lower() for word in name.split("-")
    )


def _is_reference(reference: object) -> bool:
    """One colon between two dotted names."""
    sides = reference.split(":") if isinstance(reference, str) else []
    return len(sides) == 2 and all(part.isidentifier() for side in sides for part in side.split("."))
