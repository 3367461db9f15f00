"""What is said below the tables, in an order: how to read them, which speeds can be told apart, what inputs tell."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.records.verdicts import Terms
from mmkit.report.information import structure
from mmkit.report.notes import notes
from mmkit.report.sight import sights
from mmkit.report.summary import Row


def remarks(found: Sequence[Row], terms: Terms | None = None) -> list[str]:
    """A paragraph each."""
    told = structure(found, terms)
    return [*notes(found), *(one.sentence() for one in sights(found)), *([told.sentence()] if told else [])]
