"""Whether the numbers of a suite can be trusted: what its folder says of seeds, samples, groups and timing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mmkit.records.record import Record
from mmkit.records.splits import GROUP
from mmkit.report.classes import Classes
from mmkit.report.floor import near_the_floor
from mmkit.report.missing import missing
from mmkit.report.notes import notes
from mmkit.report.page.folder import Folder
from mmkit.report.page.measured import Measured
from mmkit.report.sight import sights

FEW = 5
"""Samples of a class below which its figures say little."""
UNSTEADY = 1.25
"""The ratio of the quartiles of a time from which on the machine was not steady."""


VISIBLE = 0.1
"""The smallest visible difference of speed from which on times say little."""


class Check(NamedTuple):
    """One thing that was looked at.

    Args:
        good: whether nothing speaks against the numbers.
        title: in a word or two.
        text: what was found.
    """

    good: bool
    title: str
    text: str


def checks(folder: Folder, found: Sequence[Measured], classes: Classes | None) -> list[Check]:
    """All that can be looked at in a folder; what it does not hold is not in the list."""
    records = [record for record in folder.records if record.status == "ok" and record.purpose == "comparison"]
    said = [
        *_seeds(found),
        *_samples([record for one in found if not one.row.yardstick for record in one.row.records]),
        *_groups(folder),
        *_rare(classes),
        *_timing(found),
        *_sight(found),
        *_mixed(records),
    ]
    if folder.left_out:
        text = f"{folder.left_out} runs of other plans are in the folder; this page is of the plan of the last run."
        said.append(Check(good=False, title="Other plans", text=text))
    said += [
        Check(good=False, title="Missing values", text=f"{line[0].upper()}{line[1:]}.") for line in missing(records)
    ]
    unread = max((sum(record.unread.values()) for record in records), default=0)
    if unread:
        text = f"Up to {unread} values of a run could not be used; unread.parquet names them."
        said.append(Check(good=False, title="Unusable values", text=text))
    binned = sorted({name for record in records for name in record.binned})
    if binned:
        said.append(Check(good=False, title="Rounded", text=f"{', '.join(binned)}: counted in bins, to a thousandth."))
    if floor := near_the_floor(folder.rows, folder.terms):
        said.append(Check(good=False, title="Floor", text=floor))
    return said + [Check(good=False, title="Note", text=text) for text in notes(folder.rows)]


def _seeds(found: Sequence[Measured]) -> Iterator[Check]:
    counts = {len(one.seeds) for one in found if not one.row.yardstick}
    if not counts:
        return
    told = str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    if min(counts) < 2:
        text = f"{told} training{'s' * (told != '1')} a combination: how far seeds differ is not known everywhere."
        yield Check(good=False, title="Seeds", text=text)
    else:
        text = f"{told} trainings a combination, each with a seed of its own; the dots above show how far they differ."
        yield Check(good=True, title="Seeds", text=text)


def _samples(records: Sequence[Record]) -> Iterator[Check]:
    counts = [record.samples for record in records if record.samples]
    if not counts:
        return
    one = counts[0]
    text = (
        f"Fitted on {one.train:,}, chosen on {one.validation:,}, tested on {one.test or 0:,} samples; test was read "
        "after each training had ended, and chose nothing."
    )
    yield Check(good=(one.test or 0) >= 200, title="Samples", text=text)
    if len({(count.train, count.validation, count.test) for count in counts}) > 1:
        yield Check(good=False, title="Samples differ", text="Not all runs used the same number of samples.")


def _groups(folder: Folder) -> Iterator[Check]:
    for factor, labels in folder.terms.groups.items():
        count = len(set(labels))
        said = [one["name"] for one in folder.data.get("columns", []) if one["is"] == "group"]
        called = factor if factor != GROUP else ", ".join(said) or factor
        text = f"Test has {count:,} groups ({called}); intervals in this page are over groups, not over samples."
        yield Check(good=count >= 10, title="Groups", text=text)
    how = (folder.data.get("splits") or {}).get("how")
    if how:
        yield Check(good=True, title="Splits", text=f"{how[0].upper()}{how[1:]}.")


def _rare(classes: Classes | None) -> Iterator[Check]:
    if classes is None:
        return
    few = [one.name for one in classes.of if one.samples < FEW]
    if few:
        text = f"{len(few)} of {len(classes.of)} have fewer than {FEW} samples in test; their figures say little."
        yield Check(good=False, title="Rare classes", text=text)


def _sight(found: Sequence[Measured]) -> Iterator[Check]:
    for one in sights([each.row for each in found if not each.row.yardstick]):
        good = one.clear and one.visible is not None and one.visible < VISIBLE
        yield Check(good=good, title="A/A", text=one.sentence())


def _timing(found: Sequence[Measured]) -> Iterator[Check]:
    ratios = [one.quartiles[1] / one.quartiles[0] for one in found if one.quartiles]
    if not ratios:
        return
    text = (
        f"Rows were timed in turns, so that what else the machine did met all of them; between the quartiles of the "
        f"rounds the time of a row differs by {100 * (max(ratios) - 1):.0f} % at most."
    )
    yield Check(good=max(ratios) < UNSTEADY, title="Timing", text=text)


def _mixed(records: Sequence[Record]) -> Iterator[Check]:
    surroundings = {
        json.dumps([one.machine, one.software, one.plugins, one.libraries, one.device, one.precision], sort_keys=True)
        for one in records
    }
    if len(surroundings) > 1:
        text = f"The runs come from {len(surroundings)} different machines or sets of versions; times are not compared."
        yield Check(good=False, title="Mixed", text=text)
    elif surroundings:
        yield Check(good=True, title="Surroundings", text="All runs come from one machine and the same versions.")
