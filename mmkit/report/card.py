"""The card of a model, in Markdown: what it is, how it was made, what it is worth, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmkit.records.record import Record
from mmkit.report.floor import floor_of
from mmkit.report.front_matter import front_matter
from mmkit.report.labels import plain
from mmkit.report.privacy import privacy_notes
from mmkit.report.sheet import independent
from mmkit.report.values import is_share, written
from mmkit.titles import title_of

NAMED = 5
"""Classes that a sentence names."""
MOST = 20
"""Columns, and classes with figures of their own, that a card shows."""
SQUARE = 12
"""Classes of the largest confusion matrix that is shown."""


def card(
    record: Record,
    name: str,
    task: str,
    data: Mapping[str, Any] | None,
    *,
    command: str = "",
    licence: str | None = None,
    remembers: bool = False,
    inputs: Mapping[str, str],
    target: str,
) -> str:
    """The card of a model, with the front matter that the hub reads.

    Args:
        record: of its run.
        name: of its folder.
        task: what it asks, in a few sentences.
        data: the description of a user's own data, as `data.json` has it; None for another task.
        command: that made it; empty if none did.
        licence: of the model, as its maker gave it; None is "not stated".
        remembers: whether hashes of the rows that it was trained on stand beside it.
        inputs: the modality of each.
        target: the kind of target.
    """
    tested_on = record.task.partition(":")[0] if data is None else "own data"
    head = front_matter(inputs, target, licence=licence, name=name, data=tested_on, record=record)
    parts = [
        f"# {name}",
        _what(record),
        used(record.encoders, None if data is None else data["inputs"]),
        f"## What it is worth\n\n{scores_table(record)}",
        *_judged(record),
        *_private(record),
        *_by_class(record),
        "## Data\n\n" + "\n\n".join(_data(record, task, data, remembers=remembers)),
        "## How it was made\n\n" + "\n\n".join(_made(record, command)),
        f"## Licence\n\n{licence or 'Not stated.'}",
    ]
    return head + "\n\n".join(part for part in parts if part) + "\n"


def score_rows(record: Record) -> list[tuple[str, str, str]]:
    """Each metric with its score on validation and on test, with 95 % intervals; the task's own first."""
    names = sorted(record.metrics or record.validation, key=lambda name: name != record.metric)
    intervals = record.intervals

    def told(scores: Mapping[str, float | None], of: Mapping[str, Sequence[float]], name: str) -> str:
        value = scores.get(name)
        if value is None:
            return "-"
        shown = written(value, name)
        if name not in of:
            return shown
        low, high = of[name]
        return f"{shown} [{written(low, name)}, {written(high, name)}]"

    return [
        (
            f"{title_of(name)}{' %' if is_share(name) else ''}",
            told(record.validation, intervals.get("validation", {}), name),
            told(record.metrics, intervals.get("test", {}), name),
        )
        for name in names
    ]


def scores_title(record: Record) -> str:
    """What stands above the scores, with the metrics that have no interval, or alone have one."""
    scores, known = (
        (record.metrics, record.intervals.get("test", {}))
        if record.metrics
        else (record.validation, record.intervals.get("validation", {}))
    )
    given = [name for name, value in scores.items() if value is not None]
    bare = [title_of(name) for name in given if name not in known]
    few = [title_of(name) for name in given if name in known]
    but = f" ({', '.join(few)} alone)" if len(few) < len(bare) else f" ({', '.join(bare)} without)" if bare else ""
    over = f"with 95 % intervals over {independent(record.intervals_over)}{but}" if known else "without intervals"
    return f"Scores {over}; those of other seeds may differ more"


def _surely_above(record: Record, floor: float) -> bool:
    """Whether the interval of test is better than a value; without one nothing is doubted."""
    if record.metric not in record.intervals.get("test", {}):
        return True
    low, high = record.intervals["test"][record.metric]
    return low > floor if record.higher_is_better else high < floor


def notes(record: Record) -> list[str]:
    """What a reader of the scores must know, a sentence each."""
    found = []
    if record.refit is not None:
        found.append(
            f"The model was trained again on train and validation together ({record.refit.samples:,} samples), with "
            "the rate and the epochs that were found. Its scores on validation are those of the model before that, "
            "which chose them: of this model validation measures nothing."
        )
    else:
        found.append("Validation chose the epoch, so its scores are somewhat too good; test was read once, at the end.")
    if (one := record.calibrated) is not None:
        splits = [
            f"on {split} log loss {one.before[split].log_loss:.3g} -> {one.after[split].log_loss:.3g}, calibration "
            f"error {100 * one.before[split].ece:.1f} -> {100 * one.after[split].ece:.1f} %"
            for split in one.after
        ]
        labels = bool(record.confusion) and isinstance(record.confusion[0][0], list)  # type: ignore[index]
        found.append(
            f"{'The probabilities of all labels' if labels else 'Probabilities'} have temperature "
            f"{one.temperature:.3g}, fitted on validation: {'; '.join(splits)}."
        )
    elif record.run.get("training", {}).get("calibrate"):
        found.append("Answers have no probabilities, so nothing is calibrated; how far off they are is in the scores.")
    if record.never:
        shown = [f"{plain(name)} ({count:,} sample{'s' * (count > 1)})" for name, count in record.never.items()]
        others = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        plainly = record.run.get("training", {}).get("sampler") == "shuffle"
        equal = ", and classes shown equally often (-o train.sampler=balanced)" if plainly else ""
        found.append(
            f"On validation the model never says {', '.join(shown[:NAMED])}{others}. More epochs may help (--epochs)"
            f"{equal}."
        )
    if (floor := floor_of(record)) and not _surely_above(record, floor.value):
        found.append(f"{floor.sentence(record.metric)}; the model is not surely better.")
    if record.still_improving:
        option = "train.tune_epochs" if record.tuned else "train.epochs"
        found.append(f"The best epoch is among the last: longer training may be better ({option}).")
    if record.search is not None and record.search.end:
        found.append(f"The learning rate is the {record.search.end} of the list; one beyond it may be better.")
    return found


def scores_table(record: Record) -> str:
    """The scores as a table in Markdown."""
    lines = [("metric", "validation", "test"), ("---", "---", "---"), *score_rows(record)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _what(record: Record) -> str:
    inputs = ", ".join(f"{name} by `{choice}`" for name, choice in record.encoders.items())
    parameters = f" {record.cost.parameters:,} parameters." if record.cost else ""
    return f"A model of mmkit: {inputs}; fusion `{record.fusion}`, head `{record.head}`.{parameters}"


def used(inputs: Iterable[str], made_of: Iterable[Mapping[str, Any]] | None) -> str:
    """How a model answers, in Python.

    Args:
        inputs: that it reads.
        made_of: `name` and `columns` of each input of a user's own data, whose rows it answers; None of another task,
            whose samples are mappings of inputs.
    """
    wanted = list(inputs)
    if made_of is None:
        sample = ", ".join(f'"{name}": ...' for name in wanted)
        lines = [f"print(model.predict([{{{sample}}}]))  # an input may be left out"]
    else:
        read = [name for one in made_of if one["name"] in wanted for name in one["columns"]]
        row = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: ..." for name in read[:NAMED])
        more = f"and {len(read) - NAMED} columns more; " if len(read) > NAMED else ""
        lines = [
            f"rows = [{{{row}}}]  # {more}a column may be left out; or a frame, or the path of a table",
            "print(next(model.answers(rows)).to_pylist())",
        ]
    return "\n".join(["```python", "import mmkit", "", 'model = mmkit.load(".")  # this folder', *lines, "```"])


def _judged(record: Record) -> Iterator[str]:
    counted = record.samples
    assert counted is not None  # noqa: S101 (a completed run has counts)
    of = f"{counted.validation:,} samples of validation, {counted.test or 0:,} of test"
    drawn = independent(record.intervals_over)
    yield f"{of}. In brackets 95 % intervals by the bootstrap over {drawn}; they do not speak of other seeds."
    yield "\n".join(f"- {note}" for note in notes(record))


def _private(record: Record) -> Iterator[str]:
    """What a private training covers, and what not."""
    if record.private is not None:
        yield "## Privacy"
        yield "\n".join(f"- {note}" for note in privacy_notes(record))


def _by_class(record: Record) -> Iterator[str]:
    """Figures of each class or label on test."""
    if not record.confusion or not record.names:
        return
    labels = isinstance(record.confusion[0][0], list)
    heads = ("label" if labels else "class", "samples", "recall", "precision", "F1")
    lines: list[tuple[str, ...]] = [heads, ("---",) * 5]
    for number, name in enumerate(record.names[:MOST]):
        if labels:
            (_, fp), (fn, tp) = record.confusion[number]
        else:
            tp = record.confusion[number][number]
            fn = sum(record.confusion[number]) - tp
            fp = sum(row[number] for row in record.confusion) - tp
        shares = [(tp, tp + fn), (tp, tp + fp), (2 * tp, 2 * tp + fp + fn)]
        lines.append((_cell(name), f"{tp + fn:,}", *(f"{100 * a / b:.1f}" if b else "-" for a, b in shares)))
    more = len(record.names) - MOST
    yield "## Each of them on test" if labels else "## Each class on test"
    yield _markdown(lines) + (f"\n\nAnd {more} more, in `record.json`." if more > 0 else "")
    if not labels and len(record.names) <= SQUARE:
        square = [("true \\ predicted", *map(_cell, record.names)), ("---",) * (len(record.names) + 1)]
        rows = [(_cell(name), *map(str, row)) for name, row in zip(record.names, record.confusion, strict=True)]
        yield _markdown([*square, *rows])


def _data(record: Record, task: str, data: Mapping[str, Any] | None, *, remembers: bool) -> Iterator[str]:
    counted = record.samples
    assert counted is not None  # noqa: S101 (a completed run has counts)
    if data is None:
        yield f"Task `{record.task}`. {' '.join(task.split())}"
    else:
        source, target = data["source"], data["target"]
        yield (
            f"A table of {source['rows']:,} rows and {source['columns']} columns; its content has the fingerprint "
            f"`{data['fingerprint']}`. Target: {', '.join(target['columns'])} ({target['kind']})."
        )
        rows = [(_cell(one["name"]), one["is"], _cell(one["because"])) for one in data["columns"][:MOST]]
        more = len(data["columns"]) - MOST
        told = f"\n\nAnd {more} more, in `data.json`." if more > 0 else ""
        yield _markdown([("column", "is", "because"), ("---",) * 3, *rows]) + told
    counts = [("train", counted.train), ("validation", counted.validation), ("test", counted.test or 0)]
    lines = [
        (name, f"{count:,}", *(f"{counted.missing.get(name, {}).get(one, 0):,}" for one in record.encoders))  # type: ignore[call-overload]  # names of splits
        for name, count in counts
    ]
    heads = ("split", "samples with truth", *(f"without {_cell(one)}" for one in record.encoders))
    yield _markdown([heads, ("---",) * len(heads), *lines])
    yield "Which row is in which split stands in `splits.parquet`."
    if not remembers:
        return
    yield (
        "`trained_on.safetensors` holds a salted hash of the inputs of each row of train and validation, and of each "
        "text, picture and sound by itself where they hardly repeat (of very many a sample), so that `mmkit evaluate` "
        "can say which rows the model was trained on. A row cannot be read from its hash, but whoever has both the "
        "model and a row can tell whether it is among them. The model answers as well without the file: remove it "
        "before you give the model away, if that matters."
    )


def _made(record: Record, command: str) -> Iterator[str]:
    training = record.run["training"]
    if command:
        yield f"```\n{command}\n```"
    rate = f"learning rate {training['lr']:g}"
    if record.search is not None:
        tried = ", ".join(f"{one.lr:g}" for one in record.search.tried)
        rate += f", the best of {tried} on validation by {title_of(record.search.metric)}"
    epochs = ", ".join(map(str, (record.refit.epochs if record.refit else record.averaged_epochs)))
    kept = f"epoch {epochs} of {record.phases[-1].planned}" if record.phases else f"epoch {epochs}"
    yield f"Seed {record.seed}; {rate}; batches of {training['batch_size']}; kept is {kept}."
    if record.objectives:
        yield f"Objectives: {', '.join(f'`{one}`' for one in record.objectives)}."
    yield from _without_inputs(training)
    cost = f"{record.seconds:.0f} s" if record.seconds is not None else "an unknown time"
    cpu = record.machine.get("cpu", "")
    shared = f", on {record.ranks} ranks that shared each batch" if record.ranks > 1 else ""
    yield f"The last training took {cost} on {record.device} ({cpu}), {record.precision}{shared}."
    made = {"mmkit-core": record.software.get("mmkit"), **record.plugins, **record.libraries}
    made |= {name: record.software.get(name) for name in ("torch", "python")}
    yield "Made with " + ", ".join(f"{name} {version}" for name, version in made.items()) + "."
    yield "Every option, the course of the training and hashes of the data stand in `record.json`."


def _without_inputs(training: Mapping[str, Any]) -> Iterator[str]:
    """What stands in place of missing inputs, and how it was learned."""
    kind, dropout = training.get("missing", "neutral"), training.get("modality_dropout", 0)
    stands = {
        "token": "Where an input is missing, the fusion sees a learned token of it.",
        "bank": "Where an input is missing, the fusion sees a learned token of it and of the inputs that are missing.",
    }
    if kind in stands:
        yield stands[kind]
    if dropout:
        yield f"In training inputs were left out with probability {dropout:g}, never all of a sample."


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: object) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
