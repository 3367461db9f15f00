"""Sampling: the order of samples in an epoch, class balance, and the random generators of augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.contract import Batch
from mmkit.errors import MmkitError


def augmentation(seed: int, epoch: int, batch: int) -> Generator:
    """The random generator of a batch's augmentation. It depends on nothing but seed, epoch and batch.

    Args:
        seed: of the run, 0 or more.
        epoch: from 1.
        batch: number in the epoch, from 0.
    """
    (state,) = np.random.SeedSequence((seed, epoch, batch)).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state))


@dataclass(frozen=True)
class Sampling:
    """How the samples of an epoch are drawn.

    Args:
        size: samples of an epoch.
        weights: of the samples, which are then drawn with replacement.
        classes: [N] of the samples, each of which is then as frequent as the others.
    """

    size: int
    weights: Tensor | None = None
    classes: Tensor | None = None

    @staticmethod
    def of(sampler: Literal["shuffle", "balanced", "over", "under"], truth: Batch) -> Sampling:
        """The sampling of a training split.

        Raises:
            MmkitError: the truth is not what `sampler` needs.
        """
        size = len(truth["mask"])
        if sampler == "shuffle":
            return Sampling(size)
        if sampler == "balanced":
            return Sampling(size, class_weights(truth))
        if "label" not in truth:
            other = "take sampler=balanced" if "labels" in truth else "take sampler=shuffle"
            raise MmkitError(f"sampler={sampler} needs classes, and this truth has none; {other}")
        label = truth["label"].cpu()
        counts = label.bincount()
        of_class = counts[counts > 0].amax() if sampler == "over" else counts[counts > 0].amin()
        return Sampling(int(of_class) * int((counts > 0).sum()), classes=label)

    def draw(self, generator: Generator) -> Tensor:
        """The indices of the samples of an epoch, in order."""
        if self.classes is None:
            return epoch_order(self.size, self.weights, generator)
        # One sort for all classes: to look for each by itself takes their number times that of the samples.
        counts = self.classes.bincount()
        rows = self.classes.argsort(stable=True).split(counts[counts > 0].tolist())
        each = self.size // len(rows)
        drawn = [of[torch.randperm(len(of), generator=generator)] for of in rows]
        whole = [torch.cat([of.repeat(each // len(of)), of[: each % len(of)]]) for of in drawn]
        return torch.cat(whole)[torch.randperm(self.size, generator=generator)]


def epoch_order(size: int, weights: Tensor | None, generator: Generator) -> Tensor:
    """The indices of the samples of an epoch, in order; with weights, sampled with replacement."""
    if weights is None:
        return torch.randperm(size, generator=generator)
    # Not `multinomial`, which takes at most 2^24 weights.
    ends = weights.double().cumsum(0)
    drawn = torch.rand(size, dtype=torch.float64, generator=generator) * ends[-1]
    return torch.searchsorted(ends, drawn, right=True).clamp_(max=size - 1)


def class_weights(truth: Batch) -> Tensor:
    """A sampling weight for each sample, so that classes are equally frequent; of several labels, the rarest counts.

    Raises:
        MmkitError: the truth has neither classes nor labels.
    """
    if "label" in truth:
        label = truth["label"].cpu()
        return 1.0 / label.bincount()[label].clamp(min=1)
    if "labels" in truth:
        labels = truth["labels"].cpu()  # [B C]
        return (labels / labels.sum(0).clamp(min=1)).amax(1).clamp(min=1.0 / len(labels))
    raise MmkitError("sampler=balanced needs classes or labels, and this truth has neither; take sampler=shuffle")
