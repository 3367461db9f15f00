"""Names of repositories of the hub, `hub:OWNER/NAME[@REVISION]`, and what a model of one is called."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from mmkit.errors import UsageError
from mmkit.model.trained import HUB

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([\w][\w./-]*))?")


class Repository(NamedTuple):
    """A repository of the hub.

    Args:
        name: OWNER/NAME.
        revision: a branch, a tag or a commit; None is the main branch.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{HUB}{self.name}{f'@{self.revision}' if self.revision else ''}"

    @property
    def url(self) -> str:
        """Its page."""
        return f"{endpoint()}/{self.name}"


def repository_of(given: str) -> Repository:
    """The repository of a name, with or without `hub:`.

    >>> repository_of("hub:acme/reviews@v1")
    Repository(name='acme/reviews', revision='v1')

    Raises:
        UsageError: it is no name of a repository.
    """
    found = _NAME.fullmatch(given.removeprefix(HUB))
    if found is None or any(sign in found[1] for sign in ("..", "--")) or ".." in (found[2] or ""):
        raise UsageError(
            f"{given!r:.200} is no repository of the hub; expected {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION"
        )
    return Repository(found[1], found[2])


def endpoint() -> str:
    """The address of the hub: that of HF_ENDPOINT, if set."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def title_of(folder: Path) -> str:
    """What a model is called: its folder as it is given, or its repository where that is in the hub's cache.

    >>> title_of(Path("models--acme--reviews/snapshots/0a1b"))
    'reviews'
    """
    whole = folder.resolve()
    cached = re.fullmatch(r"models--.+--(.+)", whole.parent.parent.name)
    # A link keeps its name whatever it points to, since a model in service is exchanged by pointing it elsewhere.
    given = Path(os.path.abspath(folder))  # noqa: PTH100 (that of pathlib keeps "..")
    return cached[1] if cached and whole.parent.name == "snapshots" else given.name
