"""Small network over mel-frequency cepstral coefficients, trained from scratch.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously
Spoken Sentences", IEEE TASSP 1980, https://doi.org/10.1109/TASSP.1980.1163420. The networks are mmkit's own for series.

Axes: B batch, T tokens, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.encoders.fcn import FcnEncoder
from mmkit.encoders.series_rnn import SeriesRnnEncoder
from mmkit_torchaudio.mfcc_transform import MfccTransform


class MfccEncoder(nn.Module):
    """Convolutions over time, or a recurrent network, over the coefficients of all frames.

    Args:
        transform: the fitted transform.
        network: "fcn" (convolutions, of which each but the first halves the number of frames), "lstm" or "gru".
        width: D, the width of the tokens.
        layers: number of layers of the network.
        dropout: rate of dropout on the tokens (and between recurrent layers), in training.
    """

    reads = MfccTransform

    def __init__(
        self,
        transform: MfccTransform,
        *,
        network: Literal["fcn", "lstm", "gru"] = "fcn",
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 3,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.network = (
            FcnEncoder(transform, width=width, layers=layers, dropout=dropout)
            if network == "fcn"
            else SeriesRnnEncoder(transform, width=width, cell=network, layers=layers, dropout=dropout)
        )

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        return self.network(batch)
