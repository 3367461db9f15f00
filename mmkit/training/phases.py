"""The phases of a training: where encoders are tuned, all else is first trained on their features as they came.

samples -> features of frozen and untuned encoders -> scaling -> probing -> tuning
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from mmkit.contract import Samples
from mmkit.data.dataset import Dataset
from mmkit.heads.loss import unsmoothed
from mmkit.model.network import TrainingStep
from mmkit.training.frozen import Frozen
from mmkit.training.loop import Trained, fit
from mmkit.training.micro_batches import divisible
from mmkit.training.optimisation import Training


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
    """

    step: TrainingStep
    frozen: Frozen
    train: Samples
    validation: Samples
    score: Callable[[Dataset], tuple[float, Mapping[str, float | None]]]
    seed: int

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
        """
        model = self.step.model
        tuned = [model.encoders[model.names[name]] for name in self.frozen.tuned]
        untuned = replace(self.frozen, untuned=True)
        data = untuned.dataset(self.train, augment=True, split="train")
        untuned.fit_scaling(self.train, data)
        if not tuned:
            return self._fit(untuned, data, training)
        if rate_alone and training.probe:
            with held(tuned):
                return self._fit(untuned, data, training)
        probed = None
        if training.probe:
            with held(tuned):
                probed, _ = self._fit(untuned, data, training)
        options = training.tuning(divisible=divisible(self.step))
        data = self.frozen.dataset(self.train, augment=True, split="train")
        with unsmoothed(self.step):
            trained, validation = self._fit(self.frozen, data, options, start_counts=probed is not None)
        if probed:
            seconds, loading = probed.seconds + trained.seconds, probed.loading + trained.loading
            trained = replace(trained, seconds=seconds, loading=loading)
        return trained, validation

    def _fit(
        self, frozen: Frozen, data: Dataset, training: Training, *, start_counts: bool = False
    ) -> tuple[Trained, Dataset]:
        validation = frozen.dataset(self.validation, augment=False, split="validation")
        trained = fit(
            self.step,
            data,
            partial(self.score, validation),
            training,
            seed=self.seed,
            precision=frozen.settings.precision,
            progress=frozen.shared.progress,
            start_counts=start_counts,
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
