"""The dry run: each combination is built and takes one training step on a few samples, before anything is trained.

Faults that only a built model shows are found before the first run: missing weights, more blocks than a backbone has,
incompatible options, a component that raises whatever it is given. Transforms are fitted on all training values, so
that sizes are those of the trained model: a vocabulary of a few texts would give a smaller one.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.contract import ModelOutput, Split
from mmkit.data.bad_values import RejectedError
from mmkit.data.dataset import Dataset
from mmkit.data.missing import check_inputs
from mmkit.data.sampling import augmentation
from mmkit.data.splits import Splits
from mmkit.data.subset import small_subset
from mmkit.experiments.task_checks import check_measures
from mmkit.experiments.taught import check_teachers
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import measured_as_tensors
from mmkit.model.assembly import Transforms, chosen_by
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.model.step import build_step
from mmkit.model.teachers import loaded
from mmkit.registry.blame import blaming, chosen
from mmkit.speed.flops import parameters
from mmkit.system.precision import autocast
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.descent import after_turn, takes_own_passes, trained_by_input, turns_of
from mmkit.training.optimisation import Training
from mmkit.training.privacy_checks import check_asked, check_batch
from mmkit.training.privacy_descent import planned_account

STEP_SAMPLES = 4
"""Samples of the training step; most faults show with a few, and a large encoder is slow."""


@dataclass(frozen=True)
class DryRun:
    """The result of a dry run of one combination.

    Args:
        combination: that was built.
        parameters: number of parameters of its model.
        trainable: number of trained ones.
        error: why it cannot be built or trained, or None.
        chosen: options that components chose for themselves, by component.
    """

    combination: Combination
    parameters: int = 0
    trainable: int = 0
    error: Exception | None = None
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)


def dry_run(
    combinations: Iterable[Combination],
    splits: Splits,
    settings: Settings,
    shared: Shared | None = None,
    *,
    training: Training | None = None,
    truths: Sequence[Split] = ("train", "validation"),
) -> list[DryRun]:
    """Build each combination and do one forward and backward pass.

    Args:
        combinations: in any order.
        splits: of the task; transforms are fitted on the training split.
        settings: device and precision are used.
        shared: what the runs share; frozen encoders are built once.
        training: options, some of which are modules of the model; None is the defaults.
        truths: the splits whose truth is checked.

    Raises:
        DataError: samples cannot be read, their truth cannot be used, or an input has no value.
    """
    shared = shared or Shared()
    for name in truths:
        splits.with_truth(name)  # an unreadable value is not the fault of a combination
    for warning in check_inputs(splits):
        shared.warn_once(warning)
    results = []
    for combination in combinations:
        shared.progress.stage(f"dry run of {combination.label}")
        step = partial(_step, combination, settings=settings, shared=shared, training=training or Training())
        try:
            results.append(splits.own().retry_without_rejected(partial(step, truths=truths)))
        except Exception as error:  # an error of a third party's component fails its combination only
            if isinstance(error, RejectedError) and error.for_all:
                raise
            told = blaming(error, chosen(combination.choices()))
            traceback.clear_frames(error.__traceback__)  # they hold the model
            results.append(DryRun(combination, error=told))
    return results


def _step(
    combination: Combination,
    splits: Splits,
    *,
    settings: Settings,
    shared: Shared,
    training: Training,
    truths: Sequence[Split],
) -> DryRun:
    train = splits.with_truth("train")
    device = torch.device(settings.device)
    with own_state(device, seed=0):  # the seed of the first run, which then shares what is built here
        transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
        check_measures(splits.task, transforms.truth)
        for name in truths:
            transforms.read_truth(splits.with_truth(name), shared)
        step = build_step(combination, transforms, shared, training.absence, training.mixup).to(device).train()
        module = step.model
        for line in check_teachers(loaded(combination, transforms, module), splits):
            shared.warn_once(line)
        few = small_subset(train, STEP_SAMPLES)
        data = Dataset.of(few, transforms.inputs, transforms.truth, augment=True).to(device)
        batch, truth = data.batch(torch.arange(data.size), augmentation(0, 1, 0))
        truth = {**truth, "index": torch.arange(data.size, device=device)}
        if training.private is not None:
            check_asked(step, training, settings.precision)
            planned_account(training, len(train))  # an epsilon or a delta that is not possible
            check_batch(step, batch, truth, settings.precision)
        for _ in turns_of(step):
            with autocast(device, settings.precision):
                losses, output = step(batch, truth)
            for objective in _idle(step, losses):
                shared.note_once(
                    f"objective {objective} teaches nothing of what answers: the encoders are frozen, and nothing that "
                    "is trained lies before what it reads; leave it out, or tune an encoder (tune=lora)"
                )
            if step.balance is not None and takes_own_passes(step):
                step.balance.backward(losses, trained_by_input(step))
            else:
                torch.stack(list(losses.values())).sum().backward()
            after_turn(step)
        for remark in _remarks(module.fusion, output):
            shared.note_once(f"fusion {combination.fusion}: {remark}")
        if measured_as_tensors(splits.task.target):  # others may be generated token by token, which takes long
            predicted = module.predict(output.output.detach().float())
            transforms.truth.inverse({name: leaf.float().cpu() for name, leaf in predicted.items()})
    return DryRun(combination, *parameters(module), chosen=chosen_by(module))


def _idle(step: TrainingStep, losses: Mapping[str, Tensor]) -> list[str]:
    """The objectives that change nothing of the answers, as their losses hang on frozen encoders alone."""
    model = step.model
    if any(weight.requires_grad for weight in model.encoders.parameters()):
        return []
    parts = (model.fusion, model.unimodal if model.head is None else model.head)
    weights = [weight for part in parts for weight in part.parameters() if weight.requires_grad]

    def reaches(loss: Tensor) -> bool:
        if not (loss.requires_grad and weights):
            return False
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        return any(gradient is not None for gradient in gradients)

    return [name for name in step.names if not reaches(losses[f"objective.{name}"])]


def _remarks(fusion: nn.Module, output: ModelOutput) -> Iterable[str]:
    """What the fusion has to say of features such as these."""
    remarks = getattr(fusion, "remarks", None)
    return () if remarks is None else cast(Iterable[str], remarks(output.features))
