"""The weights of the best epochs, and their average where validation gains by it.

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", ICML 2022, https://arxiv.org/abs/2203.05482 (the greedy soup). What differs: the candidates are epochs
of one training, and one joins the average only where that gets better; in the paper also where it stays as good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn


class Checkpoint(NamedTuple):
    """The weights after an epoch, and their validation score."""

    epoch: int
    score: float
    state: Mapping[str, Tensor]


@dataclass
class Best:
    """The checkpoints of the best epochs, from the best on; of equal scores the earlier one is better.

    Args:
        most: number of checkpoints that are kept.
    """

    most: int
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The best epoch; 0 if none has a score."""
        return self.checkpoints[0].epoch if self.checkpoints else 0

    def add(self, epoch: int, score: float, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Keep the weights of an epoch if it is among the best and has a score; they are copied only then."""
        if not score > -math.inf:
            return
        place = sum(one.score >= score for one in self.checkpoints)
        if place < self.most:
            del self.checkpoints[self.most - 1 :]
            self.checkpoints.insert(place, Checkpoint(epoch, score, weights()))

    def restore(self, module: nn.Module, validate: Callable[[], tuple[float, Any]]) -> list[int]:
        """Load the average of the best weights, or the best alone.

        One checkpoint after the other joins the average, from the best on, if that has a better validation score.

        Returns:
            The epochs that were averaged.
        """
        chosen, reached = self.checkpoints[:1], self.checkpoints[0].score
        for one in self.checkpoints[1:]:
            module.load_state_dict(averaged([*(other.state for other in chosen), one.state]))
            score, _ = validate()
            if score > reached:
                chosen, reached = [*chosen, one], score
        module.load_state_dict(averaged([one.state for one in chosen]))
        return [one.epoch for one in chosen]

    def restore_all(self, module: nn.Module) -> list[int]:
        """Load the average of all weights that were kept; returns their epochs."""
        module.load_state_dict(averaged([one.state for one in self.checkpoints]))
        return [one.epoch for one in self.checkpoints]


def averaged(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor, in its own dtype; of whole numbers, such as counts of batches, the first.

    >>> import torch
    >>> averaged([{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([3.0, 0.0])}])
    {'w': tensor([2., 0.])}
    """
    first, count = states[0], len(states)
    if count == 1:
        return dict(first)
    return {
        name: sum((state[name] for state in states[1:]), tensor.clone()) / count
        if tensor.is_floating_point() and any(state[name] is not tensor for state in states[1:])
        else tensor
        for name, tensor in first.items()
    }
