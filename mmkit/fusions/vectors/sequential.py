"""Sequential fusion (MultiModN): a state that each input changes in turn, passing over those that are missing.

Swamy et al., "MultiModN: Multimodal, Multi-Task, Interpretable Modular Networks", NeurIPS 2023,
https://arxiv.org/abs/2309.14118.

    s <- relu(A_m relu(V_m x_m + c_m) + B_m s + b_m) where m is there, else s    y = the last s, the first is learned
    penalty: change mean over the inputs that are there of mean_h (s_new - s_old)^2

As in the authors' code the state meets the last of two layers of each input. What differs: the paper predicts after
each input, and adds those losses; here the last state is what is fused. The penalty, which the published pipelines
weigh by 0, is off unless it is asked for.

Axes: B batch, M inputs, D an input's width, F hidden width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import chosen
from mmkit.layers.vectors import one_token, there


class SequentialFusion(nn.Module):
    """A learned state that two layers of each input change, one input after the other.

    Inputs come in the order of their names, and that order counts: the last has the last word. A missing input leaves
    the state as it is; where all are missing, the result is the learned state.

    Args:
        widths: D of each input, by name.
        width: H, the width of the state.
        hidden: F, hidden width of the layers of each input.
        change: weight of the penalty on what each input changes, in training.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        hidden: Annotated[int, Gt(0)] = 128,
        change: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.change = change
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.project = nn.ModuleDict({name: nn.Linear(d, hidden) for name, d in widths.items()})
        self.step = nn.ModuleDict({name: nn.Linear(hidden + width, width) for name in widths})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with a penalty `change` in training where it has a weight."""
        state, moved, present = None, [], []
        for (name, linear), step in zip(self.project.items(), self.step.values(), strict=True):
            hidden = linear(features[name].vector()).relu()  # [B F]
            if state is None:
                state = self.start.to(hidden.dtype).expand(hidden.shape[0], -1)  # [B H]
            changed = step(torch.cat([hidden, state], 1)).relu()
            if not features[name].complete:
                changed = chosen(changed, there(features[name]), state)
            if self.training and self.change:
                moved.append((changed - state).square().mean(1))  # [B], 0 where it is missing
                present.append(there(features[name]))
            state = changed
        found = one_token(cast(Tensor, state), features, self.project)
        if moved:
            count = torch.cat(present, 1).sum(1).clamp(min=1)
            found.penalties["change"] = self.change * torch.stack(moved).sum(0) / count
        return found
