"""What a reader of the tables has to know besides: yardsticks, rates at the end of their list, trainings cut short."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.records.folds import means_of
from mmkit.report.summary import Row, by_which, names
from mmkit.report.values import written
from mmkit.report.verdict import chosen
from mmkit.titles import title_of

NAMED = 4
"""Rows that a sentence names; of more it gives the number."""


def notes(found: Sequence[Row]) -> list[str]:
    """A sentence for each thing that bears on how the tables are to be read."""
    ours = [row for row in found if row.records and not row.yardstick]
    said = []
    if any(row.yardstick and row.records and not row.blend for row in found):
        said.append(
            "Yardsticks are no combinations: scikit-learn on the same features or table, tuned on validation."
            + _best_yardstick(found)
        )
    if any(row.blend for row in found):
        said.append(
            "A blend is the mean of the answers of several models, with weights fitted on validation, where its scores "
            "are too good by that; its cost is that of all of them. It is never the chosen one."
        )
    if count := sum(bool(row.stopped) and not row.records for row in found):
        were, are = ("combination was", "is") if count == 1 else ("combinations were", "are")
        said.append(
            f"{count} {were} stopped early by the budget, after fewer epochs than others, and {are} not compared; more "
            "--budget trains more of them for longer."
        )
    ranked = [row for row in ours if not row.tested]
    if ranked and any(row.tested for row in ours):
        said.append(
            "Rows without figures on test were not chosen on validation, and test was not read for them; "
            "--protocol full measures them, too."
        )
    fold = next((record.fold for row in ours for record in row.trainings if record.fold), None)
    if fold:
        rows = next((record.samples.test for row in ours for record in row.records if record.samples), 0)
        means = dict.fromkeys(title_of(name) for row in ours for record in row.records for name in means_of(record))
        of_folds = f" ({', '.join(means)}: the mean of the folds)" if means else ""
        said.append(
            f"{fold.of} folds: each of {rows} rows is tested once, by models that have not seen it. Figures on test "
            f"are over all rows{of_folds}; those on validation are the mean of the folds."
        )
    ends = {record.search.end for row in ours for record in row.trainings if record.search}
    for end, beyond in (("highest", "higher"), ("lowest", "lower")):
        if ends == {end}:
            said.append(
                f"Every chosen learning rate is the {end} of the list: {beyond} ones may be better, with "
                '-o "train.rates=[...]".'
            )
    late = [
        name
        for row, name in zip(found, names(found), strict=True)
        if row in ours and all(record.still_improving for record in row.trainings)
    ]
    if late:
        which = ", ".join(late) if len(late) <= NAMED else f"{len(late)} of {len(ours)} rows"
        tuned = any(record.tuned for row in ours for record in row.trainings)
        option = "--epochs, of tuned encoders train.tune_epochs," if tuned else "--epochs"
        said.append(f"Still improving when training ended, with every seed: {which}; more {option} may help.")
    timed: dict[float, list[str]] = {}  # the fixed program takes another time in each measurement
    for row, name in zip(found, names(found), strict=True):
        if row.speed and (twin := row.speed.twins.get("inference")):
            timed.setdefault(twin.reference_ms, []).append(name)
    if len(timed) > 1:
        together = "; ".join(", ".join(each) if len(each) <= NAMED else f"{len(each)} rows" for each in timed.values())
        said.append(
            f"Speeds are of {len(timed)} measurements, each with rows in turns of its own: {together}. Between them "
            "the machine may have been another; in a new folder (--out) all are timed together."
        )
    return said


def _best_yardstick(found: Sequence[Row]) -> str:
    """What the yardstick that is best on validation has on test, beside the chosen fusion; empty where either lacks it.

    A yardstick is fitted once, and has no scores of samples, so that no margin can be had.
    """
    fusion = chosen(found)
    by, yardsticks = by_which(found), [row for row in found if row.yardstick and row.records and not row.blend]
    if fusion is None or not yardsticks:
        return ""
    best = max(yardsticks, key=lambda row: by.score(row.records))
    metric = fusion.metric
    one, other = fusion.spread(metric), best.spread(metric)
    if one is None or other is None:
        return ""
    return (
        f" The best of them there, {best.fusion.removeprefix('yardstick: ')}, has {title_of(metric)} "
        f"{written(other.mean, metric)} on test, {fusion.fusion} {written(one.mean, metric)}; the difference is not "
        "tested, as a yardstick is fitted once."
    )
