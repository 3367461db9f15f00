"""The form of what `MultimodalModel.explain` returns, which is made a floor up."""

from __future__ import annotations

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

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values; `mmkit/explain/README.md` says what each means."""
        ...

    def html(self) -> str:
        """A whole page, which needs no other file and asks nothing of any server."""
        ...
