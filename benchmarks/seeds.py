"""Five seeds of a fusion and its head trained in one pass over cached features, against one seed by mmkit's own loop.

    python benchmarks/seeds.py [--json]

The sizes are those of `clipart` with frozen EfficientNet-lite0 and MiniLM: 799 samples, summaries of 1280 and 384
numbers, fused width 128, 13 classes, batch 32; and a small one, 64 and 64 numbers. In one pass, the weights of five
models are stacked and `torch.func.vmap` runs the training step over them; each seed has its own order, dropout and
clipping. First it is checked that this ends with the weights of five trainings one after the other. Then three ways are
timed:

- eager: vmap as it is;
- compiled: the same under `torch.compile`, timed warm; what compiling took is told apart;
- bound (concat alone): no more than must be done for five seeds: rows gathered, the matrix products as `bmm`, the fused
  optimizer's step. Whatever a better implementation saves, it cannot save these.

Each is compared in interleaved rounds with ONE seed by `mmkit.training.loop.fit`. To pay, the ratio would have to be 2
or less, with the seconds of compiling spread over the 1000 steps of a training of 40 epochs.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mmkit.contract import Batch, Features
from mmkit.data.dataset import Dataset
from mmkit.data.packed import Packed
from mmkit.data.sampling import epoch_order
from mmkit.model.assembly import built, reads
from mmkit.model.network import Model, TrainingStep, encoder_widths
from mmkit.registry.catalog import Catalog, installed
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training, learning_rate_share

RECORD = Path(__file__).parent / "records" / "seeds.json"
SEEDS = 5
SAMPLES, CLASSES = 799, 13
SIZES = {"clipart": {"image": 1280, "title": 384}, "small": {"image": 64, "title": 64}}
FUSIONS = ("concat", "sum", "mean", "max", "product", "gated", "low-rank", "late")
"""The vector fusions; tensor fusion refuses 1280 x 384."""
TRAINING_STEPS = 1000
"""Of a training of 40 epochs: over so many the seconds of compiling are spread."""

Step = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Any, Batch], Tensor]


class Absent(nn.Module):
    """Stands for a frozen encoder whose features are there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.frozen = width, True


def prepared(catalog: Catalog, fusion: str, head: str, widths: Mapping[str, int]) -> tuple[list[TrainingStep], Dataset]:
    """A model for each seed, and the features of a training split, one token a sample."""
    chosen, output_head = catalog.choose("fusion", fusion), catalog.choose("head", head)
    truth = built(output_head, reads(output_head), "classes")
    labels = [str(i % CLASSES) for i in range(SAMPLES)]
    truth.fit(labels)
    target = truth.target()
    steps = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        encoders = {name: Absent(width) for name, width in widths.items()}
        named = encoder_widths(encoders)
        if chosen.spec.combines != "features":
            heads = {name: built(output_head, None, width, target, truth) for name, width in widths.items()}
            both = chosen.spec.combines == "both"
            module = built(chosen, None, named if both else dict.fromkeys(named, target.size), target)
            model = Model(encoders, module, None, heads, both=both, own_losses=chosen.spec.own_losses)
        else:
            module = built(chosen, None, named)
            model = Model(encoders, module, built(output_head, None, module.width, target, truth))
        steps.append(TrainingStep(model))
    generator = Generator().manual_seed(0)
    ready = {
        name: Packed.of(torch.randn(SAMPLES, width, generator=generator), torch.arange(SAMPLES + 1), None)
        for name, width in widths.items()
    }
    return steps, Dataset(SAMPLES, ready, truth(labels))


def in_one_pass(steps: Sequence[TrainingStep]) -> Step:
    """The losses [K] of all seeds' models: stacked weights, stacked buffers, and what each seed is shown [K B ...]."""
    base = copy.deepcopy(steps[0]).train()

    def one(parameters: Any, buffers: Any, batch: Any, truth: Batch) -> Tensor:
        return torch.stack(list(functional_call(base, (parameters, buffers), (batch, truth))[0].values())).sum()

    return vmap(one, randomness="different")


def shown(data: Dataset, index: Tensor) -> tuple[dict[str, Features], Batch]:
    """The samples of each seed's `index` [K B]: features and truth [K B ...]."""
    batch, truth = data.batch(index.flatten())

    def split(tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, index.shape)

    features = {name: Features(split(here.tokens), split(here.mask)) for name, here in batch.items()}
    return features, {name: split(leaf) for name, leaf in truth.items()}


def train_all(steps: Sequence[TrainingStep], data: Dataset, training: Training, step: Step) -> dict[str, Tensor]:
    """All seeds at once, as `mmkit.training.loop.fit` does one; the stacked weights at the end."""
    parameters, buffers = stack_module_state(list(steps))
    parameters = {name: tensor.detach().clone().requires_grad_() for name, tensor in parameters.items()}
    leaves = list(parameters.values())
    optimizer = torch.optim.AdamW(leaves, lr=training.lr, weight_decay=training.weight_decay, fused=True)
    orders = [Generator().manual_seed(seed) for seed in range(len(steps))]
    epochs, count = training.plan(data.size)
    for epoch in range(epochs):
        order = torch.stack([epoch_order(data.size, None, one) for one in orders])  # [K N]
        for number in range(count):
            index = order[:, number * training.batch_size : (number + 1) * training.batch_size]
            optimizer.param_groups[0]["lr"] = training.lr * learning_rate_share(
                epoch * count + number, epochs * count, training.warmup
            )
            losses = step(parameters, buffers, *shown(data, index))
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            gradients = [leaf.grad for leaf in leaves]
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)  # [K]
            share = (training.clip / (norms + 1e-6)).clamp(max=1)
            for gradient in gradients:
                gradient.mul_(share.view(-1, *[1] * (gradient.ndim - 1)))
            optimizer.step()
    return parameters


def train_one(step: TrainingStep, data: Dataset, training: Training, seed: int = 0) -> None:
    """One seed, keeping the last epoch."""
    scores = iter(range(1, 1_000_000))
    fit(step, data, lambda: (float(next(scores)), {}), training, seed=seed)


def differ(steps: Sequence[TrainingStep], data: Dataset, training: Training) -> float:
    """The greatest difference of a weight between one pass and five, without dropout, which draws differently."""
    steps = copy.deepcopy(list(steps))
    for module in (module for step in steps for module in step.modules() if isinstance(module, nn.Dropout)):
        module.p = 0.0
    together = train_all(steps, data, training, in_one_pass(steps))
    worst = 0.0
    for seed, step in enumerate(steps):
        train_one(step, data, training, seed)
        for name, weight in step.named_parameters():
            worst = max(worst, float((weight.detach() - together[name][seed].detach()).abs().max()))
    return worst


def bound(data: Dataset, training: Training, widths: Mapping[str, int], width: int = 128) -> Callable[[], None]:
    """What five seeds of concat and a linear head cannot do without, for as many steps as one seed takes."""
    wide = sum(widths.values())
    fused, head = torch.randn(SEEDS, wide, width), torch.randn(SEEDS, width, CLASSES)
    for weight in (fused, head):
        weight.grad = torch.zeros_like(weight)
    optimizer = torch.optim.AdamW([fused, head], lr=1e-6, fused=True)
    up, down = torch.randn(SEEDS, training.batch_size, width), torch.randn(SEEDS, training.batch_size, CLASSES)
    epochs, count = training.plan(data.size)
    packed = [each for each in data.inputs.values() if isinstance(each, Packed)]

    @torch.inference_mode()
    def call() -> None:
        for _ in range(epochs * count):
            index = torch.randint(data.size, (SEEDS * training.batch_size,))
            x = torch.cat([each.tokens.index_select(0, index) for each in packed], 1)
            x = x.view(SEEDS, -1, wide)
            torch.bmm(torch.bmm(x, fused), head)
            torch.bmm(up.transpose(1, 2), down, out=head.grad)
            torch.bmm(down, head.transpose(1, 2))
            torch.bmm(x.transpose(1, 2), up, out=fused.grad)
            optimizer.step()

    return call


def main() -> int:
    """Check, measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", nargs="*", default=["concat", "gated", "low-rank"], help="fusions to compile too")
    parser.add_argument("--json", action="store_true", help="one document on stdout; the record is left as it is")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    catalog, training = installed(), Training(epochs=2, min_steps=0, patience=None)
    steps_a_call = 2 * training.plan(SAMPLES)[1]
    found: list[dict[str, Any]] = []
    for size, widths in SIZES.items():
        for fusion, head in [(fusion, "linear") for fusion in FUSIONS] + [("concat", "mlp")]:
            steps, data = prepared(catalog, fusion, head, widths)
            difference = differ(steps, data, training)
            if difference > 1e-4:
                print(
                    f"{fusion}: one pass ends with other weights ({difference:.1e}); nothing is timed", file=sys.stderr
                )
                return 1
            one, eager = copy.deepcopy(steps[0]), in_one_pass(steps)
            calls: dict[str, Callable[[], Any]] = {
                "one": lambda one=one, data=data: train_one(copy.deepcopy(one), data, training),
                "eager": lambda steps=steps, data=data, eager=eager: train_all(steps, data, training, eager),
            }
            seconds = None
            if fusion in asked.compile and head == "linear":
                torch.compiler.reset()
                compiled = torch.compile(in_one_pass(steps))
                calls["compiled"] = lambda steps=steps, data=data, step=compiled: train_all(steps, data, training, step)
                began = time.perf_counter()
                calls["compiled"]()  # the last batch is smaller, so a second graph is made
                calls["compiled"]()
                began, middle = time.perf_counter(), began
                calls["compiled"]()
                seconds = (began - middle) - 2 * (time.perf_counter() - began)
            if (fusion, head) == ("concat", "linear"):
                calls["bound"] = bound(data, training, widths)
            timings = interleave(calls, rounds=asked.rounds)
            row: dict[str, Any] = {"size": size, "fusion": fusion, "head": head, "weights_differ_by": difference}
            row |= {"ms_a_step_of_one": timings.median("one") / steps_a_call * 1000}
            row |= {name: timings.compare(name, "one").as_json() for name in calls if name != "one"}
            if seconds is not None:
                training_of_one = timings.median("one") / steps_a_call * TRAINING_STEPS
                row["compile_seconds"] = seconds
                row["compiled_with_compiling"] = row["compiled"]["ratio"] + seconds / training_of_one
            found.append(row)
            ratios = {name: round(row[name]["ratio"], 2) for name in calls if name != "one"}
            more = f", {row['compiled_with_compiling']:.1f} with {seconds:.0f} s of compiling" if seconds else ""
            told = f"{size} {fusion} {head}: {row['ms_a_step_of_one']:.2f} ms a step, 5 seeds / 1: {ratios}{more}"
            print(told, file=sys.stderr)
    document = {
        "what": __doc__.splitlines()[0],
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "software": software(),
        "cases": found,
    }
    if asked.json:
        print(json.dumps(document, indent=1))
    else:
        RECORD.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
