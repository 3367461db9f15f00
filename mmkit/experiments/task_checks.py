"""Cheap checks of a task before anything is trained: what would make all figures wrong, or end every run.

They read raw samples, decode nothing, and take less than a second each on 100,000 rows. What no run can survive is an
error; what may be meant is a line for the user. The thorough ones are the conformance kit's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from mmkit.contract import Samples, Split, Task, TruthTransform
from mmkit.data.bad_values import TRUTH, RejectedError
from mmkit.data.splits import Splits
from mmkit.data.value_hashes import value_hash
from mmkit.errors import DataError, UsageError, one_of
from mmkit.metrics.answers import HEAD_LOSS, measures_of
from mmkit.metrics.tensors import measured_as_tensors, metric_names
from mmkit.modalities.arrays import is_missing
from mmkit.transforms.truth import category_name, numbers_of

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_NEEDS_TWO = {
    "auroc_macro": "classes",
    "average_precision_macro": "classes",
    "r2": "different values",
    "pearson": "different values",
    "spearman": "different values",
}
"""Metrics that are not defined where all truth is the same."""


def check_task(splits: Splits, *, refuse_unseen: bool = False) -> list[str]:
    """What stands out in a task, one line each.

    Args:
        splits: of the task, as it gives them.
        refuse_unseen: whether a class of test that training lacks is an error, since every run would end by it.

    Raises:
        UsageError: a metric that its kind of target does not have.
        DataError: a metric that cannot be computed on validation.
        RejectedError: with `refuse_unseen`, a class of test that training lacks.
    """
    task = splits.task
    check_metrics(task)
    given = {name: splits.raw(name) for name in SPLITS}
    _possible(task, given["validation"])
    unseen = _unseen(task, given)
    if refuse_unseen and "test" in unseen and "validation" not in unseen:  # the dry run tells that of validation
        raise RejectedError(TRUTH, unseen["test"], of_truth=True)
    return [
        *_missing(task, given),
        *(
            f"{split}: {reason}, in {len(found)} of {len(given[split])} samples"
            for split, found in unseen.items()
            for reason in [next(iter(found.values()))]
        ),
        *(() if _looked_over(task) else _shared_content(given)),
        *_shared_groups(given),
        *(() if _looked_over(task) else _given_away(given["train"])),
    ]


def _looked_over(task: Task) -> bool:
    """Whether the task has told what is in its data, copies and leaks among it; to read all again takes long."""
    return hasattr(task, "document")


def check_metrics(task: Task) -> None:
    """Check that the metrics of a task are those of its kind of target, where mmkit knows them.

    Raises:
        UsageError: there is no such metric.
    """
    if not measured_as_tensors(task.target):
        return  # the truth's transform has the metrics; the dry run asks it
    known = metric_names(task.target)
    for what in ("metric", "epoch_metric"):
        name = getattr(task, what, None)
        if name is not None and name not in known:
            raise UsageError(f"the task's {what} is {name!r}; {task.target} has none such: {one_of(known, str(name))}")


def check_measures(task: Task, transform: TruthTransform) -> None:
    """Check that the metrics of a task are those of its truth's transform, where that has them.

    Raises:
        UsageError: there is no such metric.
    """
    if measured_as_tensors(task.target):
        return
    known = (*measures_of(transform, task.target), HEAD_LOSS)
    for what in ("metric", "epoch_metric"):
        name = getattr(task, what, None)
        if name is not None and name not in known:
            raise UsageError(f"the task's {what} is {name!r}; {task.target} has none such: {one_of(known, str(name))}")


def _possible(task: Task, validation: Samples) -> None:
    """Check that the metric of epochs is defined on validation; without it no epoch could be chosen."""
    name = getattr(task, "epoch_metric", task.metric)
    known = [truth for truth in validation.truth if truth is not None]
    if name not in _NEEDS_TWO or not known:
        return
    if task.target == "labels":
        sets = [frozenset(map(str, _listed(truth))) for truth in known]
        enough = any(0 < sum(label in one for one in sets) < len(sets) for label in frozenset().union(*sets))
    else:
        first = _plain(task.target, known[0])
        enough = any(_plain(task.target, truth) != first for truth in known)
    if not enough:
        raise DataError(
            f"the task chooses epochs by {name}, which needs two {_NEEDS_TWO[name]} in validation; all "
            f"{len(known)} samples there have the truth {known[0]!r}: give a validation split with more, or another "
            "metric"
        )


def _missing(task: Task, splits: Mapping[Split, Samples]) -> Iterator[str]:
    """Inputs that are missing in all samples of validation or of test; `check_inputs` tells those of train."""
    for name, samples in ((name, splits[name]) for name in SPLITS[1:]):
        strangers = sorted(set(samples.inputs) - set(task.inputs), key=str)
        for given in task.inputs:
            column = samples.inputs.get(given)
            if column is None and strangers:
                yield (
                    f"input {given} is missing in all {len(samples)} samples of {name}: there is no such column; "
                    f"{one_of(map(str, strangers), given)}"
                )
            elif column is None or all(is_missing(value) for value in column):
                yield f"input {given} is missing in all {len(samples)} samples of {name}"


def _unseen(task: Task, splits: Mapping[Split, Samples]) -> dict[Split, dict[Any, str]]:
    """Of validation and test: the samples of classes or labels that training never shows, and which."""
    if task.target not in {"classes", "labels"}:
        return {}
    known = {one for truth in splits["train"].truth for one in _categories(task.target, truth)}
    what = {"classes": "class", "labels": "label"}[task.target]
    found: dict[Split, dict[Any, str]] = {}
    for name in SPLITS[1:]:
        for i, truth in zip(splits[name].ids, splits[name].truth, strict=False):
            if new := next((one for one in _categories(task.target, truth) if one not in known), None):
                found.setdefault(name, {})[i] = f"{what} {new} does not occur in the training split"
    return found


def _categories(kind: str, truth: Any) -> list[str]:
    """The classes or labels of one truth; none where it cannot be used, which is said where truth is transformed."""
    if truth is None:
        return []
    try:
        return [_plain("classes", one) for one in ([truth] if kind == "classes" else _listed(truth))]
    except (DataError, TypeError):
        return []


def _plain(kind: str, truth: Any) -> Any:
    """A truth as it is compared: a category by its name, yes and no as 1 and 0, numbers as they are."""
    if kind == "scalar":
        return tuple(numbers_of(truth))
    name = truth if type(truth) is str and truth.isalnum() and truth.isascii() else category_name(truth)
    return {"True": "1", "False": "0"}.get(name, name)


def _listed(truth: Any) -> list[Any]:
    return list(truth.tolist() if hasattr(truth, "tolist") else truth)


def _shared_content(splits: Mapping[Split, Samples]) -> Iterator[str]:
    """Samples of two splits that have the same inputs, whatever their ids."""
    found: dict[Split, dict[tuple[int, ...], Any]] = {}
    hashes: dict[Split, list[tuple[int, ...]]] = {}
    for name, samples in splits.items():
        columns = [samples.inputs[given] for given in sorted(samples.inputs, key=str)]
        hashes[name] = list(zip(*(map(value_hash, column) for column in columns), strict=True)) if columns else []
        found[name] = {one: i for i, one in zip(samples.ids, hashes[name], strict=False) if any(one)}
    for one, other in combinations(SPLITS, 2):
        both = [(i, found[one][h]) for i, h in zip(splits[other].ids, hashes[other], strict=False) if h in found[one]]
        if both:
            yield (
                f"{len(both)} of {len(splits[other])} samples of {other} have the same inputs as samples of {one}, "
                f"such as {both[0][0]} and {both[0][1]}; figures on {other} are too good by that"
            )


def _shared_groups(splits: Mapping[Split, Samples]) -> Iterator[str]:
    """Groups that stand in two splits."""
    shared = {
        (one, other): _all_groups(splits[one]) & _all_groups(splits[other]) for one, other in combinations(SPLITS, 2)
    }
    told = [f"{one} and {other} {len(groups)}" for (one, other), groups in shared.items() if groups]
    if told:
        example = min(next(groups for groups in shared.values() if groups), key=str)
        yield f"splits share groups ({', '.join(told)}), such as {example}; figures on test do not speak of new groups"


def _all_groups(samples: Samples) -> set[str]:
    """Every group of every factor."""
    return set().union(*samples.factors.values())


def _given_away(samples: Samples) -> Iterator[str]:
    """Inputs, or columns of tables, that say the truth word for word."""
    truths = [None if truth is None or _several(truth) else str(truth) for truth in samples.truth]
    if len(set(truths) - {None}) < 2:
        return
    for name, column in samples.inputs.items():
        first = next((value for value in column if isinstance(value, Mapping)), {})
        for cell in [None, *first]:
            same = 0
            for value, truth in zip(column, truths, strict=False):
                told = value.get(cell) if cell is not None and isinstance(value, Mapping) else value
                if told is None or truth is None:
                    continue
                if not isinstance(told, str | int | float) or str(told) != truth:
                    break
                same += 1
            else:
                if same > 1:
                    where = f"input {name}" if cell is None else f"column {cell} of input {name}"
                    yield f"{where} is the truth itself in all {same} samples of train that have both"


def _several(truth: Any) -> bool:
    return isinstance(truth, list | tuple | set | frozenset) or getattr(truth, "ndim", 0) > 0
