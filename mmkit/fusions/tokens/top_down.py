"""Top-down attention: the vector of one input chooses among the tokens of all others, times what it finds.

Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", CVPR 2018,
https://arxiv.org/abs/1707.07998 (BUTD), the model for questions. A reproduction was read (MILVLG/openvqa,
models/butd/tda.py), which has ELU in place of the paper's gated tanh, as here. What differs:

- The anchor's vector takes the place of the question's last state, and the projected tokens of all other inputs that of
  the image's regions; a linear layer for each of the two inside the score is one with the layer after it.
- Weight normalisation is left out, and dropout stands before the score's layer as there.
- Padding is masked; there it is attended to.

Axes: B batch, S tokens of all others, D an input's width, H fused width.

    v_j = W_m X_mj + e_m   [B S H];   w = softmax_j(u . ELU(A v_j + C q + c))   [B S]
    y = ELU(F q + f) * ELU(G sum_j w_j v_j + g)   [B H],   q the vector of the anchor
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.others import Others
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.tokens import attention_shares, joined_tokens
from mmkit.layers.vectors import one_token, there


class TopDownFusion(nn.Module):
    """Product of the anchor and of the mean of all other tokens, weighed by scores that read both.

    A missing factor is 1: where the anchor is missing, the others are weighed by their own content, and where all
    others are, the anchor alone is the result. Its details, where they are asked for, are the weights.

    Args:
        widths: D of each input, by name; at least two.
        width: H, the width of the fused features.
        anchor: the input whose vector chooses; the first by name where none is given.
        dropout: rate of dropout before the hidden layer of the score, in training.

    Raises:
        ValueError: `anchor` is no input, or there is no other.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        anchor: str | None = None,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        self.inputs = tuple(widths)
        self.others = Others(widths, anchor)
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(widths[name], width) for name in self.others.names})
        asks = widths[self.others.anchor]
        self.dropout = nn.Dropout(dropout)
        self.of_token = nn.Linear(width, width, bias=False)
        self.of_anchor = nn.Linear(asks, width)
        self.score = nn.Linear(width, 1, bias=False)  # a bias would raise all scores alike
        self.first = nn.Linear(asks, width)
        self.second = nn.Linear(width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        anchor = features[self.others.anchor]
        asks = anchor.vector()  # [B D], zero where it is missing
        tokens, mask = joined_tokens(features, self.project)  # [B S H], [B S]
        hidden = self.of_token(self.dropout(tokens)) + self.of_anchor(self.dropout(asks)).unsqueeze(1)
        weights = present_softmax(self.score(F.elu(hidden)).squeeze(2), mask)  # [B S]
        mean = (weights.to(tokens.dtype).unsqueeze(1) @ tokens).squeeze(1)  # [B H]
        first, second = F.elu(self.first(asks)), F.elu(self.second(mean))
        if not anchor.complete:
            first = torch.where(there(anchor), first, 1)
        second = torch.where(mask.any(1, keepdim=True), second, 1)
        found = one_token(first * second, features, self.inputs)
        if not self.detailed:
            return found
        return replace(found, details=attention_shares(features, self.project, weights))

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, where the others have one token in all."""
        if sum(features[name].tokens.shape[1] for name in self.project) > 1:
            return []
        (other,) = self.project
        return [f"{other} has one token, which gets all attention whatever {self.others.anchor} holds"]
