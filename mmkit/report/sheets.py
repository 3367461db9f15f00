"""What the tables say: columns of text, whoever draws them, a terminal or a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmkit.records.choice import criterion
from mmkit.records.verdicts import Terms
from mmkit.report.breakdown import details
from mmkit.report.classes import classes_sheet
from mmkit.report.inputs import inputs
from mmkit.report.labels import NONE, plain, shortened
from mmkit.report.sheet import Sheet, bytes_of, count_of, spread_of
from mmkit.report.summary import Row, by_which, tied
from mmkit.report.values import written
from mmkit.report.verdict import level_with_the_best
from mmkit.titles import title_of

BESIDE = ("accuracy", "f1_macro", "recall_macro", "rmse", "mae", "r2", "rouge_l", "head_loss", "bleu", "exact_match")
"""Metrics that are shown, where a task has them; the one that ranks comes first."""
SHORT = 12
"""The most classes, and the longest name of one, that stand above the columns of a confusion matrix in words."""


def sheets(found: Sequence[Row], terms: Terms | None = None) -> list[Sheet]:
    """What the combinations reach, what inputs give, classes in the full protocol, and what they cost, in detail too.

    Nothing where every run failed.
    """
    good = [row for row in found if row.records]
    if all(row.yardstick for row in good):
        return []
    found = [row for row in found if row.records or row.errors]
    varying = _varying(found)
    ours = [row for row in good if not row.yardstick]
    of_inputs = [sheet for sheet in [inputs(ours)] if sheet]
    first = next((row for row in ours if row.tested), None)
    in_full = terms is not None and terms.protocol == "full"
    of_classes = [sheet for sheet in [classes_sheet(first) if first and in_full else None] if sheet]
    priced = [*ours, *(row for row in good if row.blend)]
    costs = [_costs(priced, _labels(priced, varying))] if any(row.speed for row in ours) else []
    return [
        _scores(good, _labels(good, varying), level_with_the_best(good, terms)),
        *of_inputs,
        *of_classes,
        *costs,
        *details(ours),
    ]


def stopped(found: Sequence[Row]) -> Sheet | None:
    """What a budget has stopped; None where it stopped nothing.

    The score is that of the longest training. Scores of different lengths are not to be compared, nor with those of the
    combinations that went on.
    """
    rows = [row for row in found if row.stopped and not row.records]
    if not rows:
        return None
    varying = _varying([row for row in found if not row.yardstick])
    longest = [[one for one in row.stopped if one.rung == row.stopped[0].rung] for row in rows]
    by = criterion(record for records in longest for record in records)
    best = [max(records, key=lambda one: by.score([one])) for records in longest]
    labels = _labels(rows, varying)
    lines = []
    for one, names in zip(best, labels.cells, strict=True):
        value, rung = one.validation.get(by.metric), one.rung
        rate = one.run.get("training", {}).get("lr")
        lines.append(
            [
                *names,
                f"{rung.epochs} of {rung.whole}" if rung else "-",
                "-" if value is None else written(value, by.metric),
                "-" if rate is None else f"{rate:g}",
            ]
        )
    return Sheet(
        "Stopped early by the budget, on validation: trained for fewer epochs, and so not compared",
        labels.titles,
        ["epochs", f"validation\n{title_of(by.metric)}", "best learning\nrate there"],
        lines,
        labels.whole,
        labels.short,
    )


def failures(found: Sequence[Row]) -> list[str]:
    """A line for each reason why runs of a combination failed."""
    varying = _varying(found)
    return [
        f"failed: {plain(_whole(row, varying))}{f' ({seeds} seeds)' if seeds > 1 else ''}: {error}"
        for row in found
        for error, seeds in Counter(row.errors).items()
    ]


def confusion(found: Sequence[Row]) -> Sheet | None:
    """How often the best combination on validation took what for what on test, summed over its seeds.

    None of numbers, of texts and of more than 100 classes.
    """
    row = next((row for row in found if row.records and not row.yardstick and row.records[0].confusion), None)
    if row is None:
        return None
    names = row.records[0].names
    seeds = f"{len(row.records)} seed{'s' * (len(row.records) > 1)}"
    title = f"Confusion matrix of {plain(row.fusion)} on test, over {seeds}"
    matrices = [record.confusion or [] for record in row.records]
    numbered = False
    if isinstance(matrices[0][0][0], list):  # of labels: a matrix each
        title += ", label by label"
        columns = ["true negatives", "false positives", "false negatives", "true positives"]
        counts = [[[*label[0], *label[1]] for label in matrix] for matrix in matrices]
    else:
        title += ": a row is the truth, a column what it was taken for"
        columns, counts = names, matrices
        numbered = len(names) > SHORT or any(len(plain(name)) > SHORT for name in names)
        if numbered:
            columns = [str(number) for number in range(1, len(names) + 1)]
    lines = [
        [name, *(str(sum(matrix[number][at] for matrix in counts)) for at in range(len(columns)))]
        for number, name in enumerate(names)
    ]
    return Sheet(title, [""], [plain(column) for column in columns], lines, numbered=numbered)


@dataclass(frozen=True)
class _Labels:
    """The labels of rows: titles, shortened cells, and each row's label in full."""

    titles: list[str]
    cells: list[list[str]]
    whole: list[str]
    short: bool


def _labels(found: Sequence[Row], varying: Sequence[str]) -> _Labels:
    full = [_names(row, varying) for row in found]
    columns = [shortened(column) for column in zip(*full, strict=True)]
    cells = [list(line) for line in zip(*columns, strict=True)]
    return _Labels(list(varying), cells, [_whole(row, varying) for row in found], cells != full)


def _scores(found: Sequence[Row], labels: _Labels, level_on_test: Sequence[Row]) -> Sheet:
    metric, by = found[0].metric, by_which(found).metric or found[0].metric
    on_top = [id(row) for row in tied(found)]
    searched = any(record.search for row in found for record in row.trainings)
    ours = [row for row in found if not row.yardstick]
    raced = [row for row in ours if not row.confirmed] if any(row.confirmed for row in ours) else []
    lengths = len({count for row in found for count in row.epochs}) > 1
    on_validation = list(dict.fromkeys((metric, by)))
    # A column that says how was chosen takes the place of the last that only describes.
    beside = [name for name in BESIDE if name != metric and found[0].spread(name)][: 2 - (len(on_validation) > 1)]
    shown = [metric, *beside]
    lines = []
    for row, names in zip(found, labels.cells, strict=True):
        seeds = "-" if row.yardstick else str(len(row.records))
        seeds += f" of {len(row.records) + len(row.errors)}" if row.errors else ""
        seeds += " *" if any(row is one for one in raced) else ""
        chosen_by = [spread_of(row.spread(name, "validation"), name) for name in on_validation]
        if len(on_top) > 1 and id(row) in on_top:
            chosen_by[-1] += " ="
        on_test = [spread_of(row.spread(name), name) for name in shown]
        if any(row is one for one in level_on_test):
            on_test[0] += " ~"
        rate = ["/".join(f"{rate:g}" for rate in row.rates) or "-"] if searched else []
        epochs = ["/".join(map(str, row.epochs)) or "-"] if lengths else []
        lines.append([*names, *chosen_by, *on_test, *rate, *epochs, seeds])
    titles = [*(f"validation\n{title_of(name)}" for name in on_validation)]
    titles += [
        *(f"test\n{title_of(name)}" for name in shown),
        *(["learning\nrate"] if searched else []),
        *(["epochs"] if lengths else []),
        "seeds",
    ]
    how = "" if by == metric else f" by {title_of(by)}"
    level = "; =: level" if len(on_top) > 1 else ""
    level += "; ~: cannot be told from the best on test" if level_on_test else ""
    level += "; *: seeds of the race, not fresh ones" if raced else ""
    macro = "; macro: over the classes of the truth" if any("macro" in name for name in shown) else ""
    return Sheet(
        f"Scores: mean ± standard deviation over seeds, best on validation{how} first{level}{macro}",
        labels.titles,
        titles,
        lines,
        labels.whole,
        labels.short,
    )


def _costs(found: Sequence[Row], labels: _Labels) -> Sheet:
    lines = []
    for row, names in zip(found, labels.cells, strict=True):
        speed, cost = row.speed, row.cost
        latency = speed.latency_ms.get("p50") if speed else None
        lines.append(
            [
                *names,
                count_of(speed.inference_samples_per_s if speed else None),
                count_of(speed.train_samples_per_s if speed else None),
                "-" if latency is None else f"{latency:.2f}",
                "-" if row.loading is None else f"{100 * row.loading:.1f} %",
                count_of(cost.parameters if cost else None),
                count_of(cost.flops_per_sample if cost else None),
                bytes_of(cost.peak_memory_bytes if cost else None),
            ]
        )
    speeds = ["inference\nsamples/s", "training\nsamples/s", "latency\np50 ms", "loading\nshare"]
    return Sheet(
        "Cost: speed from interleaved rounds, latency at batch 1, loading in training",
        labels.titles,
        [*speeds, "parameters", "FLOPs\na sample", "peak\nmemory"],
        lines,
        labels.whole,
        labels.short,
    )


def _varying(found: Sequence[Row]) -> list[str]:
    """The axes that tell rows apart: the fusion always, the others where they vary."""
    found = [row for row in found if not row.yardstick] or found
    fused = [row for row in found if not row.alone] or found
    names = ["fusion"]
    names += [
        f"encoder of {name}"
        for name in sorted({name for row in found for name in row.encoders})
        if len({row.encoders[name] for row in found if name in row.encoders}) > 1
    ]
    return names + (["head"] if len({row.head for row in fused}) > 1 else [])


def _names(row: Row, varying: Sequence[str]) -> list[str]:
    def one(axis: str) -> str:
        if axis == "fusion":
            return row.fusion
        return row.head if axis == "head" else row.encoders.get(axis.removeprefix("encoder of "), NONE)

    return [one(axis) for axis in varying]


def _whole(row: Row, varying: Sequence[str]) -> str:
    """The label of a row in full, encoders as the command line takes them."""

    def one(axis: str, value: str) -> str:
        return f"{axis.removeprefix('encoder of ')}={value}" if axis.startswith("encoder of ") else value

    pairs = zip(varying, _names(row, varying), strict=True)
    return "  ".join(one(axis, value) for axis, value in pairs if value != NONE)
