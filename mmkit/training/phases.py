"""The phases of a training: where encoders are tuned, all else is first trained on their features as they came.

samples -> features of frozen and untuned encoders -> scaling -> probing -> tuning
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial

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

TRAINING, PROBING, TUNING = "training", "probing", "tuning"
"""The names of the phases: the only one, or the first and the second."""


@dataclass(frozen=True)
class Chosen:
    """The epochs of an earlier training whose weights were kept, of each phase.

    Args:
        epochs: the number of epochs of the only or the last phase, which the schedule of rates hangs on.
        averaged: its epochs whose weights are averaged.
        probe_epochs: the number of epochs of probing; None without that phase.
        probe_averaged: its epochs whose weights are averaged.
    """

    epochs: int
    averaged: Sequence[int]
    probe_epochs: int | None = None
    probe_averaged: Sequence[int] = ()


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
        keep: the epochs to keep, where they were chosen before; validation then chooses nothing.
        checkpoints: as `fit` takes them.
        events: written after each epoch.
    """

    step: TrainingStep
    frozen: Frozen
    train: Samples
    validation: Samples
    score: Callable[[Dataset], tuple[float, Mapping[str, float | None]]]
    seed: int
    keep: Chosen | None = None
    checkpoints: Checkpoints | None = None
    events: Events | None = None

    def run(self, training: Training) -> tuple[Trained, Dataset]:
        """Fit the scaling of features and train; the model then has the weights of the best epoch.

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
            keep = None if self.keep is None else (self.keep.epochs, self.keep.averaged)
            return self._fit(TRAINING, untuned, data, training, keep)
        probed = self._probed() if training.probe else None
        if training.probe and probed is None:
            keep = None if self.keep is None else (self.keep.probe_epochs, self.keep.probe_averaged)
            with held(tuned):
                probed, _ = self._fit(PROBING, untuned, data, training, keep)
        options = training.tuning(divisible=divisible(self.step))
        data = self.frozen.dataset(self.train, augment=True, split="train")
        keep = None if self.keep is None else (self.keep.epochs, self.keep.averaged)
        with unsmoothed(self.step):
            trained, validation = self._fit(
                TUNING, self.frozen, data, options, keep, start_counts=probed is not None, before=probed
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
        phase: str,
        frozen: Frozen,
        data: Dataset,
        training: Training,
        keep: tuple[int | None, Sequence[int]] | None,
        *,
        start_counts: bool = False,
        before: Trained | None = None,
    ) -> tuple[Trained, Dataset]:
        validation = frozen.dataset(self.validation, augment=False, split="validation")
        checkpoints, events = self.checkpoints, self.events
        if checkpoints is not None:
            known = before and {each.name: getattr(before, each.name) for each in fields(before)}
            checkpoints = replace(checkpoints, phase=phase, before=known)
        epochs, averaged = keep or (None, None)
        trained = fit(
            self.step,
            data,
            partial(self.score, validation),
            training if epochs is None else replace(training, epochs=epochs, min_steps=0),
            seed=self.seed,
            precision=frozen.settings.precision,
            progress=frozen.shared.progress,
            start_counts=start_counts,
            keep=averaged,
            checkpoints=checkpoints,
            told=None if events is None else partial(events.add, phase),
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
