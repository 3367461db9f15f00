"""Training by mmkit against a plain DataLoader loop over the same model, on the device.

    python -m benchmarks.gpu.training --out FILE [--device cuda] [--seconds 30] [--rehearse]

What `benchmarks/train_step.py` does on a CPU. mmkit moves the data to the device once, the plain loop moves each batch,
from pinned memory. Both must end with nearly the same weights before anything is timed.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from benchmarks import train_step
from benchmarks.gpu.record import Record, asked, attempt

APART = {"cpu": 1e-3, "cuda": 2e-2}
"""Of the greatest weight, by which the loops may end apart: sums on a GPU have no fixed order."""
TINY = {"two table-mlp, concat": {60: 0.85}}
"""A rehearsal: one case, one length."""


def one(name: str, device: torch.device, rounds: int, seconds: float) -> dict[str, Any]:
    """A case of `train_step.py`.

    Raises:
        ValueError: the loops end with different weights.
    """
    torch.manual_seed(0)
    step, data = train_step.prepared(train_step.CASES[name])
    step.to(device)
    apart = train_step.differ(step, data)
    if apart > APART[device.type]:
        raise ValueError(f"the loops end with weights that are {apart:.1e} apart; nothing is timed")
    found = train_step.measured(step, data, rounds, seconds / 2)
    samples = {
        name: {way: train_step.BATCH / ms * 1000 for way, ms in figures["ms_a_step"].items()}
        for name, figures in found.items()
    }
    return {"weights_apart": apart, "batch": train_step.BATCH, "samples_per_s": samples, "steps": found}


def main() -> int:
    request = asked(__doc__)
    torch.set_num_threads(1)
    record = Record(request, __doc__.splitlines()[0])
    names = list(TINY) if request.rehearse else list(train_step.CASES)
    record.put(goals=train_step.GOALS, cases={})
    for number, name in enumerate(names):
        share = max(request.left, 2.0) / (len(names) - number) * 0.7
        rounds = 6 if request.rehearse else 20
        record.document["cases"][name] = attempt(
            lambda name=name, share=share, rounds=rounds: one(name, request.device, rounds, share)
        )
        record.write()
        for steps, figures in record.document["cases"][name].get("steps", {}).items():
            told = figures["comparison"]
            goal = f"goal on a CPU {train_step.GOALS[steps]}"
            print(
                f"{name}, {steps} steps: {told['ratio']:.3f} of the plain loop ({told['verdict']}; {goal})", flush=True
            )
        if "error" in record.document["cases"][name]:
            print(f"{name}: {record.document['cases'][name]['error']}", flush=True)
    record.put(finished=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
