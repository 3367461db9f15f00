"""Transformer encoder over word embeddings, trained from scratch.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762: the encoder, with the
sinusoidal positions of section 3.5. What differs: layer norm comes before each branch and once more at the end.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.encoders.word_embedding import WordEmbedding
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.parts import in_turn
from mmkit.transforms.text import TextTransform

State = tuple[Tensor, Tensor]
"""Tokens [B T D] and their mask [B T]."""


class TextTransformerEncoder(nn.Module):
    """One token for each word, which attends to all others. Their mean is the vector of the text.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens; even.
        layers: number of transformer layers.
        heads: attention heads of each layer; must divide `width`.
        dropout: rate of dropout on the word vectors, on attention weights and on both branches of a layer, in training.
        freeze: keep the word vectors of the file `vectors` fixed, and train only a linear projection of them.

    Raises:
        ValueError: an odd `width`, or one that `heads` does not divide; `freeze` without `vectors`.
    """

    reads: ClassVar[type[TextTransform]] = TextTransform
    rowwise = True

    def __init__(
        self,
        transform: TextTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"positions are pairs of a sine and a cosine, so width is even; got {width}")
        self.width = width
        self.inner = (width,) * (layers - 1)
        self.embedding = WordEmbedding(transform, width, freeze=freeze)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, batch: Batch) -> Features:
        """A token for each word."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """Word vectors with positions."""
        mask = batch["mask"]  # [B T]
        words = self.embedding(batch["tokens"], mask) * math.sqrt(self.width)
        return self.dropout(words + positions(words)), mask

    def stage(self, number: int, state: State) -> State:
        """One layer."""
        tokens, mask = state
        return self.layers[number](tokens, mask), mask

    def get(self, state: State) -> Features:
        """[B T D]."""
        return Features(*state)

    def put(self, state: State, features: Features) -> State:
        """These tokens."""
        return features.tokens, state[1]

    def finish(self, state: State) -> Features:
        """The last layer and the norm."""
        tokens, mask = self.stage(len(self.inner), state)
        return Features.of(self.norm(tokens), mask)


def positions(like: Tensor) -> Tensor:
    """[T D]: sine and cosine of each place at wavelengths from 2 pi to 10000 * 2 pi, for tokens [B T D]."""
    count, width = like.shape[1:]
    precise = torch.promote_types(like.dtype, torch.float32)  # bfloat16 has no 257
    places = torch.arange(count, device=like.device, dtype=precise)
    steps = torch.arange(0, width, 2, device=like.device, dtype=precise)
    angles = places[:, None] * torch.exp(steps * (-math.log(10_000.0) / width))  # [T D/2]
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(like.dtype)
