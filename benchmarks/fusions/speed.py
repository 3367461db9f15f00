"""Time of each fusion over that of the most obvious fast PyTorch form of the same mathematics.

    python benchmarks/fusions/speed.py [--fusion NAME ...] [--quick] [--rounds 30] [--json FILE]

Both run in one process, in rounds of random order, on equal weights. The obvious form of a fusion of vectors reads
[B D] and knows no masks; it is timed beside mmkit's where nothing is missing, when both give the same, which is checked
first, and where one sample in five lacks an input, which it would get wrong. Fusions of tokens read masks in both. A
ratio below 1 says that mmkit is faster.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.late import LateFusion
from mmkit.fusions.outputs.log_pool import LogPoolFusion
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.low_rank import LowRankFusion
from mmkit.fusions.vectors.max import MaxFusion
from mmkit.fusions.vectors.mean import MeanFusion
from mmkit.fusions.vectors.product import ProductFusion
from mmkit.fusions.vectors.sum import SumFusion
from mmkit.fusions.vectors.tensor import TensorFusion
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.vectors import Projections
from mmkit.speed.interleave import interleave
from mmkit.system.machine import machine, software

Inputs = list[tuple[Tensor, Tensor]]  # tokens [B T D] and mask [B T] of each input

FUSIONS: dict[str, Callable[[dict[str, int], int], nn.Module]] = {
    "concat": lambda widths, width: ConcatFusion(widths, width=width),
    "sum": lambda widths, width: SumFusion(widths, width=width),
    "mean": lambda widths, width: MeanFusion(widths, width=width),
    "max": lambda widths, width: MaxFusion(widths, width=width),
    "product": lambda widths, width: ProductFusion(widths, width=width),
    "gated": lambda widths, width: GatedFusion(widths, width=width),
    "low-rank": lambda widths, width: LowRankFusion(widths, width=width),
    "tensor": lambda widths, width: TensorFusion(widths, width=width, inner=32),
    "attention": lambda widths, width: AttentionFusion(widths, width=width, dropout=0.0),
    "cross-attention": lambda widths, width: CrossAttentionFusion(widths, width=width, dropout=0.0),
    "late": lambda widths, width: LateFusion(widths, Target("classes", width)),
    "log-pool": lambda widths, width: LogPoolFusion(widths, Target("classes", width)),
}


def concat(fusion: ConcatFusion, vectors: list[Tensor]) -> Tensor:
    return fusion.mix(torch.cat(vectors, 1))


def projected(fusion: nn.Module, vectors: list[Tensor]) -> list[Tensor]:
    return [layer(vector) for layer, vector in zip(fusion.apart, vectors, strict=True)]


def add(fusion: SumFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.add, projected(fusion, vectors))


def mean(fusion: MeanFusion, vectors: list[Tensor]) -> Tensor:
    return add(fusion, vectors) / len(vectors)


def largest(fusion: MaxFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.maximum, projected(fusion, vectors))


def multiply(fusion: ProductFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.mul, projected(fusion, vectors))


def gated(fusion: GatedFusion, vectors: list[Tensor]) -> Tensor:
    gates = fusion.gate(torch.cat(vectors, 1)).sigmoid().chunk(len(vectors), 1)
    return sum(gate * value.tanh() for gate, value in zip(gates, projected(fusion, vectors), strict=True))


def low_rank(fusion: LowRankFusion, vectors: list[Tensor]) -> Tensor:
    factors = zip(fusion.constants.values(), vectors, fusion.factors.values(), strict=True)
    ranks = reduce(torch.mul, [torch.addmm(constant, vector, factor) for constant, vector, factor in factors])
    return (fusion.mix * ranks.view(-1, fusion.rank, fusion.width)).sum(1) + fusion.bias


def tensor(fusion: TensorFusion, vectors: list[Tensor]) -> Tensor:
    seen = [linear(vector) for linear, vector in zip(fusion.project, vectors, strict=True)]
    longer = [torch.cat([vector, vector.new_ones(len(vector), 1)], 1) for vector in seen]
    axes = "ijk"[: len(longer)]
    outer = torch.einsum(",".join(f"b{axis}" for axis in axes) + f"->b{axes}", *longer)
    return fusion.mix(outer.flatten(1))


def late(_: LateFusion, vectors: list[Tensor]) -> Tensor:
    # The logarithm of a mean of softmaxes is shorter to write, and -inf where every head is sure.
    return torch.stack(vectors, 1).log_softmax(2).logsumexp(1) - math.log(len(vectors))


def pool(_: LogPoolFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.add, vectors)


def transformer(layer: TransformerLayer, tokens: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
    normed = layer.before_attention(tokens)
    other = normed if context is None else layer.before_context(context)
    part = layer.attention
    batch, length, width = tokens.shape
    q = part.query(normed).view(batch, length, part.heads, -1).transpose(1, 2)
    k, v = (
        half.view(batch, other.shape[1], part.heads, -1).transpose(1, 2) for half in part.key_value(other).chunk(2, -1)
    )
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
    tokens = tokens + part.out(seen.transpose(1, 2).reshape(batch, length, width))
    return tokens + layer.feed_forward(tokens)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    return (tokens * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def attention(fusion: AttentionFusion, inputs: Inputs) -> Tensor:
    tokens = torch.cat([linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)], 1)
    mask = torch.cat([mask for _, mask in inputs], 1)
    for layer in fusion.layers:
        tokens = transformer(layer, tokens, mask)
    return masked_mean(fusion.norm(tokens), mask)


def cross_attention(fusion: CrossAttentionFusion, inputs: Inputs) -> Tensor:
    names = list(fusion.project)
    first = [linear(tokens) for linear, (tokens, _) in zip(fusion.project.values(), inputs, strict=True)]
    fused = []
    for i, name in enumerate(names):
        streams = []
        for j, other in enumerate(names):
            if i != j:
                stream = first[i]
                for layer in fusion.cross[fusion.pairs.index((name, other))].layers:
                    stream = transformer(layer, stream, inputs[j][1], first[j])
                streams.append(stream)
        joined = transformer(fusion.within[name], fusion.join[name](torch.cat(streams, 2)), inputs[i][1])
        fused.append(masked_mean(fusion.norm[name](joined), inputs[i][1]))
    return fusion.mix(torch.cat(fused, 1))


OVER_TOKENS: dict[str, Callable[..., Tensor]] = {"attention": attention, "cross-attention": cross_attention}
OVER_VECTORS: dict[str, Callable[..., Tensor]] = {
    "concat": concat,
    "sum": add,
    "mean": mean,
    "max": largest,
    "product": multiply,
    "gated": gated,
    "low-rank": low_rank,
    "tensor": tensor,
    "late": late,
    "log-pool": pool,
}


def make(
    name: str, batch: int, width: int, inputs: int, tokens: int, *, missing: bool, device: torch.device | str = "cpu"
) -> tuple[nn.Module, list[Features]]:
    """A fusion and features for it.

    With `missing` one sample in five lacks each input but the first. Of several tokens one in five is padding.
    """
    torch.manual_seed(0)
    fusion = FUSIONS[name]({f"input{i}": width for i in range(inputs)}, width).to(device)
    project = getattr(fusion, "project", None)
    if isinstance(project, Projections):  # what one would write by hand: a linear layer for each input
        apart = [nn.Linear(width, width, device=device) for _ in range(inputs)]
        for number, layer in enumerate(apart):
            weight, bias = project.of(f"input{number}")
            layer.weight.data.copy_(weight.detach())
            layer.bias.data.copy_(bias.detach())
    else:
        apart = list(project.values()) if isinstance(project, nn.ModuleDict) else []
    object.__setattr__(fusion, "apart", apart)  # not registered: they are the same parameters, or copies
    features = []
    for i in range(inputs):
        values = torch.randn(batch, tokens, width)
        mask = torch.rand(batch, tokens) < (0.8 if tokens > 1 else 1.0)
        mask[:, 0] = True
        if missing:
            mask &= torch.rand(batch, 1) < (0.8 if i else 1.0)
        features.append((Features.of(values, mask) if missing or tokens > 1 else Features.of(values)).to(device))
    return fusion, features


def candidates(
    name: str, fusion: nn.Module, features: list[Features], *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Both forms, ready to be called; the same computation, which is checked where nothing is missing."""
    given = {
        f"input{i}": replace(each, tokens=each.tokens.clone().requires_grad_(backward))
        for i, each in enumerate(features)
    }
    leaves = [each.tokens for each in given.values()]
    own = [*leaves, *fusion.parameters()]
    if name in OVER_TOKENS:
        obvious = partial(OVER_TOKENS[name], fusion, [(each.tokens, each.mask) for each in given.values()])
        others = own
    else:
        vectors = [each.tokens.detach().squeeze(1).clone().requires_grad_(backward) for each in features]
        obvious = partial(OVER_VECTORS[name], fusion, vectors)
        copies = isinstance(getattr(fusion, "project", None), Projections)
        parameters = [p for layer in fusion.apart for p in layer.parameters()] if copies else fusion.parameters()
        others = [*vectors, *parameters]

    def run(form: Callable[[], Tensor], wanted: list[Tensor]) -> object:
        if backward:
            return torch.autograd.grad(form().square().mean(), wanted)
        with torch.inference_mode():
            return form()

    forms = {"mmkit": partial(run, lambda: fusion(given).vector(), own), "obvious": partial(run, obvious, others)}
    if name in OVER_TOKENS or all(each.complete for each in features):
        found, expected = forms["mmkit"](), forms["obvious"]()
        for one, other in (
            zip(found[: len(leaves)], expected[: len(leaves)], strict=True) if backward else [(found, expected)]
        ):
            torch.testing.assert_close(one.reshape(other.shape), other, rtol=1e-4, atol=1e-5)
    return forms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fusion", action="append", choices=FUSIONS)
    parser.add_argument("--quick", action="store_true", help="one size of each")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [(64, 128, 2)] if options.quick else list(product((8, 64, 512), (128, 512), (2, 3)))
    rows = []
    sizes_of = f"{'fusion':16}{'batch':>6}{'width':>6}{'inputs':>7}{'tokens':>7}"
    print(f"{sizes_of}  {'missing':8}{'':9}{'us':>9}  ratio  interval")
    for name in options.fusion or FUSIONS:
        lengths = ([32] if options.quick else [32, 128]) if name in OVER_TOKENS else [1]
        situations = (True,) if name in OVER_TOKENS else (False, True)
        for (batch, width, inputs), tokens, missing, backward in product(sizes, lengths, situations, (False, True)):
            fusion, features = make(name, batch, width, inputs, tokens, missing=missing)
            forms = candidates(name, fusion, features, backward=backward)
            timings = interleave(forms, rounds=options.rounds, max_seconds=20)
            found = timings.compare("mmkit", "obvious")
            what = "both ways" if backward else "forward"
            size = {"batch": batch, "width": width, "inputs": inputs, "tokens": tokens, "missing": missing}
            times = {form: timings.median(form) for form in forms}
            compared = {key: found.as_json()[key] for key in ("ratio", "low", "high", "verdict")}
            rows.append({"fusion": name, **size, "what": what, **compared, "seconds": times})
            interval = "-" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
            print(
                f"{name:16}{batch:6}{width:6}{inputs:7}{tokens:7}  {'some' if missing else 'none':8}{what:9}"
                f"{times['mmkit'] * 1e6:9.0f}  {found.ratio:5.2f}  {interval}",
                flush=True,
            )
    if options.json:
        options.json.write_text(document(rows))


def document(rows: list[dict[str, Any]]) -> str:
    """The record: machine, versions, and one row a line, of four digits."""
    short = json.loads(json.dumps(rows), parse_float=lambda number: float(f"{float(number):.4g}"))
    about = json.dumps({"date": time.strftime("%Y-%m-%d"), "machine": machine(), "software": software()}, indent=1)
    lines = ",\n  ".join(json.dumps(row) for row in short)
    return f'{about[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n'


if __name__ == "__main__":
    main()
