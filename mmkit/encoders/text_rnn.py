"""LSTM or GRU over word embeddings.

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997,
https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for
Statistical Machine Translation", EMNLP 2014, https://arxiv.org/abs/1406.1078.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.encoders.word_embedding import WordEmbedding
from mmkit.layers.recurrent import Recurrent
from mmkit.transforms.text import TextTransform


class TextRnnEncoder(nn.Module):
    """One token for each word: the state of the network there. Their mean is the vector of the text.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens; even where bidirectional.
        cell: kind of recurrent cell.
        layers: number of recurrent layers.
        bidirectional: read in both directions; each has half of the width.
        dropout: rate of dropout on the word vectors and between layers, in training.
        freeze: keep the word vectors of the file `vectors` fixed, and train only a linear projection of them.

    Raises:
        ValueError: an odd `width` where bidirectional; `freeze` without `vectors`.
    """

    reads: ClassVar[type[TextTransform]] = TextTransform
    rowwise = True

    def __init__(
        self,
        transform: TextTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        cell: Literal["lstm", "gru"] = "lstm",
        layers: Annotated[int, Gt(0)] = 1,
        bidirectional: bool = True,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.embedding = WordEmbedding(transform, width, freeze=freeze)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = Recurrent(width, width, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout)

    def forward(self, batch: Batch) -> Features:
        """A state for each word."""
        mask = batch["mask"]  # [B T]
        words = self.dropout(self.embedding(batch["tokens"], mask))
        return Features.of(self.recurrent(words, mask), mask)
