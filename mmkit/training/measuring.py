"""The mean of each loss over a whole split, in evaluation: what a balance method weighs by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator

from mmkit.data.dataset import Dataset
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision, autocast


@torch.inference_mode()
def mean_losses(
    step: TrainingStep,
    data: Dataset,
    precision: Precision,
    *,
    size: int,
    generator: Callable[[int], Generator],
) -> dict[str, float]:
    """The losses by name, each a mean over the samples with truth, as they are before a balance method weighs them.

    Args:
        step: is in evaluation inside, and in training again after it if it was.
        data: of the split.
        precision: of the forward pass.
        size: samples of a batch.
        generator: of a batch's augmentation, by its number.
    """
    training = step.training
    step.eval()
    sums: dict[str, torch.Tensor] = {}
    count = torch.zeros((), device=data.device)
    for number, index in enumerate(data.batches(size)):
        batch, truth = data.batch(index, generator(number))
        with autocast(data.device, precision):
            losses, _ = step(batch, truth, torch.ones((), device=data.device))
        for name, loss in losses.items():
            sums[name] = sums[name] + loss.float() if name in sums else loss.float()
        count += truth["mask"].sum()
    step.train(training)
    return {name: float(total / count.clamp(min=1)) for name, total in sums.items()}
