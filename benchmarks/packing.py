"""Half of the tokens are padding: what a transformer takes over the real ones alone, against all of them.

    python benchmarks/packing.py [--json]

Two layers of `mmkit.layers.attention`, forward and with gradients, once as they are and once with packing switched off,
in interleaved rounds; the lengths of the rows are uniform from 1 on. Packing and unpacking, which each layer does, are
included. First it is checked that both give the same. The goal is to be 1.5 times as fast. Ends with 1 where it is
missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from mmkit.layers import attention
from mmkit.layers.attention import TransformerLayer
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software

GOAL = 1.5
"""Least speed over packed tokens, in speeds over all."""
SIZES = ((64, 32, 128), (64, 128, 128), (64, 32, 512), (16, 128, 512))
"""B, T and D."""
LAYERS, HEADS = 2, 4


def case(
    batch: int, length: int, width: int, *, backward: bool
) -> tuple[dict[str, Callable[[], object]], float, float]:
    """Both ways, the share of real tokens, and how far the results are apart by the greatest number."""
    torch.manual_seed(0)
    layers = nn.ModuleList(TransformerLayer(width, HEADS) for _ in range(LAYERS)).eval()
    mask = torch.arange(length) < torch.randint(1, length + 1, (batch, 1))
    tokens = (torch.randn(batch, length, width) * mask.unsqueeze(2)).requires_grad_(backward)
    probe = torch.randn_like(tokens) * mask.unsqueeze(2)

    def through() -> Tensor:
        found = tokens
        for layer in layers:
            found = layer(found, mask)
        return found * mask.unsqueeze(2)

    def packed() -> Tensor | tuple[Tensor, ...]:
        if backward:
            return torch.autograd.grad((through() * probe).sum(), [tokens, *layers.parameters()])
        with torch.inference_mode():
            return through()

    def padded() -> Tensor | tuple[Tensor, ...]:
        with patch.object(attention, "worthwhile", lambda *_: None):
            return packed()

    pairs = zip(*((one if backward else (one,)) for one in (packed(), padded())), strict=True)
    apart = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
    return {"packed": packed, "padded": padded}, float(mask.float().mean()), apart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    document: dict[str, Any] = {"date": today, "machine": machine(), "software": software(), "cases": []}
    missed = False
    for batch, length, width in SIZES:
        for backward in (False, True):
            calls, real, apart = case(batch, length, width, backward=backward)
            if apart > 1e-5:
                raise SystemExit(f"packing changes a result by {apart:.1e} of the greatest number; nothing is timed")
            timings = interleave(calls, rounds=asked.rounds, max_seconds=15)
            found = timings.compare("padded", "packed").as_json()
            document["cases"].append(
                {
                    "batch": batch,
                    "tokens": length,
                    "width": width,
                    "what": "both ways" if backward else "forward",
                    "real": real,
                    "apart": apart,
                    "times_as_fast": found,
                    "timings": timings.as_json(),
                }
            )
            missed |= found["ratio"] < GOAL
            interval = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
            held = "held" if found["ratio"] >= GOAL else "MISSED"
            print(
                f"B {batch}, T {length}, D {width}, {'both ways' if backward else 'forward':9} {real:.0%} real: "
                f"{found['ratio']:.2f} times as fast{interval} ({held}, {GOAL})",
                file=sys.stderr if asked.json else sys.stdout,
                flush=True,
            )
    if asked.json:
        print(json.dumps(document, indent=1))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
