"""Training on ragged texts: what one long text among thousands of short ones costs.

    python benchmarks/padding.py [--json]

Two splits of short texts, equal but for one sample, which is as long as the transform allows, are trained on by the
same model for a whole epoch each, in interleaved rounds. A batch is padded to its own longest text, and shown in two
groups to an encoder whose rows are independent, where that saves half of the work. First it is checked that the batch
with the long text and its samples one by one give the same output. Ends with 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import json
import random
import sys
from typing import Any

import numpy as np
import torch

from mmkit.contract import Samples
from mmkit.data.dataset import Dataset
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training

GOAL = 0.9
"""Least rate with the long text, as a share of that without; the lower quartile of the rounds must hold it too."""
SAMPLES, LONG, SHORT = 4000, 256, (4, 12)
WORDS = [f"word{i}" for i in range(500)]
ENCODERS = ("text-transformer", "text-rnn")


def texts(*, long: bool) -> Samples:
    """Random short texts of two classes, one of them long where asked."""
    draw = random.Random(0)
    column = [" ".join(draw.choices(WORDS, k=draw.randint(*SHORT))) for _ in range(SAMPLES)]
    if long:
        column[SAMPLES // 2] = " ".join(draw.choices(WORDS, k=LONG))
    return Samples([str(i) for i in range(SAMPLES)], {"text": column}, [i % 2 for i in range(SAMPLES)])


def prepared(encoder: str) -> tuple[TrainingStep, dict[str, Dataset]]:
    """A model, and the split without and with the long text."""
    choose = installed().choose
    combination = Combination({"text": choose("encoder", encoder)}, None, choose("head", "linear"))
    samples = {name: texts(long=name == "long") for name in ("short", "long")}
    transforms = Transforms.fitted(combination, "classes", samples["long"].inputs, samples["long"].truth)
    torch.manual_seed(0)
    step = TrainingStep(*build_model(combination, transforms))
    data = {
        name: Dataset.of(given, transforms.inputs, transforms.truth, augment=False).grouped(step.model.rowwise)
        for name, given in samples.items()
    }
    return step, data


def differ(step: TrainingStep, data: Dataset) -> float:
    """The greatest difference of an output between the batch with the long text and its samples one by one."""
    index = torch.arange(SAMPLES // 2 - 4, SAMPLES // 2 + 4)
    step.eval()
    with torch.no_grad():
        together = step.model(data.batch(index)[0]).output
        alone = torch.cat([step.model(data.batch(one)[0]).output for one in index.split(1)])
    return float((together - alone).abs().max() / alone.abs().max())


def measured(encoder: str, rounds: int, max_seconds: float) -> dict[str, Any]:
    step, data = prepared(encoder)
    difference = differ(step, data["long"])
    if difference > 1e-4:
        raise SystemExit(f"{encoder}: padding changes the output by {difference:.1e}; nothing is timed")
    training = Training(epochs=1, min_steps=0, patience=None)
    models = {name: copy.deepcopy(step) for name in data}
    calls = {
        name: lambda name=name: fit(models[name], data[name], lambda: (0.0, {}), training, seed=0) for name in data
    }
    timings = interleave(calls, rounds=rounds, max_seconds=max_seconds)
    rates = np.divide(timings.seconds["short"], timings.seconds["long"])
    return {
        "encoder": encoder,
        "outputs_differ_by": difference,
        "rate_with_the_long_text": float(np.median(rates)),
        "lower_quartile": float(np.quantile(rates, 0.25)),
        "comparison": timings.compare("long", "short").as_json(),
        "samples_per_s": {name: SAMPLES / timings.median(name) for name in data},
        "timings": timings.as_json(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--max-seconds", type=float, default=90.0, help="for each encoder")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    document: dict[str, Any] = {"date": today, "machine": machine(), "software": software(), "encoders": []}
    missed = False
    for encoder in ENCODERS:
        found = measured(encoder, asked.rounds, asked.max_seconds)
        document["encoders"].append(found)
        holds = min(found["rate_with_the_long_text"], found["lower_quartile"]) >= GOAL
        missed |= not holds
        rates = found["samples_per_s"]
        print(
            f"{encoder}: {found['rate_with_the_long_text']:.3f} of the rate without the long text, lower quartile "
            f"{found['lower_quartile']:.3f}; {rates['long']:,.0f} against {rates['short']:,.0f} samples a second "
            f"({'goal held' if holds else 'goal MISSED'}, {GOAL})",
            file=sys.stderr if asked.json else sys.stdout,
        )
    if asked.json:
        print(json.dumps(document, indent=1))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
