"""The form of what `MultimodalModel.explain` returns, which is made a floor up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Explained(Protocol):
    """One answer, explained; printed, it is a table of a terminal, in a notebook a page."""

    @property
    def value(self) -> float:
        """The number that is explained."""
        ...

    @property
    def nothing(self) -> float:
        """The same, where every input is missing: contributions begin there."""
        ...

    @property
    def contributions(self) -> Sequence[Any]:
        """What each input gave, the greatest first: `name`, `modality`, `value` and `error` of each."""
        ...

    @property
    def inside(self) -> Mapping[str, Any]:
        """By input, what each part of it gave: `parts`, `values`, and how they were found."""
        ...

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values; `mmkit/explain/README.md` says what each means."""
        ...

    def html(self) -> str:
        """A whole page, which needs no other file and asks nothing of any server."""
        ...
