"""The form of what `MultimodalModel.evaluate` returns, which is made floors up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Evaluated(Protocol):
    """A model measured on a labelled table."""

    @property
    def rows(self) -> int:
        """Of the table."""
        ...

    @property
    def measured(self) -> int:
        """Those with truth and an answer."""
        ...

    @property
    def metrics(self) -> Mapping[str, Any]:
        """By name: `value`, and `low` and `high`, the ends of its 95 % interval over rows."""
        ...

    @property
    def classes(self) -> Sequence[Any]:
        """Of each class or label: `name`, `rows`, `precision`, `recall` and `f1`."""
        ...

    @property
    def confusion(self) -> list[Any] | None:
        """Counts by true class (row) and predicted class (column); of labels [[TN, FP], [FN, TP]] each."""
        ...

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values, as `mmkit evaluate --json` prints it."""
        ...
