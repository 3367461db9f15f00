"""Any installed image encoder, over the frames of a video.

Axes: B batch, T frames, P tokens of a frame, D width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit_video.frames_transform import FramesTransform


class FramesEncoder(nn.Module):
    """The pooled vector of each frame is a token, or all its tokens are; their mean over the frames is pooled.

    Where the image encoder is frozen, so is this encoder: its features are computed once.

    Args:
        transform: the fitted transform, which knows the image encoder.
        output: "frames" gives one token for each frame, "patches" all tokens of all frames.
        position: add the position in time to the tokens, as sines and cosines (Vaswani et al., "Attention Is All You
            Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762).
    """

    reads = FramesTransform

    def __init__(
        self,
        transform: FramesTransform,
        *,
        output: Literal["frames", "patches"] = "frames",
        position: bool = False,
    ) -> None:
        super().__init__()
        choice = transform.choice
        self.images = choice.component(transform.images, **choice.part(choice.component))
        self.width = int(self.images.width)
        self.frozen = bool(getattr(self.images, "frozen", False))
        self.output = output
        self.position = position

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, or [B T*P D]."""
        mask = batch["mask"]
        given = {name.removeprefix("frame_"): leaf.flatten(0, 1) for name, leaf in batch.items() if name != "mask"}
        there = mask.flatten().view(-1, *[1] * (given["mask"].ndim - 1))
        given["mask"] = given["mask"] & there
        found: Features = self.images(given)
        found = Features.of(found.tokens, found.mask, found.pooled, found.penalties)
        vectors = found.vector().unflatten(0, mask.shape)  # [B T D]
        count = mask.sum(1, keepdim=True).clamp(min=1)
        pooled = vectors.sum(1) / count
        penalties = {name: _of_frames(one, mask) / count.squeeze(1) for name, one in found.penalties.items()}
        places = sinusoids(mask.shape[1], self.width).to(vectors) if self.position else vectors.new_zeros(())
        if self.output == "frames":
            return Features.of(vectors + places, mask, pooled, penalties)
        tokens = found.tokens.unflatten(0, mask.shape) + (places.unsqueeze(1) if self.position else places)
        return Features.of(tokens.flatten(1, 2), found.mask.unflatten(0, mask.shape).flatten(1, 2), pooled, penalties)


def _of_frames(penalty: Tensor, mask: Tensor) -> Tensor:
    """[B] from one of each frame [B*T], those that are not there left out."""
    return penalty.view(mask.shape).masked_fill(~mask, 0).sum(1)


def sinusoids(count: int, width: int) -> Tensor:
    """[count width] of the places 0, 1, ...: sines in the first half, cosines in the second."""
    half = -(-width // 2)
    rates = torch.exp(torch.arange(half) * (-math.log(10_000) / half))
    angles = torch.arange(count).unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), 1)[:, :width]
