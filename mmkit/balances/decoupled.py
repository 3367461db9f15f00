"""Encoders that learn from the losses of their own heads alone, while the fusion learns from what they give.

Wei et al., "Boosting Multimodal Learning via Disentangled Gradient Learning", ICCV 2025,
https://arxiv.org/abs/2507.10213.

The fusion sees x_m.detach() of every input m, so that nothing of its loss reaches an encoder; the encoder of m learns
from `weight` times the loss of a head on x_m. So the gradient of an encoder does not depend on the fusion. It is the
control that says whether training encoders together pays: but for shared schedules, it is what training each input
alone, and then fusing them, would give.

Differs from the paper: objectives still reach the encoders, since they read the features themselves. A fusion that
changes features between the parts of encoders has joined inputs before: through it each head teaches all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, Features, ModelOutput, Target
from mmkit.layers.border import detached


class Decoupled(nn.Module):
    """No gradient from the fusion to the encoders.

    Args:
        widths: D by input.
        width: not read.
        target: not read.
        weight: of the loss of each input's head.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.own = {f"balance.{name}" for name in widths}
        self.weight = weight

    def border(
        self,
        features: Mapping[str, Features],
        unimodal: Mapping[str, Tensor],  # noqa: ARG002
        truth: Batch,  # noqa: ARG002
    ) -> dict[str, Features]:
        """The features, detached."""
        return {name: detached(part) for name, part in features.items()}

    def weigh(
        self,
        losses: Mapping[str, Tensor],
        output: ModelOutput,  # noqa: ARG002
        truth: Batch,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """The losses, those of the inputs' heads weighted."""
        return {name: self.weight * loss if name in self.own else loss for name, loss in losses.items()}
