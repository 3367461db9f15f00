"""Checks of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from mmkit.contract import Samples
from mmkit.errors import ContractError, UsageError
from mmkit.metrics.tensors import metric_names
from mmkit.testing.checks.alike import alike, content
from mmkit.testing.specimens.task import TaskSpecimen


def describes(specimen: TaskSpecimen) -> str | None:
    """It says what it asks, of which inputs, and what ranks the answers; its spec says the same."""
    task, spec = specimen.task, specimen.spec
    for name in ("description", "target", "metric"):
        if not isinstance(value := getattr(task, name, None), str) or not value.strip():
            raise ContractError(f"{name} is a text that is not blank; got {value!r}")
    if not task.inputs or any(not isinstance(part, str) or not part for pair in task.inputs.items() for part in pair):
        raise ContractError(f"inputs maps each input to the name of its modality; got {task.inputs!r}")
    if strangers := set(task.encoders) - set(task.inputs):
        raise ContractError(f"encoders are recommended for {sorted(strangers)}, which are no inputs")
    said = spec is not None and bool(spec.modalities or spec.target)  # a spec may leave both to the options
    if spec is not None and said and (dict(spec.modalities) != dict(task.inputs) or spec.target != task.target):
        raise ContractError(
            f"its spec says {dict(spec.modalities)} and {spec.target}; it says {dict(task.inputs)} and {task.target}"
        )
    return None


def columns(specimen: TaskSpecimen) -> str | None:
    """Every split has samples, its columns are equally long and named as the inputs, and some truth is known."""
    for name, samples in specimen.splits.items():
        count = len(samples)
        if not count:
            raise ContractError(f"the split {name} is empty")
        if strangers := set(samples.inputs) - set(specimen.task.inputs):
            raise ContractError(f"the split {name} has {sorted(strangers)}, which are no inputs")
        lengths = {key: len(column) for key, column in samples.inputs.items()}
        lengths |= {"truth": len(samples.truth)} | {
            f"groups {name}": len(labels) for name, labels in samples.factors.items()
        }
        if wrong := {key: length for key, length in lengths.items() if length != count}:
            raise ContractError(f"the split {name} has {count} ids; columns of another length: {wrong}")
        if all(truth is None for truth in samples.truth):
            raise ContractError(f"the split {name} has no truth")
    return None


def disjoint(specimen: TaskSpecimen) -> str | None:
    """No sample stands in two splits, and no id twice in one."""
    for name, samples in specimen.splits.items():
        if twice := len(samples) - len(set(samples.ids)):
            raise ContractError(f"the split {name} has {twice} ids more than once")
    for (one, a), (other, b) in combinations(specimen.splits.items(), 2):
        if shared := set(a.ids) & set(b.ids):
            raise ContractError(f"{one} and {other} share {len(shared)} ids, such as {min(shared)!r}")
    return None


SHARED = 0.1
"""Of a split's samples whose content may stand in training: short texts and small tables meet by chance."""


def content_apart(specimen: TaskSpecimen) -> str | None:
    """Of validation and test no more than a tenth stands in training with all inputs and the truth, whatever the id."""
    contents = {name: _contents(samples) for name, samples in specimen.splits.items()}
    known = set(contents["train"])
    for name in ("validation", "test"):
        shared = sum(content in known for content in contents[name])
        if shared > SHARED * len(contents[name]):
            raise ContractError(f"{shared} of {len(contents[name])} samples of {name} stand in training as well")
    return None


def _contents(samples: Samples) -> list[bytes]:
    names = sorted(samples.inputs)
    rows = zip(*(samples.inputs[name] for name in names), samples.truth, strict=True)
    return [b"|".join(content(value) for value in row) for row in rows if any(v is not None for v in row[:-1])]


def metric(specimen: TaskSpecimen) -> str | None:
    """Its metrics are those of its kind of target."""
    task = specimen.task
    try:
        known = (*metric_names(task.target), *(("head_loss",) if task.target == "text" else ()))
    except UsageError:
        return f"which metrics a target of kind {task.target} has is its head's to say"
    for name in ("metric", "epoch_metric"):
        said = getattr(task, name, None)
        if said is not None and said not in known:
            raise ContractError(f"{name} is {said!r}; of {task.target} there are {', '.join(known)}")
    return None


def seen_classes(specimen: TaskSpecimen) -> str | None:
    """Every class or label of validation and test occurs in training."""
    if specimen.task.target not in {"classes", "labels"}:
        return "its target has no classes"
    names = {
        split: {
            str(name)
            for truth in samples.truth
            if truth is not None
            for name in ([truth] if specimen.task.target == "classes" else truth)
        }
        for split, samples in specimen.splits.items()
    }
    for split in ("validation", "test"):
        if unseen := names[split] - names["train"]:
            raise ContractError(f"{split} holds {sorted(unseen)[:3]}, which training does not")
    return None


OFTEN = 5
"""Samples of a truth, on average, from which on one value for each is no chance."""


def given_away(specimen: TaskSpecimen) -> str | None:
    """No input says the truth word for word, or by a code of its own for each: no value, and no column of a table."""
    samples = specimen.splits["test"]
    truths = [None if truth is None else str(truth) for truth in samples.truth]
    if len(set(truths) - {None}) < 2:
        return "test has one truth"
    for name, column in samples.inputs.items():
        for cell in {None} | {key for value in column if isinstance(value, Mapping) for key in value}:
            said = [value.get(cell) if isinstance(value, Mapping) else value for value in column]
            pairs = [(x, truth) for x, truth in zip(said, truths, strict=True) if x is not None and truth is not None]
            if len(pairs) > 1 and all(isinstance(x, str | int | float) and str(x) == truth for x, truth in pairs):
                where = f"input {name}" if cell is None else f"column {cell} of input {name}"
                raise ContractError(f"{where} is the truth in all {len(pairs)} samples of test that have it")
            if _coded(pairs):
                where = f"input {name}" if cell is None else f"column {cell} of input {name}"
                raise ContractError(f"{where} has one value for each truth, in all {len(pairs)} samples of test")
    return None


def _coded(pairs: Sequence[tuple[Any, str]]) -> bool:
    """Whether each truth has one plain value, and each value one truth, of truths that occur again and again."""
    if not all(isinstance(value, str | int | float) for value, _ in pairs):
        return False
    both = {(str(value), truth) for value, truth in pairs}
    values, truths = {value for value, _ in both}, {truth for _, truth in both}
    return len(both) == len(values) == len(truths) > 1 and len(pairs) >= OFTEN * len(truths)


def groups_apart(specimen: TaskSpecimen) -> str | None:
    """No group stands in two splits: a model must answer the question, not recognise a group that it was trained on."""
    if all(samples.groups is None for samples in specimen.splits.values()):
        return "its samples have no groups"
    for (one, a), (other, b) in combinations(specimen.splits.items(), 2):
        if shared := set().union(*a.factors.values()) & set().union(*b.factors.values()):
            raise ContractError(f"{one} and {other} share {len(shared)} groups, such as {min(shared)!r}")
    return None


def same_again(specimen: TaskSpecimen) -> str | None:
    """A split is always the same, whatever was asked for before."""
    other = specimen.build()
    for name in ("test", "train"):
        again, first = other.split("test" if name == "test" else "train"), specimen.splits[name]
        for column in ("ids", "truth", "factors", "inputs"):
            if not alike(_listed(getattr(again, column)), _listed(getattr(first, column))):
                raise ContractError(
                    f"asked again, the split {name} has other {'groups' if column == 'factors' else column}"
                )
    return None


def _listed(column: object) -> object:
    if isinstance(column, dict):
        return {name: list(values) for name, values in column.items()}
    return None if column is None else list(column)  # type: ignore[call-overload]


def decodes(specimen: TaskSpecimen) -> str | None:
    """Its raw values are such as their modalities decode."""
    for name, kind in specimen.task.inputs.items():
        modality = specimen.modality(kind)
        for split, samples in specimen.splits.items():
            values = [value for value in samples.inputs.get(name, ()) if value is not None]
            for value in (values[0], values[-1]) if values else ():
                try:
                    modality.decode(value)
                except Exception as error:
                    raise ContractError(
                        f"{kind} cannot decode {value!r:.60} of input {name}, split {split}: {error}"
                    ) from error
    return None
