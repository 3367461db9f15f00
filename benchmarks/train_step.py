"""Training by mmkit against a plain DataLoader loop over the same model.

    python benchmarks/train_step.py [--json]

Both start from the same transformed tensors, a friendlier start than most loops have, and do the same arithmetic in
the same order: AdamW, warm-up and cosine, gradient clipping. First it is checked that both end with the same weights.
Then whole calls are timed against each other in interleaved rounds, set-up included (optimizer, loader, schedule): one
of 120 steps, where it hardly counts, and one of 60. Ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from mmkit.data.dataset import Dataset
from mmkit.data.placing import on
from mmkit.data.splits import Splits
from mmkit.data.subset import select, with_truth
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training, learning_rate_share

GOALS = {120: 0.80, 60: 0.85}
"""Greatest ratio of a call of so many steps; the upper quartile of the rounds must hold it too."""
BATCH = 32
STEPS_AN_EPOCH = 60


@dataclass(frozen=True)
class Case:
    """A model to train.

    Args:
        task: with its options.
        encoder: of every input; None is the recommended one of each.
        fusion: with its options.
        small: the goals are meant for it.
    """

    task: str
    encoder: str | None
    fusion: str
    small: bool


CASES = {
    "two table-mlp, concat": Case(
        "synthetic-redundant:modality=table,train=1920", "table-mlp:width=32", "concat:width=32", small=True
    ),
    "digits as recommended, attention": Case("digits", None, "attention", small=False),
}


class Rows(TorchDataset):
    """What a plain loop reads: one sample at a time, of tensors in memory."""

    def __init__(self, data: Dataset) -> None:
        everything = data.batch(torch.arange(data.size))  # padded to the longest of all, as such data sets are
        self.inputs, self.truth = everything

    def __len__(self) -> int:
        return len(self.truth["mask"])

    def __getitem__(self, index: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
        inputs = {name: {k: leaf[index] for k, leaf in batch.items()} for name, batch in self.inputs.items()}
        return inputs, {k: leaf[index] for k, leaf in self.truth.items()}


def collated(samples: list[Any]) -> Any:
    """A batch of samples, cut to the longest of them."""
    inputs, truth = default_collate(samples)
    for name, batch in inputs.items():
        if batch["mask"].ndim == 2:
            steps = max(int(batch["mask"].sum(1).max()), 1)
            whole = batch["mask"].shape[1]
            inputs[name] = {k: v[:, :steps] if v.shape[1:2] == (whole,) else v for k, v in batch.items()}
    return inputs, truth


class Order:
    """A new order each epoch, the same that mmkit draws."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.generator = Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.size

    def __iter__(self):
        return iter(torch.randperm(self.size, generator=self.generator).tolist())


def plain(step: TrainingStep, data: Dataset, training: Training) -> None:
    """The loop as tutorials write it; on a GPU each batch comes from pinned memory, without being waited for."""
    torch.manual_seed(0)
    device = next(step.parameters()).device
    # A generator of its own: the loader draws a seed each epoch, and dropout must stay comparable.
    loader = DataLoader(
        Rows(data),
        batch_size=training.batch_size,
        collate_fn=collated,
        sampler=Order(data.size, 0),
        generator=Generator().manual_seed(0),
        pin_memory=device.type == "cuda",
    )
    optimizer = torch.optim.AdamW(step.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    steps = training.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: learning_rate_share(done, steps, training.warmup)
    )
    for _ in range(training.epochs):
        step.train()
        total = 0.0
        for given, known in loader:
            batch, truth = given, known
            if device.type != "cpu":
                batch, truth = {name: on(leaves, device) for name, leaves in given.items()}, on(known, device)
            optimizer.zero_grad()
            loss = sum(step(batch, truth)[0].values())
            loss.backward()
            nn.utils.clip_grad_norm_(step.parameters(), training.clip)
            optimizer.step()
            schedule.step()
            total += loss.item()


def lean(step: TrainingStep, data: Dataset, training: Training) -> None:
    """The loop of mmkit, without anything to validate."""
    fit(step, data, lambda: (0.0, {}), training, seed=0)


def prepared(case: Case) -> tuple[TrainingStep, Dataset]:
    """A model of the case with its data, cut or repeated to whole epochs."""
    catalog = installed()
    chosen = catalog.choose("task", case.task)
    task = chosen.component(**chosen.part(chosen.component))
    encoders = {name: case.encoder or task.encoders[name] for name in task.inputs}
    combination = Combination(
        {name: catalog.choose("encoder", what) for name, what in encoders.items()},
        catalog.choose("fusion", case.fusion),
        catalog.choose("head", "linear"),
    )
    splits = Splits(task, {name: catalog.find("modality", kind).load()() for name, kind in task.inputs.items()})
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(combination, task.target, train.inputs, train.truth)
    torch.manual_seed(0)
    model, objectives = build_model(combination, transforms)
    whole = select(train, [i % len(train) for i in range(BATCH * STEPS_AN_EPOCH)])
    return TrainingStep(model, objectives), Dataset.of(whole, transforms.inputs, transforms.truth, augment=False)


def training(steps: int) -> Training:
    return Training(epochs=steps // STEPS_AN_EPOCH, min_steps=0, batch_size=BATCH, patience=None)


def differ(step: TrainingStep, data: Dataset) -> float:
    """The greatest difference of a weight between the two loops after an epoch, against the greatest weight."""
    first, second = copy.deepcopy(step), copy.deepcopy(step)
    lean(first, data.to(next(step.parameters()).device), training(STEPS_AN_EPOCH))
    plain(second, data, training(STEPS_AN_EPOCH))
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    with torch.no_grad():
        return max(float((a - b).abs().max()) for a, b in pairs) / max(float(b.abs().max()) for _, b in pairs)


def measured(step: TrainingStep, data: Dataset, rounds: int, max_seconds: float) -> dict[int, dict[str, Any]]:
    """Both loops against each other, by the number of steps of a call, on the device of the step.

    The data are on the CPU: where they go from there, and when, is each loop's own.
    """
    found = {}
    device = next(step.parameters()).device
    placed = data.to(device)  # mmkit's own way, once before any training
    for steps in GOALS:
        options, ours, theirs = training(steps), copy.deepcopy(step), copy.deepcopy(step)
        calls: Mapping[str, Callable[[], object]] = {
            "mmkit": lambda ours=ours, options=options: lean(ours, placed, options),
            "plain": lambda theirs=theirs, options=options: plain(theirs, data, options),
        }
        timings = interleave(calls, rounds=rounds, device=device, max_seconds=max_seconds)
        ratios = np.divide(timings.seconds["mmkit"], timings.seconds["plain"])
        found[steps] = {
            "comparison": timings.compare("mmkit", "plain").as_json(),
            "upper_quartile": float(np.quantile(ratios, 0.75)),
            "ms_a_step": {name: timings.median(name) / steps * 1000 for name in calls},
            "timings": timings.as_json(),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--max-seconds", type=float, default=60.0, help="for each of the two calls of a case")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    document: dict[str, Any] = {"date": today, "machine": machine(), "software": software(), "cases": {}}
    missed = False
    for name in asked.case or CASES:
        case = CASES[name]
        step, data = prepared(case)
        difference = differ(step, data)
        if difference > 1e-3:
            print(f"{name}: the loops end with different weights ({difference:.1e}); nothing is timed", file=sys.stderr)
            return 1
        found = measured(step, data, asked.rounds, asked.max_seconds)
        document["cases"][name] = {"weights_differ_by": difference, "small": case.small, "steps": found}
        for steps, figures in found.items():
            seen = figures["comparison"]
            holds = max(seen["ratio"], figures["upper_quartile"]) <= GOALS[steps]
            missed |= case.small and not holds
            interval = "" if seen["low"] is None else f" [{seen['low']:.3f}, {seen['high']:.3f}]"
            verdict = ("goal held" if holds else "goal MISSED") if case.small else "no goal"
            print(
                f"{name}, {steps} steps: {seen['ratio']:.3f}{interval}, "
                f"upper quartile {figures['upper_quartile']:.3f}, {figures['ms_a_step']['mmkit']:.2f} against "
                f"{figures['ms_a_step']['plain']:.2f} ms a step "
                f"({verdict}, {GOALS[steps]})",
                file=sys.stderr if asked.json else sys.stdout,
            )
    if asked.json:
        print(json.dumps(document, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
