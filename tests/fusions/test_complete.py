"""Vector fusions where nothing is missing: the same as the plain formula without masks, told so or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, leaky_relu, normalize, softplus

from mmkit.contract import Features, Target
from mmkit.fusions.inner.film import FilmFusion
from mmkit.fusions.outputs.late import LateFusion
from mmkit.fusions.outputs.log_pool import LogPoolFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.fusions.vectors.concat_mlp import ConcatMlpFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.gated_cross import GatedCrossFusion
from mmkit.fusions.vectors.low_rank import LowRankFusion
from mmkit.fusions.vectors.max import MaxFusion
from mmkit.fusions.vectors.mean import MeanFusion
from mmkit.fusions.vectors.mfb import MfbFusion
from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion
from mmkit.fusions.vectors.multiplicative import MultiplicativeFusion
from mmkit.fusions.vectors.mutan import MutanFusion
from mmkit.fusions.vectors.product import ProductFusion
from mmkit.fusions.vectors.sum import SumFusion
from mmkit.fusions.vectors.tensor import TensorFusion

WIDTHS = {"a": 5, "b": 3, "c": 5}
ALIKE = dict.fromkeys(WIDTHS, 4)
PAIR = {"a": 5, "b": 3}


def terms(fusion: Any, x: list[Tensor]) -> list[Tensor]:
    if hasattr(fusion.project, "of"):
        apart = [fusion.project.of(name) for name in fusion.project.inputs]
        return [v @ weight.T + bias for (weight, bias), v in zip(apart, x, strict=True)]
    return [linear(v) for linear, v in zip(fusion.project.values(), x, strict=True)]


def gated(fusion: Any, x: list[Tensor]) -> Tensor:
    gates = torch.cat(x, 1).matmul(fusion.gate.weight.T).sigmoid().chunk(len(x), 1)
    return sum(gate * value.tanh() for gate, value in zip(gates, terms(fusion, x), strict=True))  # type: ignore[return-value]


def low_rank(fusion: Any, x: list[Tensor]) -> Tensor:
    ones = [torch.cat([v, v.new_ones(len(v), 1)], 1) for v in x]
    factors = [
        torch.cat([fusion.factors[n], fusion.constants[n][None]]).unflatten(1, (fusion.rank, -1)) for n in WIDTHS
    ]
    ranks = [torch.einsum("bd,drh->brh", v, factor) for v, factor in zip(ones, factors, strict=True)]
    return (fusion.mix * reduce(torch.mul, ranks)).sum(1) + fusion.bias


def tensor(fusion: Any, x: list[Tensor]) -> Tensor:
    a, b, c = (torch.cat([v, v.new_ones(len(v), 1)], 1) for v in x)
    return torch.einsum("bi,bj,bk->bijk", a, b, c).flatten(1) @ fusion.mix.weight.T + fusion.mix.bias


def concat_mlp(fusion: Any, x: list[Tensor]) -> Tensor:
    normed = [
        layer_norm(part, (6,), norm.weight, norm.bias)
        for part, norm in zip(terms(fusion, x), fusion.norm.values(), strict=True)
    ]
    return leaky_relu(fusion.mix(torch.cat(normed, 1)))


def film(fusion: Any, x: list[Tensor]) -> Tensor:
    gamma, beta = fusion.modulate(torch.cat(x[1:], 1)).chunk(2, 1)
    return (1 + gamma) * fusion.project["a"](x[0]) + beta


def gated_cross(fusion: Any, x: list[Tensor]) -> Tensor:
    seen = dict(zip(WIDTHS, terms(fusion, x), strict=True))
    parts = []
    for (name, own), gate in zip(seen.items(), fusion.gate, strict=True):
        others = torch.cat([other for n, other in seen.items() if n != name], 1)
        parts.append(own + gate.tanh() * fusion.message[name](others))
    return fusion.mix(torch.cat(parts, 1))


def multiplicative(fusion: Any, x: list[Tensor]) -> Tensor:
    found = x[0] @ fusion.terms.first.weight.T
    for layer, v in zip(fusion.terms.others.values(), x[1:], strict=True):
        factor, shift = (v @ layer.weight.T + layer.bias).chunk(2, 1)
        found = factor * found + shift
    return found


def mfb(fusion: Any, x: list[Tensor]) -> Tensor:
    first, second = terms(fusion, x)
    pooled = (first * second).unflatten(1, (-1, fusion.factors)).sum(2)
    return normalize(pooled.sign() * ((pooled.abs() + 1e-6).sqrt() - 1e-3))


def modality_attention(fusion: Any, x: list[Tensor]) -> Tensor:
    weights = (torch.cat(x, 1) @ fusion.score.linear.weight.T + fusion.score.linear.bias).softmax(1)
    return torch.einsum("bm,mbh->bh", weights, torch.stack(terms(fusion, x)))


def mutan(fusion: Any, x: list[Tensor]) -> Tensor:
    u, v = terms(fusion, x)
    first, second = ((u, v)[m] @ f.weight.T + f.bias for m, f in enumerate(fusion.factors.values()))
    return fusion.mix((first * second).unflatten(1, (fusion.rank, -1)).sum(1))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, list[Tensor]], Tensor]]] = {
    "concat": (lambda: ConcatFusion(WIDTHS, width=6), lambda f, x: f.mix(torch.cat(x, 1))),
    "sum": (lambda: SumFusion(WIDTHS, width=6), lambda f, x: reduce(torch.add, terms(f, x))),
    "mean": (lambda: MeanFusion(WIDTHS, width=6), lambda f, x: torch.stack(terms(f, x)).mean(0)),
    "max": (lambda: MaxFusion(WIDTHS, width=6), lambda f, x: torch.stack(terms(f, x)).amax(0)),
    "product": (lambda: ProductFusion(WIDTHS, width=6), lambda f, x: torch.stack(terms(f, x)).prod(0)),
    "gated": (lambda: GatedFusion(WIDTHS, width=6), gated),
    "low-rank": (lambda: LowRankFusion(WIDTHS, width=6), low_rank),
    "tensor": (lambda: TensorFusion(WIDTHS, width=6), tensor),
    "concat-mlp": (lambda: ConcatMlpFusion(WIDTHS, width=6, dropout=0.0), concat_mlp),
    "film": (lambda: FilmFusion(WIDTHS, dict.fromkeys(WIDTHS, ()), width=6), film),
    "gated-cross": (lambda: GatedCrossFusion(WIDTHS, width=6), gated_cross),
    "mfb": (lambda: MfbFusion(PAIR, width=6, dropout=0.0), mfb),
    "modality-attention": (lambda: ModalityAttentionFusion(WIDTHS, width=6), modality_attention),
    "multiplicative": (lambda: MultiplicativeFusion(WIDTHS, width=6), multiplicative),
    "mutan": (lambda: MutanFusion(PAIR, width=6, inner=4), mutan),
    "late": (
        lambda: LateFusion(ALIKE, Target("classes", 4)),
        lambda _, x: torch.stack(x).softmax(2).mean(0).log(),
    ),
    "late-learned": (
        lambda: LateFusion(ALIKE, Target("labels", 4), weights="learned"),
        lambda f, x: torch.einsum("m,mbc->bc", f.scores.softmax(0), torch.stack(x).sigmoid()).logit(),
    ),
    "late-scalar": (lambda: LateFusion(ALIKE, Target("scalar", 4)), lambda _, x: torch.stack(x).mean(0)),
    "log-pool": (lambda: LogPoolFusion(ALIKE, Target("classes", 4)), lambda _, x: torch.stack(x).sum(0)),
    "log-pool-mean": (
        lambda: LogPoolFusion(ALIKE, Target("labels", 4), weights="mean"),
        lambda _, x: torch.stack(x).mean(0),
    ),
    "log-pool-learned": (
        lambda: LogPoolFusion(ALIKE, Target("scalar", 4), weights="learned"),
        lambda f, x: torch.einsum("m,mbc->bc", softplus(f.scores) / softplus(f.scores).sum(), torch.stack(x)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_told_or_not_it_is_the_formula_without_masks(name: str) -> None:
    make, formula = CASES[name]
    torch.manual_seed(0)
    fusion = make().double()
    widths = ALIKE if name.startswith(("late", "log-pool")) else PAIR if name in {"mutan", "mfb"} else WIDTHS
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = [torch.randn(7, d, dtype=torch.float64, requires_grad=True) for d in widths.values()]
    told = {n: Features.of(v) for n, v in zip(widths, x, strict=True)}
    untold = {n: replace(one, complete=False) for n, one in told.items()}
    parted = {n: replace(one, complete=n == "b") for n, one in told.items()}
    wanted = [*x, *fusion.parameters()]
    expected = formula(fusion, x)
    gradients = torch.autograd.grad(expected.square().sum(), wanted)
    for given in (told, untold, parted):
        found = fusion(given)
        assert bool(found.mask.all())
        assert found.mask.shape == (7, 1)
        torch.testing.assert_close(found.vector(), expected, rtol=1e-12, atol=1e-12)
        for one, other in zip(torch.autograd.grad(found.vector().square().sum(), wanted), gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_features_of_vectors_are_complete_until_a_mask_says_otherwise() -> None:
    whole = Features.of(torch.ones(2, 3))
    assert whole.complete
    assert whole.to("cpu").complete
    assert not Features.of(torch.ones(2, 3), torch.ones(2, dtype=torch.bool)).complete
    leaves, spec = torch.utils._pytree.tree_flatten(whole)
    assert len(leaves) == 2
    assert not torch.utils._pytree.tree_unflatten(leaves, spec).complete
