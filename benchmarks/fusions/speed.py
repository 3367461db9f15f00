"""Time of each fusion over that of the most obvious fast PyTorch form of the same mathematics.

    python benchmarks/fusions/speed.py [--fusion NAME ...] [--quick] [--rounds 30] [--json FILE]

Both run in one process, in rounds of random order, on the same weights; both read the same tokens and masks, and their
outputs and gradients are compared before anything is timed. A ratio below 1 says that mmkit is faster.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial, reduce
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.late import LateFusion
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
from mmkit.speed.interleave import interleave
from mmkit.system.machine import machine

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
}
OVER_TOKENS = {"attention", "cross-attention"}


def vectors(inputs: Inputs) -> list[Tensor]:
    return [tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1) for tokens, mask in inputs]


def present(inputs: Inputs) -> list[Tensor]:
    return [mask.any(1, keepdim=True) for _, mask in inputs]


def concat(fusion: ConcatFusion, inputs: Inputs) -> Tensor:
    return fusion.mix(torch.cat(vectors(inputs), 1))


def add(fusion: SumFusion | MeanFusion, inputs: Inputs) -> Tensor:
    terms = zip(fusion.project.values(), vectors(inputs), present(inputs), strict=True)
    return sum(linear(vector) * there for linear, vector, there in terms)


def mean(fusion: MeanFusion, inputs: Inputs) -> Tensor:
    return add(fusion, inputs) / sum(there.float() for there in present(inputs)).clamp(min=1)


def largest(fusion: MaxFusion, inputs: Inputs) -> Tensor:
    terms = zip(fusion.project.values(), vectors(inputs), present(inputs), strict=True)
    fused = reduce(torch.maximum, [torch.where(there, linear(vector), -torch.inf) for linear, vector, there in terms])
    return torch.where(fused.isinf(), 0, fused)


def multiply(fusion: ProductFusion, inputs: Inputs) -> Tensor:
    terms = zip(fusion.project.values(), vectors(inputs), present(inputs), strict=True)
    return reduce(torch.mul, [torch.where(there, linear(vector), 1) for linear, vector, there in terms])


def gated(fusion: GatedFusion, inputs: Inputs) -> Tensor:
    seen = vectors(inputs)
    gates = fusion.gate(torch.cat(seen, 1)).sigmoid().chunk(len(seen), 1)
    terms = zip(gates, fusion.project.values(), seen, strict=True)
    return sum(gate * linear(vector).tanh() for gate, linear, vector in terms)


def low_rank(fusion: LowRankFusion, inputs: Inputs) -> Tensor:
    shape = (fusion.rank, fusion.width)
    terms = zip(fusion.factors.values(), fusion.constants.values(), vectors(inputs), strict=True)
    ranks = [torch.einsum("bd,drh->brh", v, factor.unflatten(1, shape)) + c.view(shape) for factor, c, v in terms]
    return (fusion.mix * reduce(torch.mul, ranks)).sum(1) + fusion.bias


def tensor(fusion: TensorFusion, inputs: Inputs) -> Tensor:
    seen = [linear(vector) for linear, vector in zip(fusion.project, vectors(inputs), strict=True)]
    longer = [torch.cat([vector, vector.new_ones(len(vector), 1)], 1) for vector in seen]
    axes = "ijk"[: len(longer)]
    outer = torch.einsum(",".join(f"b{axis}" for axis in axes) + f"->b{axes}", *longer)
    return fusion.mix(outer.flatten(1))


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


def late(_: LateFusion, inputs: Inputs) -> Tensor:
    # The logarithm of a mean of softmaxes is shorter to write, and -inf where every head is sure.
    there = torch.stack(present(inputs), 1)
    chances = torch.stack(vectors(inputs), 1).log_softmax(2)
    return torch.where(there, chances, -torch.inf).logsumexp(1) - there.sum(1).log()


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "concat": concat,
    "sum": add,
    "mean": mean,
    "max": largest,
    "product": multiply,
    "gated": gated,
    "low-rank": low_rank,
    "tensor": tensor,
    "attention": attention,
    "cross-attention": cross_attention,
    "late": late,
}


def make(
    name: str, batch: int, width: int, inputs: int, tokens: int, device: torch.device | str = "cpu"
) -> tuple[nn.Module, list[Features]]:
    """A fusion and features for it: one sample in five lacks each input but the first, one token in five is padding."""
    torch.manual_seed(0)
    fusion = FUSIONS[name]({f"input{i}": width for i in range(inputs)}, width).to(device)
    features = []
    for i in range(inputs):
        mask = torch.rand(batch, tokens) < 0.8
        mask[:, 0] = True
        mask &= torch.rand(batch, 1) < (0.8 if i else 1.0)
        features.append(Features.of(torch.randn(batch, tokens, width), mask).to(device))
    return fusion, features


def candidates(
    name: str, fusion: nn.Module, features: list[Features], *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Both forms, ready to be called; the same computation, which is checked here."""
    leaves = [each.tokens.clone().requires_grad_(backward) for each in features]
    wanted = [*leaves, *fusion.parameters()]

    def mmkit() -> Tensor:
        given = {
            f"input{i}": Features(leaf, each.mask) for i, (leaf, each) in enumerate(zip(leaves, features, strict=True))
        }
        return fusion(given).vector()

    def obvious() -> Tensor:
        return REFERENCES[name](fusion, [(leaf, each.mask) for leaf, each in zip(leaves, features, strict=True)])

    def run(form: Callable[[], Tensor]) -> object:
        if backward:
            return torch.autograd.grad(form().square().mean(), wanted)
        with torch.inference_mode():
            return form()

    forms = {"mmkit": partial(run, mmkit), "obvious": partial(run, obvious)}
    torch.testing.assert_close(forms["mmkit"](), forms["obvious"](), rtol=1e-4, atol=1e-5)
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
    print(f"{'fusion':16}{'batch':>6}{'width':>6}{'inputs':>7}{'tokens':>7}  {'':9}{'us':>9}  ratio  interval")
    for name in options.fusion or FUSIONS:
        lengths = ([32] if options.quick else [32, 128]) if name in OVER_TOKENS else [1]
        for (batch, width, inputs), tokens, backward in product(sizes, lengths, (False, True)):
            fusion, features = make(name, batch, width, inputs, tokens)
            forms = candidates(name, fusion, features, backward=backward)
            timings = interleave(forms, rounds=options.rounds, max_seconds=20)
            found = timings.compare("mmkit", "obvious")
            what = "both ways" if backward else "forward"
            size = {"batch": batch, "width": width, "inputs": inputs, "tokens": tokens, "what": what}
            rows.append({"fusion": name, **size, **found.as_json(), "timings": timings.as_json()})
            interval = "-" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
            print(
                f"{name:16}{batch:6}{width:6}{inputs:7}{tokens:7}  {what:9}{timings.median('mmkit') * 1e6:9.0f}  "
                f"{found.ratio:5.2f}  {interval}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
