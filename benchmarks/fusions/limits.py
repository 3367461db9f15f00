"""Time of each fusion over what the machine allows: its FLOPs at the rate of a large product, its bytes at a copy's.

    python -m benchmarks.fusions.limits [--fusion NAME ...] [--rounds 16] [--record]

A forward pass where nothing is missing: of vectors 512 samples of width 512, of tokens 64 samples of 32 tokens and
widths of 128 and 512, two inputs each. The limit is the longer of two times: its FLOPs at the rate that a square matrix
product of PRODUCT reaches, and its least traffic (inputs, parameters and result once) at the rate of a copy of COPIED
numbers. All three are timed in each round, in random order, so the ratio is one of equal moments. Not in the limit are
norms, activations, softmax, Fourier transforms and what an intermediate result costs to write and read; `operations`
says where the time goes, by the profiler, as shares of the forward pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.fusions import speed
from benchmarks.fusions.operations import operations
from benchmarks.fusions.record import document, write
from mmkit.contract import Features
from mmkit.speed.flops import flops_per_sample
from mmkit.speed.interleave import compare, interleave
from mmkit.system.allocator import keep_large_blocks

RECORD = Path(__file__).parents[1] / "records" / "fusion_limits.json"
PRODUCT, COPIED = 1024, 1 << 23
"""Rows and columns of the matrix product that gives the rate, and numbers of 4 bytes that are copied."""
GOALS = {("tokens", 128): 2.0, ("tokens", 512): 1.15, ("arithmetic", 512): 1.3, ("memory", 512): 1.8}
"""By what a fusion reads, else by what limits it, and the width."""
SHOWN = 4
"""Operations that are told of each."""
SECONDS = 6
"""Of a fusion and width."""


class Pair(nn.Module):
    """A fusion of features and outputs, called with one mapping."""

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, given: Mapping[str, Mapping[str, Features]]) -> Features:
        """The result of the fusion."""
        found: Features = self.fusion(given["features"], given["outputs"])
        return found


def sizes(name: str) -> Iterator[dict[str, Any]]:
    """Those at which a fusion is measured."""
    if speed.over_tokens(name):
        yield from ({"batch": 64, "width": width, "inputs": 2, "tokens": 32} for width in (128, 512))
    else:
        yield {"batch": 512, "width": 512, "inputs": 2, "tokens": 1}


def work(name: str, fusion: nn.Module, features: list[Features]) -> tuple[float, float]:
    """FLOPs of a forward pass, and the bytes that it must at least read and write."""
    given = {f"input{i}": each for i, each in enumerate(features)}
    both = speed.SPECS[name].combines == "both"
    # Its outputs are as wide as its features, as in `speed.candidates`.
    batch = {"features": given, "outputs": given} if both else given
    called = Pair(fusion) if both else fusion
    flops = flops_per_sample(called, batch)
    if flops.counted is None:
        raise ValueError(f"the FLOPs of {name} are not known: {flops.reason}")
    with torch.inference_mode():
        read: list[Tensor] = [*(each.tokens for each in features), *fusion.parameters(), called(batch).tokens]
    return flops.counted * len(features[0].mask), float(sum(each.numel() * each.element_size() for each in read))


def measured(name: str, size: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """The row of a size."""
    fusion, features = speed.make(name, **size, missing=False)
    flops, traffic = work(name, fusion, features)
    form = speed.candidates(name, fusion, features, backward=False)["mmkit"]
    left, right, product = (torch.randn(PRODUCT, PRODUCT) for _ in range(3))
    source, copy = torch.randn(COPIED), torch.empty(COPIED)
    yardsticks = {
        "mmkit": form,
        "product": lambda: torch.mm(left, right, out=product),
        "copy": lambda: copy.copy_(source),
    }
    timings = interleave(yardsticks, rounds=rounds, max_seconds=SECONDS)
    arithmetic = np.array(timings.seconds["product"]) * flops / (2 * PRODUCT**3)
    memory = np.array(timings.seconds["copy"]) * traffic / (2 * 4 * COPIED)
    by = "arithmetic" if np.median(arithmetic) > np.median(memory) else "memory"
    limit = arithmetic if by == "arithmetic" else memory
    compared = compare(timings.seconds["mmkit"], limit.tolist()).as_json()
    seconds = timings.median("mmkit")
    seen = operations(form, seconds)
    whole = max(sum(one["us"] for one in seen.values()), seconds * 1e6)
    return {
        "fusion": name,
        **size,
        **{key: compared[key] for key in ("ratio", "low", "high")},
        "by": by,
        "goal": GOALS["tokens" if speed.over_tokens(name) else by, size["width"]],
        "seconds": {"mmkit": seconds, "limit": float(np.median(limit))},
        "operations": {called: one["us"] / whole for called, one in [*seen.items()][:SHOWN]},
    }


def main() -> None:
    """Measure, and write the record where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fusion", action="append", choices=speed.SPECS)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}, of all fusions")
    options = parser.parse_args()
    if options.record and options.fusion:
        parser.error("a record has all fusions; leave out --fusion, or --record")
    keep_large_blocks()  # as every command of mmkit does
    torch.set_num_threads(1)
    rows = []
    print(f"{'fusion':19}{'D':>5}{'us':>9}{'limit':>9}  by          ratio  goal  of the time")
    for name in options.fusion or speed.SPECS:
        for size in sizes(name):
            row = measured(name, size, options.rounds)
            rows.append(row)
            us = "".join(f"{row['seconds'][form] * 1e6:9.0f}" for form in ("mmkit", "limit"))
            shares = ", ".join(
                f"{called.removeprefix('aten::')} {part:.0%}" for called, part in row["operations"].items()
            )
            print(
                f"{name:19}{size['width']:5}{us}  {row['by']:10}{row['ratio']:7.2f}{row['goal']:6}  {shares}",
                flush=True,
            )
    if options.record:
        write(RECORD, document(rows))


if __name__ == "__main__":
    main()
