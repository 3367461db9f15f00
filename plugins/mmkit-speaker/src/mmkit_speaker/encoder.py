"""Speaker encoder: a pretrained LSTM over mel frames, which distinguishes voices.

Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, https://arxiv.org/abs/1710.10467.
Network and weights are those of the package resemblyzer, so that no hub is needed.

Axes: B batch, P pieces of a clip, F frames of a piece, M mel bands, D = 256.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.errors import DataError
from mmkit.pretrained.weights import load, read
from mmkit_speaker.transform import BANDS, SpeakerTransform

PACKAGE = "resemblyzer"
WIDTH = 256
OF_TRAINING = ("similarity_weight", "similarity_bias")
"""Two numbers of the loss that the encoder was trained with."""


class SpeakerEncoder(nn.Module):
    """Three LSTM layers; the last state of each piece, projected to a unit vector, is a token; their mean is pooled.

    It distinguishes voices, not words. It is always frozen, so its features are computed once.

    Args:
        transform: the transform.
        weights: "package" reads the pretrained weights of the installed package resemblyzer, without importing it; a
            path reads a file of tensors; "none" draws random weights.
    """

    reads = SpeakerTransform

    def __init__(self, transform: SpeakerTransform, *, weights: str = "package") -> None:  # noqa: ARG002
        super().__init__()
        self.width = WIDTH
        self.frozen = True
        self.lstm = nn.LSTM(BANDS, WIDTH, 3, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        if weights != "none":
            load(self, *_read(weights))
        else:
            # Random weights: remember through silence, and scale up the power of speech, which is far below 1.
            nn.init.normal_(self.lstm.get_parameter("weight_ih_l0"))
            for layer in range(3):
                self.lstm.get_parameter(f"bias_hh_l{layer}").data[WIDTH : 2 * WIDTH] = 5  # of the forget gate
        self.requires_grad_(requires_grad=False)

    def forward(self, batch: Batch) -> Features:
        """[B P D] tokens and the pooled vector, all of length 1."""
        mask = batch["mask"]
        with torch.no_grad():
            _, (last, _) = self.lstm(batch["mel"].flatten(0, 1))
            tokens = F.normalize(F.relu(self.linear(last[-1])), dim=-1).view(*mask.shape, -1)
        mean = tokens.masked_fill(~mask.unsqueeze(-1), 0).sum(1)
        return Features.of(tokens, mask, F.normalize(mean, dim=-1))


def _read(weights: str) -> tuple[dict[str, Tensor], Path]:
    """The weights by name, and the file that they come from."""
    file = Path(weights)
    if weights == "package":
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise DataError(
                f"the weights are in the package {PACKAGE}, which is not installed: pip install --no-deps {PACKAGE}; "
                "or give a file: speaker:weights=FILE"
            )
        file = Path(next(iter(found.submodule_search_locations))) / "pretrained.pt"
    return {name: value for name, value in read(file, "model_state").items() if name not in OF_TRAINING}, file
