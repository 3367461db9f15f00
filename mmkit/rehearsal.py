"""A rehearsal: each combination is built, and taken through one step on a few samples, before anything is trained.

What can be known only of built models is found at once, and not run by run: weights that are not there, more blocks
than a backbone has, options that do not go together.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Split
from mmkit.data.dataset import Dataset
from mmkit.data.picking import few
from mmkit.data.refused import RefusedError
from mmkit.data.splits import Splits
from mmkit.features.shared import Shared
from mmkit.measure.cost import parameters
from mmkit.model import TrainingStep
from mmkit.train import Precision, augmentation, losses

ENOUGH = 64
"""Samples to fit transforms on where nothing is trained afterwards."""
SHOWN = 4
"""Samples of the step: more would tell no more of most faults, and a large encoder takes its time."""


@dataclass(frozen=True)
class Rehearsed:
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


def rehearsed(
    combinations: Iterable[Combination],
    splits: Splits,
    device: str,
    precision: Precision,
    shared: Shared | None = None,
    *,
    truths: Sequence[Split] = ("train", "validation"),
    report: Callable[[str], None] | None = None,
) -> list[Rehearsed]:
    """Build each combination and do one forward, loss and backward.

    Args:
        combinations: in any order.
        splits: of the task; transforms are fitted on the training split.
        device: where models run.
        precision: of the forward.
        shared: what the runs have in common; frozen encoders are built once.
        truths: the splits of which all truth is looked at.
        report: called with what is done next.

    Raises:
        DataError: samples cannot be read, or their truth cannot be used.
    """
    shared = shared or Shared()
    for name in truths:
        splits.with_truth(name)  # what cannot be read is no combination's fault
    found = []
    for combination in combinations:
        if report:
            report(f"rehearsal of {combination.label}")
        step = partial(_step, combination, device=torch.device(device), precision=precision, shared=shared)
        try:
            found.append(splits.own().use(partial(step, truths=truths)))
        except Exception as error:  # whatever a third party's component raises is its own only
            if isinstance(error, RefusedError) and error.for_all:
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the model
            found.append(Rehearsed(combination, error=error))
    return found


def _step(
    combination: Combination,
    splits: Splits,
    *,
    device: torch.device,
    precision: Precision,
    shared: Shared,
    truths: Sequence[Split],
) -> Rehearsed:
    train = splits.with_truth("train")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # as a run does: what is shared with the first of them is built once
        transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
        for name in truths:
            transforms.check_truth(splits.with_truth(name))
        module, objectives = born(combination, transforms, shared)
        step = TrainingStep(module, objectives).to(device).train()
        shown = Dataset.of(few(train, SHOWN), transforms.inputs, transforms.truth, augment=True).to(device)
        batch, truth = shown.batch(torch.arange(shown.size), augmentation(0, 1, 0))
        losses(step, batch, truth, precision).backward()
    return Rehearsed(combination, *parameters(module))
