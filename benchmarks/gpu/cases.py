"""Seven cases at sizes of a large card: eager, compiled, as a CUDA graph, beside what the card could do at best.

    python -m benchmarks.gpu.cases --out FILE [--device cuda] [--seconds 120] [--rehearse]

The limits of the card are measured in the same process: bytes read and written by a copy, and a matrix product in
bfloat16. `bound_us` is the larger of a case's arithmetic by the one and its least traffic by the other. Goals, and the
limits counted by hand for an H100 (`h100_us`), stand beside what was measured. Each form is compared with the eager one
before it is timed.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.gpu.graphs import captured
from benchmarks.gpu.record import Asked, Record, asked, attempt, microseconds, smi
from mmkit.contract import Features, Target
from mmkit.data.dataset import Dataset
from mmkit.data.packed import Packed
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.low_rank import LowRankFusion
from mmkit.fusions.vectors.tensor import TensorFusion
from mmkit.heads.linear import LinearHead
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer
from mmkit.layers.vectors import outer
from mmkit.model.network import Model, TrainingStep
from mmkit.speed.flops import flops_per_sample
from mmkit.speed.interleave import interleave
from mmkit.speed.memory import size
from mmkit.testing.trees import leaves
from mmkit.transforms.truth import Categories

Call = Callable[[], Any]
HALF = torch.bfloat16
AGREE = 0.05
"""Of the greatest number, by which forms in bfloat16 may differ."""


@dataclass
class Built:
    """A case on a device.

    Args:
        module: its model.
        ways: by what is done ("forward", ...): makes the call of a module like it; "product" is of no module.
        flops: of the forward; None where they could not be counted.
        traffic: bytes that the forward must at least read and write.
        beside: other forms of the forward, which are compared with the eager one and timed beside it.
        steps: True where a call changes the module, so that results cannot be compared call by call.
    """

    module: nn.Module
    ways: Mapping[str, Callable[[Any], Call]]
    flops: float | None
    traffic: float
    beside: Mapping[str, Call] = field(default_factory=dict)
    steps: bool = False


@dataclass(frozen=True)
class Case:
    """One case.

    Args:
        name: of the case.
        says: what it is, and what it is built of.
        h100_us: the limit counted by hand for an H100.
        goals_us: by what is done.
        build: the case of these sizes.
        sizes: of a large card.
        small: of a rehearsal.
    """

    name: str
    says: str
    h100_us: float
    goals_us: Mapping[str, float]
    build: Callable[..., Built]
    sizes: Mapping[str, int]
    small: Mapping[str, int]


def _features(batch: int, tokens: int, width: int, device: torch.device, *, ragged: bool = False) -> Features:
    values = torch.randn(batch, tokens, width, device=device, dtype=HALF)
    if not ragged:
        return Features.of(values)
    lengths = torch.randint(tokens // 8, tokens + 1, (batch, 1), device=device)
    return Features.of(values, torch.arange(tokens, device=device) < lengths)


def _ways(inputs: Mapping[str, Features], *, backward: bool = False) -> dict[str, Callable[[nn.Module], Call]]:
    """The forward of a fusion, and with its backward to weights and inputs."""

    def forward(module: nn.Module) -> Call:
        def call() -> Tensor:
            with torch.no_grad():
                return module(inputs).vector()

        return call

    def both(module: nn.Module) -> Call:
        given = {name: Features(one.tokens.clone().requires_grad_(), one.mask) for name, one in inputs.items()}
        wanted = [*(one.tokens for one in given.values()), *module.parameters()]

        def call() -> tuple[Tensor, ...]:
            return torch.autograd.grad(module(given).vector().float().square().mean(), wanted)

        return call

    return {"forward": forward, "forward+backward": both} if backward else {"forward": forward}


def _bytes(module: nn.Module, inputs: Mapping[str, Features], out: int) -> float:
    """Weights and inputs once, and `out` numbers of the result."""
    return size(module) + sum(leaf.numel() * leaf.element_size() for _, leaf in leaves(inputs)) + 2 * out


def _flops(module: nn.Module, inputs: Mapping[str, Any], batch: int) -> float | None:
    found = flops_per_sample(module, inputs).per_sample
    return None if found is None else found * batch


def gmu(device: torch.device, *, batch: int, width: int) -> Built:
    inputs = {name: _features(batch, 1, width, device) for name in ("a", "b")}
    module = GatedFusion(dict.fromkeys(inputs, width), width=width).to(device, HALF)
    flops = _flops(module, inputs, batch)
    return Built(module, _ways(inputs, backward=True), flops, _bytes(module, inputs, batch * width))


def tensor(device: torch.device, *, batch: int, width: int, out: int) -> Built:
    inputs = {name: _features(batch, 1, width, device) for name in ("a", "b", "c")}
    module = TensorFusion(dict.fromkeys(inputs, width), width=out).to(device, HALF)
    ones = [F.pad(one.vector(), (0, 1), value=1.0) for one in inputs.values()]

    def product(_: nn.Module) -> Call:
        return lambda: outer(outer(ones[0], ones[1]), ones[2])

    numbers = batch * (width + 1) ** 3
    traffic = _bytes(module, inputs, batch * out) + 2 * numbers  # written; what then reads it may do so from the cache
    return Built(module, {"product": product, **_ways(inputs)}, _flops(module, inputs, batch), traffic)


def low_rank(device: torch.device, *, batch: int, width: int, rank: int) -> Built:
    inputs = {name: _features(batch, 1, width, device) for name in ("a", "b", "c")}
    module = LowRankFusion(dict.fromkeys(inputs, width), width=width, rank=rank).to(device, HALF)
    return Built(module, _ways(inputs), _flops(module, inputs, batch), _bytes(module, inputs, batch * width))


def ragged(device: torch.device, *, batch: int, tokens: int, width: int, layers: int, heads: int) -> Built:
    inputs = {name: _features(batch, tokens, width, device, ragged=True) for name in ("a", "b")}
    module = AttentionFusion(dict.fromkeys(inputs, width), width=width, layers=layers, heads=heads, dropout=0.0)
    module.layers = nn.ModuleList(TransformerLayer(width, heads, expansion=4) for _ in range(layers))
    module.to(device, HALF).eval()
    counts = torch.cat([one.mask for one in inputs.values()], 1).sum(1).tolist()
    real = sum(counts)
    # Of the real tokens: projections, feed-forward networks (24 D^2 a layer, and one D^2 before), attention.
    flops = 2.0 * real * width**2 + layers * (24.0 * real * width**2 + 4.0 * width * sum(n * n for n in counts))
    packed = _packed(module, inputs, counts)
    traffic = size(module) + 2.0 * (real * width * 2 + batch * width)
    return Built(module, _ways(inputs), flops, traffic, {"packed by hand, varlen attention": packed})


def _packed(module: AttentionFusion, inputs: Mapping[str, Features], counts: list[int]) -> Call:
    """The same on real tokens alone, with mmkit's weights: what its masked layers are measured against.

    The places of tokens follow from lengths that a loader knows, so they are there before; packing itself counts.
    """
    names, device = list(module.project), next(module.parameters()).device
    masks = [inputs[name].mask for name in names]
    mask = torch.cat(masks, 1)  # [B T]
    real = sum(counts)
    ends = torch.tensor([0, *counts], device=device).cumsum(0).to(torch.int32)
    # Of each input: which of its tokens are real, and the place of each among all, sample by sample.
    taken = [own.flatten().nonzero().squeeze(1) for own in masks]
    numbers = torch.zeros_like(mask, dtype=torch.long).masked_scatter_(mask, torch.arange(real, device=device))
    widths = [own.shape[1] for own in masks]
    places = [own[there] for own, there in zip(numbers.split(widths, 1), masks, strict=True)]
    lengths = torch.tensor(counts, device=device)
    sample = torch.arange(len(counts), device=device).repeat_interleave(lengths)
    longest = max(counts)

    def call() -> Tensor:
        with torch.no_grad():
            tokens = inputs[names[0]].tokens.new_empty(real, module.width)  # [R D]
            for name, own, place in zip(names, taken, places, strict=True):
                tokens.index_copy_(
                    0, place, module.project[name](inputs[name].tokens.flatten(0, 1).index_select(0, own))
                )
            for layer in module.layers:
                tokens = _layer(layer, tokens, ends, longest)
            found = module.norm(tokens).float()
            total = found.new_zeros(len(counts), module.width).index_add_(0, sample, found)
            return (total / lengths.unsqueeze(1)).to(tokens.dtype)

    return call


def _layer(layer: Any, tokens: Tensor, ends: Tensor, longest: int) -> Tensor:
    part, normed = layer.attention, layer.before_attention(tokens)
    q = part.query(normed).unflatten(1, (part.heads, -1))  # [R N D/N]
    k, v = part.key_value(normed).unflatten(1, (2, part.heads, -1)).unbind(1)
    if tokens.is_cuda:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  (not in every version of torch)

        seen = varlen_attn(q, k.contiguous(), v.contiguous(), ends, ends, longest, longest)
    else:
        spans = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        each = [[x[a:b].transpose(0, 1) for x in (q, k, v)] for a, b in spans]
        seen = torch.cat([F.scaled_dot_product_attention(*one).transpose(0, 1) for one in each])
    tokens = tokens + part.out(seen.flatten(1))
    return tokens + layer.feed_forward(tokens)


class Perceiver(nn.Module):
    """Learned latents look at all tokens once, then at each other.

    Jaegle et al., "Perceiver: General Perception with Iterative Attention", ICML 2021, https://arxiv.org/abs/2103.03206.

    Args:
        width: D, of tokens and latents.
        latents: how many.
        layers: among the latents.
        heads: of each layer.
    """

    def __init__(self, width: int, latents: int, layers: int, heads: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.look = CrossLayer(width, heads, expansion=4)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, expansion=4) for _ in range(layers))

    def forward(self, inputs: Mapping[str, Features]) -> Features:
        """[B L D], the latents."""
        (seen,) = inputs.values()
        latents = self.latents.expand(seen.tokens.shape[0], -1, -1)  # [B L D]
        latents = self.look(latents, seen.tokens, seen.mask)
        everything = seen.mask.new_ones(latents.shape[:2])
        for layer in self.layers:
            latents = layer(latents, everything)
        return Features.of(latents)


def perceiver(device: torch.device, *, batch: int, tokens: int, latents: int, width: int, layers: int) -> Built:
    inputs = {"a": _features(batch, tokens, width, device)}
    module = Perceiver(width, latents, layers, heads=8).to(device, HALF).eval()
    return Built(module, _ways(inputs), _flops(module, inputs, batch), _bytes(module, inputs, batch * width))


def cached(device: torch.device, *, samples: int, batch: int, width: int, hidden: int, classes: int) -> Built:
    """A step of training from kept features: rows fetched, losses, backward, clipping, AdamW."""
    names = tuple(str(i) for i in range(classes))
    target = Target("classes", classes, names, (samples // classes,) * classes, samples=samples)
    widths = {"a": width, "b": width}
    encoders = {name: _Given(width) for name in widths}
    head = LinearHead(hidden, target, Categories("classes"))
    module = TrainingStep(Model(encoders, ConcatFusion(widths, width=hidden), head)).to(device).train()
    ends = torch.arange(samples + 1)
    ready = {name: Packed.of(torch.randn(samples, width), ends, None) for name in widths}
    truth = {"label": torch.randint(classes, (samples,)), "mask": torch.ones(samples, dtype=torch.bool)}
    data = Dataset(samples, ready, truth).to(device)
    index = torch.randint(samples, (batch,), device=device)

    def step(module: nn.Module) -> Call:
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True, capturable=device.type == "cuda")

        def call() -> Tensor:
            features, known = data.batch(index)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, HALF, cache_enabled=False):  # a graph cannot hold what was cast before it
                found = list(module(features, known)[0].values())
            loss = torch.stack(found).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0, foreach=True)
            optimizer.step()
            return loss.detach()

        return call

    weights = sum(parameter.numel() for parameter in module.parameters())
    flops = 3 * 2.0 * batch * (2 * width * hidden + hidden * classes)
    # Rows read; weight, gradient and two moments read, all but the gradient written.
    traffic = 4.0 * batch * 2 * width + 4.0 * 7 * weights
    return Built(module, {"step": step}, flops, traffic, steps=True)


class _Given(nn.Module):
    """Stands for an encoder whose features are given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


def mult(device: torch.device, *, batch: int, tokens: int, width: int, layers: int, heads: int) -> Built:
    inputs = {name: _features(batch, tokens, width, device) for name in ("a", "b", "c")}
    widths = dict.fromkeys(inputs, width)
    module = CrossAttentionFusion(widths, width=width, layers=layers, heads=heads, dropout=0.0)
    module.to(device, HALF).eval()
    return Built(module, _ways(inputs), _flops(module, inputs, batch), _bytes(module, inputs, batch * width))


CASES = (
    Case(
        "GMU, B 64, d 512",
        "mmkit's gated fusion of two inputs, in bfloat16",
        0.4,
        {"forward": 10, "forward+backward": 25},
        gmu,
        {"batch": 64, "width": 512},
        {"batch": 8, "width": 32},
    ),
    Case(
        "tensor fusion, 3 x 64, B 512",
        "mmkit's tensor fusion to 128, in bfloat16; `product` is the outer product alone, written to memory, of which "
        "the goal is 0.85 of the copy rate",
        94,
        {"forward": 110},
        tensor,
        {"batch": 512, "width": 64, "out": 128},
        {"batch": 8, "width": 6, "out": 16},
    ),
    Case(
        "low-rank, B 4096, d = o = 512, 3 inputs, r 16",
        "mmkit's low-rank fusion, in bfloat16",
        129,
        {"forward": 200},
        low_rank,
        {"batch": 4096, "width": 512, "rank": 16},
        {"batch": 16, "width": 32, "rank": 4},
    ),
    Case(
        "ragged transformer, B 64, 2 x U(64, 512) tokens, d 768, 4 layers",
        "mmkit's attention fusion with feed-forward networks of four times the width: masked layers over padded "
        "tokens; beside them the same weights over packed tokens",
        2970,
        {"forward": 5000},
        ragged,
        {"batch": 64, "tokens": 512, "width": 768, "layers": 4, "heads": 12},
        {"batch": 4, "tokens": 16, "width": 32, "layers": 2, "heads": 4},
    ),
    Case(
        "Perceiver, B 32, 12,288 tokens, 256 latents, d 512, 6 layers",
        "mmkit has no Perceiver fusion: built here of its transformer layers, one that looks at the tokens, then six",
        1320,
        {"forward": 2600},
        perceiver,
        {"batch": 32, "tokens": 12_288, "latents": 256, "width": 512, "layers": 6},
        {"batch": 2, "tokens": 64, "latents": 8, "width": 32, "layers": 2},
    ),
    Case(
        "training step on cached features, B 4096, 2 x 768 -> 1024 -> 10, AdamW",
        "mmkit's data set, training step and losses, concat and a linear head; rows are fetched on the device",
        49,
        {"step": 100},
        cached,
        {"samples": 65_536, "batch": 4096, "width": 768, "hidden": 1024, "classes": 10},
        {"samples": 256, "batch": 64, "width": 24, "hidden": 32, "classes": 10},
    ),
    Case(
        "MulT, B 64, T 50, d 30",
        "mmkit's cross-attention of three inputs: six directions of five layers with five heads",
        7,
        {"forward": 500},
        mult,
        {"batch": 64, "tokens": 50, "width": 30, "layers": 5, "heads": 5},
        {"batch": 2, "tokens": 5, "width": 30, "layers": 1, "heads": 5},
    ),
)


def limits(request: Asked, seconds: float) -> dict[str, Any]:
    """What this card does at best: a copy within its memory, and a matrix product, at the clock of this moment."""
    side, numbers = (64, 1 << 20) if request.rehearse else (8192, 1 << 30)
    source = torch.randn(numbers // 2, device=request.device, dtype=HALF)
    target = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=request.device, dtype=HALF) for _ in range(2))
    calls = {"copy": lambda: target.copy_(source), "write": target.zero_, "matmul": lambda: left @ right}
    timings = interleave(calls, rounds=20, device=request.device, max_seconds=seconds)
    moved = source.numel() * source.element_size()
    return {
        "copy_GB_per_s": 2 * moved / timings.median("copy") / 1e9,
        "write_GB_per_s": moved / timings.median("write") / 1e9,
        "matmul_bfloat16_TFLOP_per_s": 2 * side**3 / timings.median("matmul") / 1e12,
        "matmul_side": side,
        "copied_bytes": moved,
        "smi": smi() if request.device.type == "cuda" else None,
        "timings": timings.as_json(),
    }


def measure(case: Case, request: Asked, best: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """All forms of a case."""
    torch.manual_seed(0)
    sizes = case.small if request.rehearse else case.sizes
    built = case.build(request.device, **sizes)
    by_arithmetic = None if built.flops is None else built.flops / best["matmul_bfloat16_TFLOP_per_s"] / 1e6
    by_traffic = built.traffic / best["copy_GB_per_s"] / 1e3
    found: dict[str, Any] = {
        "says": case.says,
        "sizes": dict(sizes),
        "flops": built.flops,
        "least_bytes": built.traffic,
        "bound_us": max(by_arithmetic or 0.0, by_traffic),
        "bound_by": "traffic" if by_traffic > (by_arithmetic or 0.0) else "arithmetic",
        "h100_us": case.h100_us,
        "goals_us": dict(case.goals_us),
        "ways": {},
    }
    end = time.monotonic() + seconds
    for number, what in enumerate(built.ways):
        share = max(end - time.monotonic(), 1.0) / (len(built.ways) - number)
        found["ways"][what] = attempt(lambda what=what, share=share: _forms(built, what, request, share))
    return found


def _forms(built: Built, what: str, request: Asked, seconds: float) -> dict[str, Any]:
    """The times of one thing done, in each form that works here."""
    way = built.ways[what]
    beside = built.beside if what == "forward" else {}
    told: dict[str, Any] = {}
    eager = way(copy.deepcopy(built.module))
    expected = eager()
    ready: dict[str, Call] = {"eager": eager}
    began = time.monotonic()

    def compiled() -> Call:
        torch.compiler.reset()
        # A rehearsal is about this script, not about a compiler.
        backend = "aot_eager" if request.rehearse else "inductor"
        call = way(torch.compile(copy.deepcopy(built.module), dynamic=False, backend=backend))
        with warnings.catch_warnings(action="ignore"):
            call()
            call()
        return call

    makers: dict[str, Callable[[], Call]] = {
        "graph": lambda: captured(way(copy.deepcopy(built.module)), (), request.device),
        **{name: (lambda call=call: call) for name, call in beside.items()},
    }
    if what != "product":  # which is no module, so that there is nothing to compile
        makers["compiled"] = compiled
        makers["compiled, graph"] = lambda: captured(ready["compiled"], (), request.device)
    for name, make in makers.items():
        if "compiled" in name and time.monotonic() - began > seconds / 2:
            told[name] = {"left_out": "no time was left to compile"}
            continue
        if name == "compiled, graph" and "compiled" not in ready:
            continue
        start = time.monotonic()
        call = attempt(make)
        if isinstance(call, dict):
            told[name] = call
            continue
        if name == "compiled":
            told["compile_seconds"] = round(time.monotonic() - start, 2)
        apart = attempt(lambda call=call: _apart(call(), expected, finite_alone=built.steps))
        if isinstance(apart, dict) or apart > AGREE:
            told[name] = apart if isinstance(apart, dict) else {"error": f"off by {apart:.3g} of the greatest number"}
            continue
        ready[name] = call
    timings = interleave(ready, rounds=30, device=request.device, max_seconds=max(seconds / 3, 1.0))
    clock = {"clock": timings.clock} | ({} if request.device.type == "cuda" else {"graph_is": "a stand-in"})
    return {**{name: microseconds(timings, name) for name in ready}, **told, **clock}


def _apart(found: Any, expected: Any, *, finite_alone: bool) -> float:
    """The greatest difference, against the greatest number; of training, which goes on, 0 where the loss is finite."""
    worst = 0.0
    for (_, ours), (_, theirs) in zip(leaves(found), leaves(expected), strict=True):
        if not ours.isfinite().all():
            raise ValueError("it gives values that are not finite")
        if not finite_alone:
            scale = max(theirs.float().abs().max().item(), 1e-6)
            worst = max(worst, (ours.float() - theirs.float()).abs().max().item() / scale)
    return worst


def main() -> int:
    request = asked(__doc__)
    record = Record(request, __doc__.splitlines()[0])
    best = limits(request, min(8.0, request.seconds / 8))
    record.put(limits=best, cases={})
    for number, case in enumerate(CASES):
        share = request.left / (len(CASES) - number + 0.5)
        if share < 1:
            record.document["cases"][case.name] = {"left_out": "no time was left"}
        else:
            record.document["cases"][case.name] = attempt(
                lambda case=case, share=share: measure(case, request, best, share)
            )
            if request.device.type == "cuda":
                torch.cuda.empty_cache()
        record.write()
        print(f"{case.name}: {_line(record.document['cases'][case.name])}", flush=True)
    record.put(limits_at_the_end=limits(request, 3.0), finished=True)
    return 0


def _line(found: Mapping[str, Any]) -> str:
    if "ways" not in found:
        return str(found)
    parts = []
    for what, forms in found["ways"].items():
        told = ", ".join(
            f"{name} {one['us']:.1f}" for name, one in forms.items() if isinstance(one, dict) and "us" in one
        )
        goal = found["goals_us"].get(what)
        parts.append(f"{what}: {told or forms}{f' (goal {goal})' if goal else ''}")
    return f"{'; '.join(parts)}; bound {found['bound_us']:.1f} us by {found['bound_by']}"


if __name__ == "__main__":
    sys.exit(main())
