"""Tokens to vectors: the first layer of every encoder of text."""

from __future__ import annotations

from torch import Tensor, nn

from mmkit.transforms.text import TextTransform
from mmkit.transforms.vocabulary import PADDING, UNKNOWN


class WordEmbedding(nn.Module):
    """A learned vector for each token; training starts with random vectors, or with those of a file.

    Vectors of a file keep their own width and are projected to `width`. A restored transform knows that width but has
    no vectors: the weights then come from the state dict.

    Args:
        transform: fitted or restored.
        width: D.
        freeze: the vectors of the file stay as they are; only the projection learns.

    Raises:
        ValueError: `freeze` without a file of vectors.
    """

    def __init__(self, transform: TextTransform, width: int, *, freeze: bool) -> None:
        super().__init__()
        own = transform.vector_width
        if freeze and own is None:
            raise ValueError("freeze=true keeps the vectors of a file as they are; name one with vectors=PATH")
        self.embedding = nn.Embedding(transform.size, own or width, padding_idx=PADDING)
        nn.init.normal_(self.embedding.weight, std=(own or width) ** -0.5)
        # A token that training never saw gets zero instead of a random vector.
        self.embedding.weight.data[[PADDING, UNKNOWN]] = 0
        if transform.vectors is not None:
            self.embedding.weight.data.copy_(transform.vectors)
        self.embedding.weight.requires_grad_(not freeze)
        self.project = nn.Identity() if own is None else nn.Linear(own, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B T D] from tokens [B T]; what stands under a False mask [B T] is not read."""
        return self.project(self.embedding(tokens.masked_fill(~mask, PADDING)))
