"""Yardsticks: what a user could do without mmkit, with records of their own beside those of a suite.

Where all encoders of a combination are frozen, the same features are there for everybody, and scikit-learn fits

- a regression of all features joined,
- late: the mean of the predictions of one regression an input,
- product: the product of their probabilities;

and of an input that is a table, boosted trees. Regression is logistic for classes and ridge for numbers; other targets
have no yardstick. What has to be chosen is chosen on validation; test is read once, after it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from mmkit.contract import Batch, Samples, Split, Target
from mmkit.data.bad_values import RejectedError, fit_transform, transform_batch
from mmkit.data.packed import Packed
from mmkit.data.splits import Splits
from mmkit.errors import MmkitError, UnavailableError
from mmkit.experiments.run import Run, known_as, surroundings
from mmkit.experiments.yardstick_models import (
    EVALUATED,
    Answers,
    Array,
    averaged,
    boosting,
    linear,
    multiplied,
    table_of,
)
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import Metrics, higher_is_better, metrics_of
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.records.choice import Criterion, criterion_of
from mmkit.records.record import Record, SampleCounts
from mmkit.system.hashing import fingerprint
from mmkit.system.machine import libraries
from mmkit.system.state import own_state
from mmkit.training.frozen import Frozen
from mmkit.transforms.table import TableTransform
from mmkit.transforms.truth import numbers_of

CHEAP = 5_000
"""Training samples up to which yardsticks are fitted where nobody says whether."""
PARTS: tuple[Split, ...] = ("train", "validation", "test")

AT_ONCE = 4096
"""Samples whose features are padded at once."""


class Fit(NamedTuple):
    """What a yardstick found: its predictions, and what it chose on validation, by its parts."""

    answers: Answers
    chosen: dict[str, dict[str, Any]]


class Evaluated(NamedTuple):
    """A yardstick that was fitted and measured; `on_test` is None where no sample of test has truth."""

    chosen: dict[str, dict[str, Any]]
    on_validation: Metrics
    on_test: Metrics | None


def wanted(asked: bool | None, splits: Splits) -> bool:
    """Whether yardsticks are fitted: as asked; else where scikit-learn is installed and the training split is small.

    Raises:
        UnavailableError: they are asked for, and scikit-learn is not installed.
    """
    there = importlib.util.find_spec("sklearn") is not None
    if asked and not there:
        raise UnavailableError('--yardsticks needs scikit-learn; install it with pip install "mmkit-core[yardsticks]"')
    return there and (len(splits("train")) <= CHEAP if asked is None else asked)


@dataclass(frozen=True)
class Yardstick:
    """One way to do without mmkit.

    Args:
        name: as its row is called.
        run: of a combination that has the encoders whose features, or the inputs whose values, it reads.
        data: what it is fitted on.
        way: makes predictions, and says what it chose.
    """

    name: str
    run: Run
    data: _Data
    way: Callable[[], Fit]

    def id(self, splits: Splits) -> str:
        """A hash over its name, its data, and the encoders of its inputs; of the run's fusion it does not depend."""
        one = self.run.combination
        alone = [Combination({name: choice}, None, one.head) for name, choice in one.encoders.items()]
        ids = [Run(self.run.task, single, settings=self.run.settings).id(splits) for single in alone]
        return fingerprint({"yardstick": self.name, "of": ids})


def yardsticks(done: Iterable[tuple[Run, Record]], splits: Splits, shared: Shared) -> list[Yardstick]:
    """The yardsticks of a suite; nothing is fitted yet.

    Args:
        done: its runs with their records, which say whose encoders are frozen.
        splits: of its task.
        shared: what the runs share; it has the features.
    """
    target = splits.task.target
    if target not in {"classes", "scalar"}:
        return []
    truth = splits.with_truth("train").truth
    if len({str(one) for one in truth}) < 2:
        return []
    boosts = target == "classes" or len(numbers_of(truth[0])) == 1  # boosting predicts one number
    kind = "logistic regression" if target == "classes" else "ridge regression"
    found: dict[tuple[str, str], Yardstick] = {}
    for run, record in done:
        encoders = record.encoders
        if record.status == "ok" and set(record.encoded_once) == set(encoders):
            data = _Data(run, splits, shared)
            several = len(encoders) > 1
            ways: dict[str, Callable[[], Fit]] = {"joined" if several else next(iter(encoders)): data.joined}
            # Those of a single input beside those of all would be rows that nobody asked for.
            if several:
                ways["late"] = data.late
                if target == "classes":
                    ways["product"] = data.product
            if several or len(splits.task.inputs) == 1:
                for way, fit in ways.items():
                    found.setdefault((str(encoders), way), Yardstick(f"yardstick: {kind}, {way}", run, data, fit))
        for name in encoders if boosts else ():
            if splits.task.inputs[name] == "table" and record.status == "ok":
                single = Combination({name: run.combination.encoders[name]}, None, run.combination.head)
                alone = replace(run, combination=single)
                data = _Data(alone, splits, shared)
                boosted = Yardstick(f"yardstick: boosting of {name}", alone, data, data.boosted)
                found.setdefault((name, "boosting"), boosted)
    return list(found.values())


def measured(yardstick: Yardstick, splits: Splits) -> Record:
    """Fit a yardstick, and evaluate it on validation and test; its record says why where that fails."""
    began = time.time()
    run, encoders = yardstick.run, yardstick.run.combination.encoders
    known: dict[str, Any] = {
        **known_as(run, splits),
        "id": yardstick.id(splits),
        "purpose": "yardstick",
        "task": str(run.task),
        "encoders": {name: str(choice) for name, choice in encoders.items()},
        "fusion": yardstick.name,
        "head": "scikit-learn",
        "objectives": [],
        "seed": 0,
        "run": {"task": str(run.task), "yardstick": yardstick.name, **run.settings.document()},
        **surroundings(run),
    }
    learn = {"scikit-learn": importlib.metadata.version("scikit-learn")}
    known |= {"plugins": {**known["plugins"], **learn}, "libraries": {**known["libraries"], **libraries(learn)}}
    try:
        found = yardstick.data.evaluated(yardstick.way)
    except (ValueError, MmkitError) as error:  # data that scikit-learn does not take: it costs its own record only
        return Record(
            **known, status="failed", error=f"{type(error).__name__}: {error}", exit_code=getattr(error, "exit_code", 1)
        )
    data, on_validation, on_test = yardstick.data, found.on_validation, found.on_test
    metric = splits.task.metric
    return Record(
        **known,
        status="ok",
        metric=metric,
        epoch_metric=metric,
        higher_is_better=higher_is_better(metric),
        metrics=on_test.compute() if on_test else {},
        validation=on_validation.compute(),
        chosen=found.chosen,
        names=list(data.target.names),
        samples=SampleCounts(len(data.samples("train")), on_validation.samples, on_test.samples if on_test else 0, {}),
        seconds=time.time() - began,
    )


class _Data:
    """The features, the table and the truth of a combination's inputs, each made at its first use, and the fits.

    Args:
        run: of the combination.
        splits: of its task.
        shared: has the features.
    """

    def __init__(self, run: Run, splits: Splits, shared: Shared) -> None:
        self.run, self.shared = run, shared
        self._truths: dict[Split, Batch] = {}
        self._splits = splits.own()
        self.classes = splits.task.target == "classes"

    def samples(self, part: Split) -> Samples:
        """Those of a split that have truth."""
        return self._splits.with_truth(part)

    def evaluated(self, way: Callable[[], Fit]) -> Evaluated:
        """Fit and measure. Values that a transform rejects are dropped as the settings say, as in a run.

        Raises:
            RejectedError: a value is rejected, and they say that nothing is dropped.
        """

        def once(_: Splits) -> Evaluated:
            try:
                fit = way()
                found = {part: self.metrics(part, answer) for part, answer in fit.answers.items()}
            except RejectedError:
                self._forget()
                raise
            return Evaluated(fit.chosen, found["validation"], found.get("test"))

        return self._splits.retry_without_rejected(once)

    def _forget(self) -> None:
        """Forget what was made of the samples."""
        for name in ("_parts", "_transforms", "_features", "target", "_by", "_known", "_singles"):
            self.__dict__.pop(name, None)
        self._truths.clear()

    @cached_property
    def _parts(self) -> tuple[Split, ...]:
        """The splits that have truth: test may have none."""
        return PARTS if any(one is not None for one in self._splits("test").truth) else PARTS[:2]

    @cached_property
    def _transforms(self) -> Transforms:
        train = self.samples("train")
        return Transforms.fitted(
            self.run.combination, self._splits.task.target, train.inputs, train.truth, train.ids, self.shared
        )

    @cached_property
    def _features(self) -> dict[str, dict[Split, Array]]:
        """[N D] by input and split; zero where the input is missing."""
        combination, device = self.run.combination, self.run.settings.device
        with own_state(device, seed=self.run.seed):
            module, _ = build_model(combination, self._transforms, self.shared)
        frozen = Frozen(module.to(device), combination, self._transforms, self.run.settings, shared=self.shared)
        found: dict[str, dict[Split, Array]] = {name: {} for name in combination.encoders}
        for part in self._parts:
            samples = self.samples(part)
            data = frozen.dataset(samples, augment=False, split=part)
            for name, stored in data.inputs.items():
                if not isinstance(stored, Packed):
                    raise TypeError(f"input {name} has no features")  # of a frozen encoder it has
                rows = torch.arange(len(samples), device=stored.tokens.device)
                found[name][part] = np.concatenate(
                    [stored.rows(some).vector().float().cpu().numpy() for some in rows.split(AT_ONCE)]
                )
        return found

    @cached_property
    def target(self) -> Target:
        """What was fitted of the truth."""
        return self._transforms.truth.target()

    def truth(self, part: Split) -> Batch:
        """`label` [N] or `values` [N C], as metrics read them."""
        if part not in self._truths:
            self._truths[part] = self._read_truth(part)
        return self._truths[part]

    def _read_truth(self, part: Split) -> Batch:
        samples = self.samples(part)
        read = self._transforms.read_truth(samples, self.shared)
        if self.classes:
            return read
        rows = torch.tensor([numbers_of(one) for one in samples.truth], dtype=torch.float64)
        return {"values": rows, "mask": torch.ones(len(rows), dtype=torch.bool)}

    def metrics(self, part: Split, answer: Array) -> Metrics:
        """The metrics of predictions [N C]."""
        metrics = metrics_of(self.target)
        leaf = "probabilities" if self.classes else "values"
        metrics.update({leaf: torch.from_numpy(np.ascontiguousarray(answer))}, self.truth(part))
        return metrics

    @cached_property
    def _by(self) -> Criterion:
        metric = self._splits.task.metric
        scores = ["log_loss"] if self.classes else []
        count = len(self.samples("validation"))
        return criterion_of(metric, count, scores, higher_is_better=higher_is_better(metric))

    def _score(self, answer: Array) -> float:
        return self._by.of(self.metrics("validation", answer).compute([self._by.metric]))

    @cached_property
    def _known(self) -> Array:
        """Of the training split, classes [N] or numbers [N C]."""
        return self.truth("train")["label" if self.classes else "values"].numpy()

    def joined(self) -> Fit:
        """One regression of all features."""
        parts = {part: np.concatenate([of[part] for of in self._features.values()], 1) for part in self._parts}
        answers, chosen = linear(parts, self._known, self._score, classes=self.classes)
        return Fit(answers, {"regression": chosen})

    @cached_property
    def _singles(self) -> dict[str, tuple[Answers, dict[str, Any]]]:
        return {
            name: linear(dict(of), self._known, self._score, classes=self.classes)
            for name, of in self._features.items()
        }

    def _combined(self, way: Callable[[Sequence[Array]], Array]) -> Fit:
        parts = [part for part in EVALUATED if part in self._parts]
        answers = {part: way([answers[part] for answers, _ in self._singles.values()]) for part in parts}
        chosen = {f"regression of {name}": chosen for name, (_, chosen) in self._singles.items()}
        return Fit(answers, chosen)

    def late(self) -> Fit:
        """The mean of the predictions of one regression an input."""
        return self._combined(averaged)

    def product(self) -> Fit:
        """The product of the probabilities of one regression an input."""
        return self._combined(multiplied)

    def boosted(self) -> Fit:
        """Boosted trees of the table."""
        (name,) = self.run.combination.encoders
        transform = TableTransform()
        columns = {part: (self.samples(part).inputs[name], self.samples(part).ids) for part in self._parts}
        fit_transform(name, transform, *columns["train"])
        parts, categorical = table_of(
            {
                part: transform_batch(name, transform, values, column=values, ids=ids)
                for part, (values, ids) in columns.items()
            }
        )
        answers, chosen = boosting(parts, categorical, self._known, self._score, classes=self.classes)
        return Fit(answers, {f"boosting of {name}": chosen})
