"""Whose code raised an exception: the component, its distribution, and file and line within that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType
from typing import NamedTuple

from mmkit.errors import ContractError, MmkitError
from mmkit.registry.entries import Entry
from mmkit.registry.hooks import in_words
from mmkit.registry.options import Choice


class Suspect(NamedTuple):
    """A component that may have raised.

    Args:
        who: kind, name and distribution, in words.
        references: "module:Name" of its classes.
    """

    who: str
    references: frozenset[str]

    @property
    def modules(self) -> set[str]:
        """The modules of its classes."""
        return {reference.partition(":")[0] for reference in self.references}


def chosen(choices: Iterable[Choice]) -> list[Suspect]:
    """The components that were chosen, and those that their options name."""
    found = []
    for choice in choices:
        of = " ".join(f"{name} {version}" for name, version in choice.distribution.items())
        references = frozenset(f"{factory.__module__}:{factory.__qualname__}" for factory in choice.factories)
        found.append(Suspect(f"{choice.kind} {choice.name}" + (f" of {of}" if of else ""), references))
        found += chosen(choice.inner)
    return found


def registered(entries: Iterable[Entry]) -> list[Suspect]:
    """The components that are installed."""
    return [
        Suspect(
            f"{entry.kind} {entry.name} of {entry.distribution} {entry.version}".rstrip(),
            frozenset({entry.spec.reference}),
        )
        for entry in entries
        if entry.spec is not None
    ]


def blaming(error: Exception, suspects: Iterable[Suspect]) -> Exception:
    """The error itself; or, where a component raised what is no error of mmkit, one that says which, and where.

    Args:
        error: that was caught; its traceback is read.
        suspects: the components that may have raised it.
    """
    if isinstance(error, MmkitError):
        return error
    listed = list(suspects)
    found, place = None, ""
    for frame, line in walk_tb(error.__traceback__):
        found = _owner(frame, listed) or found
        if found and _is_of(frame, found):
            place = f"{_file(frame)}:{line}, in {frame.f_code.co_name}"
    if found is None:
        return error
    told = ContractError(f"{found.who} raised {in_words(error)} ({place}); --traceback shows all of it")
    told.__cause__ = error
    return told


def _owner(frame: FrameType, suspects: Iterable[Suspect]) -> Suspect | None:
    """The component whose method runs in a frame."""
    subject = frame.f_locals.get("self")
    names = {f"{kind.__module__}:{kind.__qualname__}" for kind in type(subject).__mro__}
    return next((suspect for suspect in suspects if names & suspect.references), None)


def _is_of(frame: FrameType, suspect: Suspect) -> bool:
    """Whether the code of a frame belongs to a component: to its package, or to its own modules where that is mmkit."""
    module = frame.f_globals.get("__name__", "")
    tops = {name.partition(".")[0] for name in suspect.modules} - {"mmkit"}
    return module in suspect.modules or module.partition(".")[0] in tops


def _file(frame: FrameType) -> str:
    """The file of a frame as it lies in its distribution."""
    path, module = PurePath(frame.f_code.co_filename), frame.f_globals.get("__name__", "")
    depth = 1 + module.count(".") + (path.stem == "__init__")
    return "/".join(path.parts[-depth:])
