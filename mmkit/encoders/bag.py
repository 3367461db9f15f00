"""Bag of words: one learned vector for each word, in no order.

Joulin et al., "Bag of Tricks for Efficient Text Classification", EACL 2017, https://arxiv.org/abs/1607.01759. What
differs: no n-grams, and the words stay apart as tokens; their mean is the vector of the text.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.encoders.word_embedding import WordEmbedding
from mmkit.transforms.text import TextTransform


class BagEncoder(nn.Module):
    """One token for each word, independent of its neighbours.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens.
        dropout: rate of dropout on the tokens, in training.
        freeze: keep the word vectors of the file `vectors` fixed, and train only a linear projection of them.

    Raises:
        ValueError: `freeze` without `vectors`.
    """

    reads: ClassVar[type[TextTransform]] = TextTransform

    def __init__(
        self,
        transform: TextTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.embedding = WordEmbedding(transform, width, freeze=freeze)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """A vector for each token."""
        mask = batch["mask"]  # [B T]
        return Features.of(self.dropout(self.embedding(batch["tokens"], mask)), mask)
