"""Small (2+1)D or 3D convolutional network for videos, trained from scratch.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018,
https://arxiv.org/abs/1711.11248: a convolution over space, then one over time, in the place of one over both, with as
many parameters. What differs: a few layers without shortcuts; time keeps its length and gives the tokens; and groups of
channels are normalised frame by frame (Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494),
so that neither padding nor other videos count.

Axes: B batch, T frames, C channels, H height, W width, D width of the features.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit_video.transform import VideoTransform


class VideoCnnEncoder(nn.Module):
    """Convolutions that halve height and width; one token for each frame, which also depends on the frames around it.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens and of the last convolution; each convolution before has half the width of the
            next, and at least 8.
        layers: number of convolutions.
        convolution: "2+1d" convolves over space, then over time; "3d" over both at once.
        dropout: rate of dropout on the tokens, in training.
    """

    reads = VideoTransform
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        transform: VideoTransform,
        *,
        width: Annotated[int, Ge(8)] = 64,
        layers: Annotated[int, Gt(0)] = 3,
        convolution: Literal["2+1d", "3d"] = "2+1d",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        channels = [3, *(max(8, width >> (layers - 1 - i)) for i in range(layers))]
        self.layers = nn.ModuleList(
            (Factorised if convolution == "2+1d" else Joint)(given, made) for given, made in pairwise(channels)
        )
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.tensor(transform.mean).view(1, 1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std).view(1, 1, 3, 1, 1))

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, one for each frame."""
        mask = batch["mask"]
        x = (batch["pixels"].to(self.mean.dtype) / 255 - self.mean) / self.std
        x = x.transpose(1, 2)  # [B C T H W]
        for layer in self.layers:
            x = layer(x, mask)
        return Features.of(self.dropout(x.mean((3, 4)).transpose(1, 2)), mask)


class Factorised(nn.Module):
    """A convolution over space that halves height and width, then one over time; as many parameters as `Joint`.

    Args:
        given: channels that come in.
        made: channels that come out.
    """

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        between = max(8, (3 * 9 * given * made) // (9 * given + 3 * made))
        self.space = nn.Conv3d(given, between, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.after_space = FrameNorm(between)
        self.time = nn.Conv3d(between, made, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.after_time = FrameNorm(made)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B made T H/2 W/2] from [B given T H W] with `mask` [B T]."""
        x = F.relu(self.after_space(self.space(x)))
        return F.relu(self.after_time(self.time(_hidden(x, mask))))


class Joint(nn.Module):
    """A convolution over time and space that halves height and width.

    Args:
        given: channels that come in.
        made: channels that come out.
    """

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(given, made, 3, (1, 2, 2), 1, bias=False)
        self.norm = FrameNorm(made)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B made T H/2 W/2] from [B given T H W] with `mask` [B T]."""
        return F.relu(self.norm(self.convolution(_hidden(x, mask))))


class FrameNorm(nn.Module):
    """Group normalisation of each frame by itself.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B C T H W] of the same."""
        frames = self.norm(x.transpose(1, 2).flatten(0, 1))  # [B*T C H W]
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


def _hidden(x: Tensor, mask: Tensor) -> Tensor:
    """Zero where there is no frame, as if the convolution itself had padded it there."""
    return x.masked_fill(~mask[:, None, :, None, None], 0)
