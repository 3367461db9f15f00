"""The first convolutions of wav2vec2 and similar models, for clips of several lengths in one batch.

Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations", NeurIPS 2020,
https://arxiv.org/abs/2006.11477. Its base model, like HuBERT's and WavLM's, normalises each channel over the whole
clip; over a padded one, that would depend on the padding. Here only the real frames count, so that a clip in a batch
gives what it gives alone.

Axes: B batch, S samples, C channels, F frames.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mmkit.layers.masked_group_norm import masked_group_norm


class ClipFrontEnd(nn.Module):
    """Takes the place of a model's `feature_extractor`, with the same weights under the same names.

    Args:
        conv_layers: the model's.
    """

    def __init__(self, conv_layers: nn.ModuleList) -> None:
        super().__init__()
        self.conv_layers = conv_layers

    def forward(self, packed: Tensor) -> Tensor:
        """[B C F] of waves [B 2 S]: the samples, and 1 where they are real, which come first."""
        x = packed[:, :1]
        for layer in self.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):  # of the first layer
                conv, activation = cast(nn.Conv1d, layer.conv), cast(nn.Module, layer.activation)
                x = conv(x)
                frames = (packed[:, 1].sum(1).long() - conv.kernel_size[0]) // conv.stride[0] + 1  # [B]
                mask = torch.arange(x.shape[2], device=x.device) < frames.unsqueeze(1)  # [B F]
                x = activation(masked_group_norm(x, mask, norm))
            else:
                x = layer(x)
        return x
