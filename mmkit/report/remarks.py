"""What is said below the tables, in an order: what is learnt at all, how to read them, speeds, what inputs tell."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.records.verdicts import Terms
from mmkit.report.floor import near_the_floor
from mmkit.report.information import structure
from mmkit.report.notes import notes
from mmkit.report.sight import sights
from mmkit.report.summary import Row


def remarks(found: Sequence[Row], terms: Terms | None = None) -> list[str]:
    """A paragraph each."""
    floor, told = near_the_floor(found, terms), structure(found, terms)
    said = [*([floor] if floor else []), *notes(found), *(one.sentence() for one in sights(found))]
    return [*said, *([told.sentence()] if told else [])]
