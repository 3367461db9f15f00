"""A dry run: each combination is built, and takes one step on a few samples, before anything is trained.

What can be known only of built models is found at once, and not run by run: weights that are not there, more blocks
than a backbone has, options that do not go together.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mmkit.contract import Split
from mmkit.data.bad_values import RejectedError
from mmkit.data.dataset import Dataset
from mmkit.data.sampling import augmentation
from mmkit.data.splits import Splits
from mmkit.data.subset import small_subset
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.speed.flops import parameters
from mmkit.system.generators import preserved_generators
from mmkit.system.settings import Settings
from mmkit.training.loop import losses

ENOUGH = 64
"""Samples to fit transforms on where nothing is trained afterwards."""
SHOWN = 4
"""Samples of the step: more would tell no more of most faults, and a large encoder takes its time."""


@dataclass(frozen=True)
class DryRun:
    """What became of a combination.

    Args:
        combination: that was built.
        parameters: of its model.
        trainable: those of them that are trained.
        error: why it cannot be built or trained, or None.
    """

    combination: Combination
    parameters: int = 0
    trainable: int = 0
    error: Exception | None = None


def dry_run(
    combinations: Iterable[Combination],
    splits: Splits,
    settings: Settings,
    shared: Shared | None = None,
    *,
    truths: Sequence[Split] = ("train", "validation"),
) -> list[DryRun]:
    """Build each combination and do one forward, loss and backward.

    Args:
        combinations: in any order.
        splits: of the task; transforms are fitted on the training split.
        settings: device and precision are read.
        shared: what the runs have in common; frozen encoders are built once.
        truths: the splits of which all truth is looked at.

    Raises:
        DataError: samples cannot be read, or their truth cannot be used.
    """
    shared = shared or Shared()
    for name in truths:
        splits.with_truth(name)  # what cannot be read is no combination's fault
    found = []
    for combination in combinations:
        shared.progress.stage(f"dry run of {combination.label}")
        step = partial(_step, combination, settings=settings, shared=shared)
        try:
            found.append(splits.own().retry_without_rejected(partial(step, truths=truths)))
        except Exception as error:  # whatever a third party's component raises is its own only
            if isinstance(error, RejectedError) and error.for_all:
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the model
            found.append(DryRun(combination, error=error))
    return found


def _step(
    combination: Combination,
    splits: Splits,
    *,
    settings: Settings,
    shared: Shared,
    truths: Sequence[Split],
) -> DryRun:
    train = splits.with_truth("train")
    device = torch.device(settings.device)
    with preserved_generators(device):
        torch.manual_seed(0)  # as a run does: what is shared with the first of them is built once
        transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
        for name in truths:
            transforms.check_truth(splits.with_truth(name))
        module, objectives = build_model(combination, transforms, shared)
        step = TrainingStep(module, objectives).to(device).train()
        shown = Dataset.of(small_subset(train, SHOWN), transforms.inputs, transforms.truth, augment=True).to(device)
        batch, truth = shown.batch(torch.arange(shown.size), augmentation(0, 1, 0))
        losses(step, batch, truth, settings.precision).backward()
    return DryRun(combination, *parameters(module))
