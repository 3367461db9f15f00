"""Two scans a layer, one over the flipped tokens, each by the einsums of the paper's listing 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import Inputs, masked_mean
from mmkit.fusions.tokens.state_space import StateSpaceFusion
from mmkit.layers.state_space import CHUNK, StateSpaceLayer

Scan = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of x [B T N P], a [B T N], b and c [B T S], to [B T N P]."""


def obvious(fusion: StateSpaceFusion, inputs: Inputs, scan: Scan | None = None) -> Tensor:
    mask = torch.cat([mask for _, mask in inputs], 1)
    tokens = torch.cat([linear(tokens) for linear, (tokens, _) in zip(fusion.project.values(), inputs, strict=True)], 1)
    for layer in fusion.layers:
        tokens = state_space(layer, tokens, mask, scan or listing)
    return masked_mean(fusion.norm(tokens), mask)


def state_space(layer: StateSpaceLayer, tokens: Tensor, mask: Tensor, scan: Scan) -> Tensor:
    gate, values, shared, raw = layer.read(layer.before(tokens)).split(layer.sizes, 2)
    values, shared = F.silu(values).unflatten(2, (layer.heads, -1)), F.silu(shared)
    steps = (F.softplus(raw + layer.step) * mask.unsqueeze(2)).chunk(2, 2)
    rates = layer.rate.exp().chunk(2)
    keys, queries, keys_back, queries_back = shared.chunk(4, 2)
    forth = scan(values * steps[0].unsqueeze(3), -steps[0] * rates[0], keys, queries)
    behind = (values * steps[1].unsqueeze(3), -steps[1] * rates[1], keys_back, queries_back)
    back = scan(*(part.flip(1) for part in behind)).flip(1)
    mixed = forth + back + values * layer.skip.unsqueeze(1)
    return tokens + layer.out(layer.norm(mixed.flatten(2) * F.silu(gate)))


def listing(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    size = x.shape[1] if x.shape[1] <= CHUNK else math.gcd(CHUNK, x.shape[1])
    x, a, b, c = (part.unflatten(1, (-1, size)) for part in (x, a, b, c))
    a = a.permute(0, 3, 1, 2)  # [B N C L]
    total = a.cumsum(-1)
    diagonal = torch.einsum("bcln,bcsn,bhcls,bcshp->bclhp", c, b, sums(a).exp(), x)
    states = torch.einsum("bcln,bhcl,bclhp->bchpn", b, (total[..., -1:] - total).exp(), x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], 1)
    states = torch.einsum("bhzc,bchpn->bzhpn", sums(F.pad(total[..., -1], (1, 0))).exp(), states)[:, :-1]
    return (diagonal + torch.einsum("bcln,bchpn,bhcl->bclhp", c, states, total.exp())).flatten(1, 2)


def sums(values: Tensor) -> Tensor:
    """[... L L]: what is added from one place to another behind it."""
    total = values.cumsum(-1)
    lower = torch.ones(values.shape[-1], values.shape[-1], dtype=torch.bool, device=values.device).tril()
    return (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(~lower, -torch.inf)
