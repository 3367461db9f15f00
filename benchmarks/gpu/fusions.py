"""Each fusion over the most obvious fast PyTorch form of the same mathematics, on the device, by its events.

    python -m benchmarks.gpu.fusions --out FILE [--device cuda] [--seconds 40] [--rehearse]

What `benchmarks/fusions/speed.py` does on a CPU, at fewer sizes. At those of a CPU most of the time goes into launching
kernels, so a larger one stands beside it.
"""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import torch

from benchmarks.fusions import speed
from benchmarks.gpu.record import Record, asked, attempt, microseconds
from mmkit.speed.interleave import interleave

SIZES = ((64, 128), (2048, 512))  # batch, width
TOKENS = 64
INPUTS = 2


def one(name: str, batch: int, width: int, device: torch.device, seconds: float, *, backward: bool) -> dict[str, Any]:
    """Both forms of a fusion, after they were found to compute the same."""
    tokens = TOKENS if speed.over_tokens(name) else 1
    # Of tokens, a batch that is large only for vectors would take most of the time.
    batch = min(batch, 256) if speed.over_tokens(name) else batch
    missing = speed.over_tokens(name)  # as on a CPU, where that is the only situation of these
    fusion, features = speed.make(name, batch, width, INPUTS, tokens, missing=missing, device=device)
    forms = speed.candidates(name, fusion, features, backward=backward)
    timings = interleave(forms, rounds=20, device=device, max_seconds=seconds)
    return {
        "fusion": name,
        "batch": batch,
        "width": width,
        "inputs": INPUTS,
        "tokens": tokens,
        "missing": missing,
        "what": "both ways" if backward else "forward",
        **timings.compare("mmkit", "obvious").as_json(),
        "clock": timings.clock,
        "forms": {form: microseconds(timings, form) for form in forms},
    }


def main() -> int:
    request = asked(__doc__)
    torch.set_num_threads(1)
    record = Record(request, __doc__.splitlines()[0])
    record.put(goal="none on a GPU yet; on a CPU 1.05, and 1.15 where an input is missing", rows=[])
    sizes = [(8, 16)] if request.rehearse else SIZES
    todo = list(product(sizes, speed.SPECS, (False, True)))
    for number, ((batch, width), name, backward) in enumerate(todo):
        share = request.left / (len(todo) - number)
        about = {"fusion": name, "batch": batch, "width": width, "what": "both ways" if backward else "forward"}
        row = (
            attempt(
                lambda name=name, batch=batch, width=width, backward=backward, share=share: one(
                    name, batch, width, request.device, share * 0.6, backward=backward
                )
            )
            if share > 0.05
            else {"left_out": "no time was left"}
        )
        record.document["rows"].append(about | row)
        record.write()
        told = f"{row['ratio']:.2f} ({row['verdict']})" if "ratio" in row else str(row)
        print(f"{name}, batch {batch}, width {width}, {about['what']}: {told}", flush=True)
    record.put(finished=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
