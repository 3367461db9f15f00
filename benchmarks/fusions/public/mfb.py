"""The code of the authors of MUTAN, without its last layer and its activations, which the paper does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkit.fusions.vectors.mfb import MfbFusion

REPOSITORY, FILE, INPUTS = "Cadene/block.bootstrap.pytorch", "block/models/networks/fusions/fusions.py", 2
NOTE = (
    "its root is sqrt(relu(z)) - sqrt(relu(-z)), whose gradient at zero is not finite; ours has a finite slope there, "
    "and is off by .001 at most"
)
AGREE = 0.02
GRADIENTS_AGREE = False


def published(module: Any, fusion: MfbFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    widths = [linear.in_features for linear in fusion.project.values()]
    network = module.MFB(
        widths, 1, mm_dim=fusion.width, factor=fusion.factors, activ_input=None, activ_output=None, normalize=True
    )
    network.linear_out = nn.Identity()
    for theirs, ours in zip((network.linear0, network.linear1), fusion.project.values(), strict=True):
        theirs.load_state_dict(ours.state_dict())
    return network, network
