"""Sparse mixture of experts: a router sends each sample to a few of several networks over all inputs.

Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", ICLR 2017,
https://arxiv.org/abs/1701.06538, for the noisy choice; Fedus, Zoph and Shazeer, "Switch Transformers", JMLR 2022,
https://arxiv.org/abs/2101.03961, for the penalty; Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal
Fusion", NeurIPS 2024, https://arxiv.org/abs/2402.03226, for modalities that may be missing, and for the Laplace router.

    u = [x_1; ...; x_M; there_1, ..., there_M]    l = W_r u + b_r + noise, or l_e = -|u - w_e| + noise
    noise (training alone): e softplus(W_n u), e from N(0, 1)
    g = softmax over the k greatest of l, 0 elsewhere    y = sum_e g_e E_e(u), E_e = Linear, GELU, Linear
    penalty: alpha E sum_e f_e P_e, f_e the share of the choices that fell on e, P_e the mean of softmax(l)_e

What differs from FuseMoE: one mixture over the vectors of all inputs in place of one in each layer of a transformer,
and experts that end in a linear layer: as published they end in a log-softmax over their features. Its Laplace router
was read in forks of its code, not in the paper. All experts are computed for every sample, which is exact, and faster
for as few as these.

Axes: B batch, M inputs, D an input's width, E experts, F their hidden width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.experts import Experts
from mmkit.layers.precision import exactly
from mmkit.layers.routing import imbalance, kept
from mmkit.layers.vectors import complete, joined, one_token, present


class MixtureOfExpertsFusion(nn.Module):
    """A few networks of several, which a router chooses for each sample, and their results by its weights.

    A missing input is a vector of zeros with a flag, by which the router may choose other experts: it leaves a trace by
    design. The router computes in the precision of its weights, also under autocast: rounding must not change what it
    chooses. Its weights of the experts, [B E], are the detail `experts`, where it is asked for. In evaluation nothing
    is drawn, and there is no penalty.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        experts: E, networks to choose from; with one there is no router.
        top: how many a sample is sent to; with as many as there are, or more, all are mixed, without noise.
        hidden: F, hidden width of each network.
        router: linear scores of each network, or the distance to a point of each (laplace).
        balance: alpha, weight of the penalty that spreads the samples over the networks, in training.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        experts: Annotated[int, Gt(0)] = 4,
        top: Annotated[int, Gt(0)] = 2,
        hidden: Annotated[int, Gt(0)] = 128,
        router: Literal["linear", "laplace"] = "linear",
        balance: Annotated[float, Ge(0)] = 0.01,
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.top = top
        self.balance = balance
        self.linear = router == "linear"
        self.detailed = False
        size = sum(widths.values()) + len(widths)
        self.experts = Experts(experts, size, hidden=hidden, out=width)
        self.route = nn.Linear(size, experts, bias=self.linear) if experts > 1 else None
        self.noise = nn.Linear(size, experts, bias=False) if top < experts else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)  # the same noise for all at the start, as in the paper

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with a penalty `balance` in training."""
        vectors = joined(features, self.inputs)
        if complete(features, self.inputs):
            everything = F.pad(vectors, (0, len(self.inputs)), value=1.0)  # [B D+D+...+M]
        else:
            everything = torch.cat([vectors, present(features, self.inputs).to(vectors.dtype)], 1)
        if self.route is None:
            gates, scores = torch.ones_like(everything[:, :1]), None
        else:
            scores = self._scores(everything, self.route)  # [B E]
            gates = kept(scores, self.top).softmax(1)
        found = one_token(self.experts(everything, gates), features, self.inputs)
        if self.training and scores is not None:
            found.penalties["balance"] = (self.balance * imbalance(scores, self.top)).expand(len(scores))
        return replace(found, details={"experts": gates}) if self.detailed else found

    def _scores(self, everything: Tensor, route: nn.Linear) -> Tensor:
        """[B E], noisy in training."""
        with exactly(everything.device):
            given = everything.to(route.weight.dtype)
            if self.linear:
                scores = route(given)
            else:
                scores = -torch.linalg.vector_norm(given.unsqueeze(1) - route.weight, dim=2)
            if self.training and self.noise is not None:
                scores = scores + torch.randn_like(scores) * F.softplus(self.noise(given))
        return scores
