"""A blend: the answers of several trained models, mixed by weights that are fitted on validation alone.

Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004,
https://doi.org/10.1145/1015330.1015432: from nothing, again and again the model is added whose addition makes the mean
of the answers best on validation; one may be added several times, and the best of these blends is kept. Two things
differ: the library is pruned to its best `LIBRARY` models, and there is no bagging of libraries.

The library is every training of the last rungs of a search within a budget, and of its more seeds, single inputs
included; each keeps its answers in DIR/blend. Those of test are made there, but nobody looks at the truth of test
before the weights are fitted. Then the blend is measured, once. It is a row of its own, with the cost of all of its
models, and never what is chosen.

Axes: N samples with truth, C size of the target.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmkit.contract import Batch, Split
from mmkit.data.splits import Splits
from mmkit.experiments.run import Run, known_as, surroundings
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import Metrics, higher_is_better, leaves_of, measured_as_tensors, metrics_of
from mmkit.model.assembly import Transforms
from mmkit.records.choice import criterion
from mmkit.records.record import Cost, Record, SampleCounts, Speed
from mmkit.system.hashing import fingerprint
from mmkit.transforms.truth import numbers_of

FOLDER = "blend"
LIBRARY = 10
"""Models that a blend may be of: the best ones on validation."""
PARTS: tuple[Split, ...] = ("validation", "test")
STEPS = 20
"""Additions that are tried."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Member:
    """A trained model of the library.

    Args:
        run: of it.
        record: of the run.
        answers: [N C] by split.
    """

    run: Run
    record: Record
    answers: Mapping[str, Array]


def greedy(answers: Sequence[Array], score: Callable[[Array], float]) -> list[int]:
    """How often each model is in the blend that greedy selection with replacement finds.

    >>> models = [np.array([1.0, 0.5]), np.array([0.0, 1.0]), np.array([0.5, 0.0])]
    >>> greedy(models, lambda mean: -((mean - [1.0, 0.0]) ** 2).sum())
    [1, 0, 1]

    Args:
        answers: [N C] of each model.
        score: of a mean of them; more is better.
    """
    total: Array = np.zeros_like(answers[0], np.float64)
    counts, best, found = [0] * len(answers), -np.inf, [0] * len(answers)
    for step in range(1, STEPS + 1):
        scores = [score((total + one) / step) for one in answers]
        at = int(np.argmax(scores))
        total = total + answers[at]
        counts[at] += 1
        if scores[at] > best:
            best, found = scores[at], list(counts)
    return found


def library(done: Sequence[tuple[Run, Record]], folder: Path) -> list[Member]:
    """The models of a suite that can be blended, the best on validation first.

    Args:
        done: its runs with their records.
        folder: of the suite, where answers are kept.
    """
    files = {record.id: folder / FOLDER / f"{record.id}.npz" for _, record in done if record.status == "ok"}
    records = [record for _, record in done if record.id in files and files[record.id].is_file()]
    by = criterion(records)
    runs = {record.id: run for run, record in done}
    best = sorted(records, key=lambda record: by.score([record]), reverse=True)[:LIBRARY]
    members = []
    for record in best:
        with np.load(files[record.id]) as file:
            members.append(Member(runs[record.id], record, {name: file[name] for name in file.files}))
    return [one for one in members if _shapes(one) == _shapes(members[0])]  # others have dropped samples


def blended(members: Sequence[Member], splits: Splits, shared: Shared) -> Record | None:
    """The record of the blend of several models; None where no two are better than the best of them alone.

    Args:
        members: from `library`.
        splits: of their task.
        shared: what the runs share.
    """
    if len(members) < 2 or not measured_as_tensors(splits.task.target):
        return None
    sizes = {part: len(splits.with_truth(part)) for part in PARTS}
    if any(len(members[0].answers[part]) != size for part, size in sizes.items()):
        shared.progress.note("no models are blended: their trainings left out samples of validation or test")
        return None
    began, truths = time.time(), _Truths(members[0].run, splits, shared)
    by = criterion(one.record for one in members)

    def score(answers: Array) -> float:
        return by.of(truths.metrics("validation", answers, [by.metric]).compute([by.metric]))

    counts = greedy([one.answers["validation"] for one in members], score)
    taken = [(one, count / sum(counts)) for one, count in zip(members, counts, strict=True) if count]
    if len(taken) < 2:
        return None
    mixed = {part: np.sum([weight * one.answers[part] for one, weight in taken], axis=0) for part in PARTS}
    on_validation = truths.metrics("validation", mixed["validation"])
    on_test = truths.metrics("test", mixed["test"])
    run, metric, records = members[0].run, splits.task.metric, [one.record for one, _ in taken]
    weights = {one.record.id: weight for one, weight in taken}
    train = records[0].samples.train if records[0].samples else 0
    return Record(
        **{**known_as(run, splits), "id": fingerprint({"blend": weights})},
        purpose="blend",
        status="ok",
        task=str(run.task),
        encoders={},
        fusion=f"blend of {len(taken)} models",
        head="-",
        objectives=[],
        seed=0,
        metric=metric,
        epoch_metric=metric,
        higher_is_better=higher_is_better(metric),
        metrics=on_test.compute(),
        validation=on_validation.compute(),
        chosen={"weights": weights},
        names=records[0].names,
        samples=SampleCounts(train, on_validation.samples, on_test.samples, {}),
        cost=joint_cost([record.cost for record in records]),
        throughput=joint_speed([record.throughput for record in records]),
        seconds=time.time() - began,
        run={"task": str(run.task), "blend": weights, **run.settings.document()},
        **surroundings(run),
    )


def joint_cost(costs: Sequence[Cost | None]) -> Cost | None:
    """The cost of several models: the sum of each figure, None where one has none; memory is not summed."""
    known = [one for one in costs if one is not None]
    if len(known) < len(costs):
        return None
    trainable = [one.trainable_parameters for one in known]
    flops = [one.flops_per_sample for one in known]
    return Cost(
        sum(one.parameters for one in known),
        None if None in trainable else sum(one for one in trainable if one is not None),
        None if None in flops else sum(one for one in flops if one is not None),
        list(dict.fromkeys(name for one in known for name in one.flops_uncounted)),
    )


def joint_speed(speeds: Sequence[Speed | None]) -> Speed | None:
    """The speed of several models one after the other: their times a sample and their latencies add up."""
    known = [one for one in speeds if one is not None]
    if len(known) < len(speeds):
        return None
    p50 = [one.latency_ms.get("p50") for one in known]
    return Speed(
        1 / sum(1 / one.inference_samples_per_s for one in known),
        1 / sum(1 / one.train_samples_per_s for one in known),
        {"p50": None if None in p50 else sum(one for one in p50 if one is not None)},
        known[0].inference_batch_size,
        known[0].train_batch_size,
    )


def _shapes(one: Member) -> dict[str, tuple[int, ...]]:
    return {part: answers.shape for part, answers in one.answers.items()}


class _Truths:
    """The truth of the splits of a task, by which answers are measured; each is read when it is needed."""

    def __init__(self, run: Run, splits: Splits, shared: Shared) -> None:
        self._splits, self._shared = splits, shared
        train = splits.with_truth("train")
        self._transforms = Transforms.fitted(
            run.combination, splits.task.target, train.inputs, train.truth, train.ids, shared
        )
        self._known: dict[Split, Batch] = {}

    def metrics(self, part: Split, answers: Array, names: Sequence[str] | None = None) -> Metrics:
        """The metrics of answers [N C], of the samples with truth."""
        if part not in self._known:
            self._known[part] = self._read(part)
        truth, target = self._known[part], self._transforms.truth.target()
        metrics = metrics_of(target, names)
        metrics.update({leaves_of(target.kind)[0]: torch.from_numpy(np.ascontiguousarray(answers))}, truth)
        return metrics

    def _read(self, part: Split) -> Batch:
        samples = self._splits.with_truth(part)
        if self._splits.task.target != "scalar":
            return dict(self._transforms.read_truth(samples, self._shared))
        rows = torch.tensor([numbers_of(one) for one in samples.truth], dtype=torch.float64)
        return {"values": rows, "mask": torch.ones(len(rows), dtype=torch.bool)}
