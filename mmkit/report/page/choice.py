"""What to deploy, and why: from the verdict's finding and from what the rows cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmkit.report.page.measured import Measured
from mmkit.report.summary import Row, best
from mmkit.report.values import is_share, written
from mmkit.report.verdict import Verdict
from mmkit.titles import title_of


@dataclass(frozen=True)
class Choice:
    """A proposal.

    Args:
        chosen: the row that is proposed.
        sentence: the proposal with its main reason.
        reasons: what else speaks for it or against it, a sentence each.
    """

    chosen: Measured
    sentence: str
    reasons: list[str]


def choice(found: Sequence[Measured], verdict: Verdict | None) -> Choice | None:
    """What is proposed; None where no combination was completed.

    A fusion is proposed where it scored above every single input; where it did not, the single input, which costs less.
    """
    ours = [one for one in found if not one.row.yardstick]
    if not ours:
        return None
    rows = [one.row for one in ours]
    told = verdict.document() if verdict else {"finding": "", "fusion": ""}
    finding = told["finding"]
    # Those of the verdict; of folds it may speak of several at once.
    fusion = _called(ours, told["fusion"]) or _of(ours, best(rows, alone=False))
    single = _of(ours, verdict.single if verdict else best(rows, alone=True))
    first = _of(ours, best(rows)) or ours[0]
    if fusion is None or single is None or finding not in {"above", "below", "unclear", "equal"}:
        chosen = first
        why = "it is the best on validation" if len(ours) > 1 else "it is the only combination"
        open_ = "; whether inputs together beat the best of them is open" if fusion and single else ""
        sentence = f"{chosen.name} is proposed, since {why}{open_}."
    elif finding == "above":
        chosen = fusion
        times = _times(fusion, single)
        sentence = f"Deploy {fusion.name}: what it scores above {single.name} is more than chance" + (
            f", and it {times}." if times else "."
        )
    else:
        chosen = single
        why = {
            "below": f"{fusion.name} scored worse",
            "equal": f"{fusion.name} is no better",
            "unclear": f"that {fusion.name} is better is not shown yet",
        }[finding]
        times = _times(fusion, single)
        sentence = f"Deploy {single.name}: {why}, and it needs further inputs{f' and {times}' if times else ''}."
    return Choice(chosen, sentence, list(_reasons(chosen, found)))


def _called(found: Sequence[Measured], fusion: str) -> Measured | None:
    """The row with that fusion, of several the one that is best on validation."""
    return next((one for one in found if one.row.fusion == fusion), None)


def _of(found: Sequence[Measured], row: Row | None) -> Measured | None:
    return next((one for one in found if one.row is row), None)


def _times(one: Measured, other: Measured) -> str:
    """How long a prediction of one takes beside that of the other."""
    if not one.milliseconds or not other.milliseconds:
        return ""
    ratio = one.milliseconds / other.milliseconds
    if 0.95 < ratio < 1.05:
        return "takes no longer"
    return f"takes {_factor(ratio)} as long" if ratio > 1 else f"is {_factor(1 / ratio)} as fast"


def _factor(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:,.0f} times"


def _reasons(chosen: Measured, found: Sequence[Measured]) -> list[str]:
    if chosen.score is None:  # test was not read, or says nothing
        return []
    metric, sign = chosen.row.metric, 1 if chosen.row.higher_is_better else -1
    said = []
    if chosen.interval:
        low, high = sorted(chosen.interval)
        unit = " %" if is_share(metric) else ""
        said.append(
            f"On test its {title_of(metric)} is {written(chosen.score, metric)}{unit}; two standard errors to either "
            f"side are {written(low, metric)} to {written(high, metric)}{unit}."
        )
    ours = [one for one in found if not one.row.yardstick and one.score is not None]
    faster = [
        one
        for one in ours
        if one is not chosen
        and one.milliseconds
        and chosen.milliseconds
        and one.milliseconds < chosen.milliseconds
        and sign * ((one.score or 0) - chosen.score) >= 0
    ]
    if faster:
        other = max(faster, key=lambda one: sign * (one.score or 0))
        said.append(
            f"{other.name} was faster and scored no worse on test; it was not chosen, since test chooses nothing."
        )
    elif chosen.milliseconds:
        said.append("No row that is faster scored as well on test.")
    better = [one for one in found if one.row.yardstick and sign * ((one.score or 0) - chosen.score) > 0]
    return said + [
        f"{one.name}{'' if one.row.blend else ', of scikit-learn,'} scored {written(one.score or 0, metric)} on test, "
        f"which is better{', at the cost of all of its models' if one.row.blend else ''}: look there before you deploy "
        "anything."
        for one in better
        if one.score is not None
    ]
