"""An explanation that can be shown: on a page, in a notebook, in a terminal."""

from __future__ import annotations

from mmkit.explain.found import Found
from mmkit.explain.page import page, section
from mmkit.explain.terminal import lines


class Explanation(Found):
    """One answer, explained; see `Found` for what it holds."""

    def __repr__(self) -> str:
        return f"<Explanation of {self.title}: {', '.join(one.name for one in self.contributions)}>"

    def __str__(self) -> str:
        return "\n".join(lines(self))

    def html(self) -> str:
        """A whole page, which needs no other file and asks nothing of any server."""
        return page([self], self.title)

    def _repr_html_(self) -> str:
        """The same within the page of a notebook."""
        return section(self)
