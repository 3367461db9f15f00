"""The phases of a training: where encoders are tuned, all else is first trained on their features as they came.

samples -> features of frozen and untuned encoders -> scaling -> probing -> tuning
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from torch import nn

from mmkit.contract import Samples
from mmkit.data.dataset import Dataset
from mmkit.heads.loss import unsmoothed
from mmkit.model.network import TrainingStep
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.events import Events
from mmkit.training.frozen import Frozen
from mmkit.training.loop import Trained, fit
from mmkit.training.micro_batches import divisible
from mmkit.training.optimisation import Training

Phase = Literal["training", "probing", "tuning"]
TRAINING: Phase = "training"
PROBING: Phase = "probing"
TUNING: Phase = "tuning"
"""The names of the phases: the only one, or the first and the second."""


@dataclass(frozen=True)
class Chosen:
    """What an earlier training has chosen in a phase.

    Args:
        planned: number of epochs, which the schedule of rates hangs on.
        averaged: the epochs whose weights were averaged.
    """

    planned: int
    averaged: Sequence[int]


@dataclass(frozen=True)
class Phases:
    """The training of a model on two splits, of which all samples have truth.

    Args:
        step: the model with its losses, on its device.
        frozen: of the model.
        train: the training split, decoded.
        validation: the validation split, decoded.
        score: of the model on a data set of the validation split, as `fit` takes it.
        seed: of order, augmentation and dropout.
        chosen: what an earlier training has chosen, by phase; validation then chooses nothing.
        checkpoints: as `fit` takes them.
        events: written after each epoch.
    """

    step: TrainingStep
    frozen: Frozen
    train: Samples
    validation: Samples
    score: Callable[[Dataset], tuple[float, Mapping[str, float | None]]]
    seed: int
    chosen: Mapping[str, Chosen] | None = None
    checkpoints: Checkpoints | None = None
    events: Events | None = None

    def run(self, training: Training, *, rate_alone: bool = False) -> tuple[Trained, Dataset]:
        """Fit the scaling of features and train; the model then has the weights of the best epoch.

        Args:
            training: options.
            rate_alone: only what `lr` acts on: where encoders are tuned after probing, their tuning is left out.

        Returns:
            The course of the training, with encoders that are tuned that of tuning, in the seconds of both phases; and
            the validation split as the model reads it.

        Raises:
            RejectedError: a transform rejects values.
            MmkitError: the loss is not finite, or no epoch has a validation score.
            DataError: a checkpoint cannot be read.
        """
        model = self.step.model
        tuned = [model.encoders[model.names[name]] for name in self.frozen.tuned]
        untuned = replace(self.frozen, untuned=True)
        data = untuned.dataset(self.train, augment=True, split="train")
        untuned.fit_scaling(self.train, data)
        if not tuned:
            return self._fit(TRAINING, untuned, data, training)
        if rate_alone and training.probe:
            with held(tuned):
                return self._fit(PROBING, untuned, data, training)
        probed = self._probed() if training.probe else None
        if training.probe and probed is None:
            with held(tuned):
                probed, _ = self._fit(PROBING, untuned, data, training)
        fusion = self.frozen.combination.fusion
        options = training.tuning(divisible=divisible(self.step, fusion.spec if fusion else None))
        data = self.frozen.dataset(self.train, augment=True, split="train")
        with unsmoothed(self.step):
            trained, validation = self._fit(
                TUNING, self.frozen, data, options, start_counts=probed is not None, before=probed
            )
        if probed:
            seconds, loading = probed.seconds + trained.seconds, probed.loading + trained.loading
            trained = replace(trained, seconds=seconds, loading=loading, probed=probed)
        return trained, validation

    def _probed(self) -> Trained | None:
        """The course of probing, if a checkpoint says that it has ended."""
        read = None if self.checkpoints is None else self.checkpoints.read()
        return None if read is None or read["phase"] != TUNING else Trained(**read["before"])

    def _fit(
        self,
        phase: Phase,
        frozen: Frozen,
        data: Dataset,
        training: Training,
        *,
        start_counts: bool = False,
        before: Trained | None = None,
    ) -> tuple[Trained, Dataset]:
        validation = frozen.dataset(self.validation, augment=False, split="validation")
        checkpoints, events = self.checkpoints, self.events
        if checkpoints is not None:
            known = before and {each.name: getattr(before, each.name) for each in fields(before)}
            checkpoints = replace(checkpoints, phase=phase, before=known)
        chosen = None if self.chosen is None else self.chosen[phase]
        trained = fit(
            self.step,
            data,
            partial(self.score, validation),
            training if chosen is None else replace(training, epochs=chosen.planned, min_steps=0),
            seed=self.seed,
            precision=frozen.settings.precision,
            progress=frozen.shared.progress,
            start_counts=start_counts,
            keep=None if chosen is None else chosen.averaged,
            checkpoints=checkpoints,
            told=None if events is None else partial(events.add, phase),
            held_out=validation if self.step.balance is not None and self.step.balance.validation else None,
        )
        return trained, validation


@contextmanager
def held(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, no parameter of the modules is trained; after it, those that were before."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad = True
